/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_ERRAND_H
#define DAEMON_ERRAND_H

/*
 * Work that may wait for somebody (a file system, a network), and whose outcome the control thread wants: a thread does it
 * (daemon/aside.h), nobody waits for that, and the control thread is told when it looks next. Who embeds a struct errand in what the work is about
 * gives it to errands_run(), and then it is
 *
 *	the thread's            from there until `work` returns
 *	the control thread's    in `done`, if that is told 0
 *	nobody's                in `done`, if that is told -ECANCELED: the daemon ends while the thread is still at it
 *
 * and `drop` frees it, when both have let go, on whichever thread that is. So a thread that hangs when the daemon ends harms nobody.
 */

#include <stdbool.h>

struct errand;
struct loop;
struct loop_timer;

struct errand_ops {
	void (*work)(struct errand *errand);
	void (*done)(struct errand *errand, int err); /* once; 0 or -ECANCELED */
	void (*drop)(struct errand *errand);
};

struct errand {
	const struct errand_ops *ops;
	/* The rest is errand.c's. */
	struct errand *next;
	unsigned refs; /* atomic */
	bool ready;    /* atomic */
};

/* Of the control thread. */
struct errands {
	struct loop_timer *timer;
	struct errand *first;
	unsigned count, max; /* under way at a time; each may hold a thread for as long as somebody else likes */
	unsigned look_ms; /* as a rule they are done at once */
};

int errands_init(struct errands *errands, struct loop *loop, unsigned max);
/* errand->ops is set. 0; -EAGAIN: too many are under way; or another -errno: there is no thread. Then nothing is called. */
int errands_run(struct errands *errands, struct errand *errand);
/*
 * Waits for one that is under way, without dispatching the loop: for the start of a daemon, when nobody is to be served yet. 0: `done` has
 * been called. -ECANCELED: `ending`, which is asked again and again, has said so, and it is under way still.
 */
int errands_wait(struct errands *errands, const struct errand *errand, bool (*ending)(void *opaque), void *opaque);
/* What is under way is told -ECANCELED. */
void errands_end(struct errands *errands);
void errands_fini(struct errands *errands); /* takes one that is all zeroes; errands_run() says -EAGAIN from then on */

#endif
