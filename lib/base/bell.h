/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_BELL_H
#define BASE_BELL_H

/*
 * A bell: an fd that a peer has handed us, or shares, by which the peer is notified. To raise it never waits on the
 * peer, whatever the peer has done to the fd: see bell.c.
 */

#include <stdbool.h>
#include <stdint.h>

struct drop;
struct raiser;
struct vireo_notifier;

#define BELL_HELD_MAX 4u

struct bell {
	int fd; /* owned; -1: none */
	bool socket;
	struct vireo_notifier *notifier; /* borrowed, or NULL */
	struct drop *drop; /* where its fds are let go of: the owner's to set, before bell_set(); or NULL */
	struct raiser *raiser; /* a thread that raises it where there is no kernel AIO, or NULL */
	struct raiser *held[BELL_HELD_MAX]; /* of its fds before this one: a peer may still hold them */
};

#define BELL_INIT { .fd = -1 }

/*
 * Control thread; nobody raises the bell meanwhile. Takes `fd` over on success (-1: none, which does not fail) in the
 * place of the one before, which is let go of. -EINVAL: no notifier; -EBUSY: a peer holds the threads that raised this bell's
 * fds before; or what run_aside says. `notifier` (borrowed) may be NULL.
 */
int bell_set(struct bell *bell, struct vireo_notifier *notifier, int fd);
void bell_unset(struct bell *bell);
/* The bell is used no more: unset, and threads that a peer holds are left to themselves. */
void bell_forget(struct bell *bell);

/*
 * Any thread. Nothing where it is not set. True: a thread of its own does it. False: it has been done here; so it is also where there is a
 * thread, for an eventfd, when kernel AIO has come since bell_set().
 */
bool bell_raise(const struct bell *bell);
/*
 * What its thread's last raise took, of CPU time, told once. 0: none has come to an end since, or there was none. Any thread.
 */
uint64_t bell_cost_take_ns(const struct bell *bell);

#endif
