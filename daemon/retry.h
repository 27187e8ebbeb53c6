/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_RETRY_H
#define DAEMON_RETRY_H

/*
 * What the queues of a device could not have from the system (memory, an fd, a place in an epoll), and asks for until it is there: what
 * nobody asks for again leaves a queue deaf. One line when it begins, one when it is over.
 */

#include "vireo/base.h"
#include <stdbool.h>

#define RETRY_MS 500u

struct loop;
struct loop_timer;

struct retry {
	struct loop_timer *timer;
	struct vireo_log log;
	void (*again)(void *opaque);
	void *opaque;
	bool told, failed;
};

/* `again` is called from the loop, and calls retry_later() for what is still not to be had. */
int retry_init(struct retry *retry, struct loop *loop, const struct vireo_log *log, void (*again)(void *opaque),
	       void *opaque);
void retry_fini(struct retry *retry); /* takes one that is all zeroes */
/* Something has to be waited for, which is nothing to be told as an error: it is asked for again so soon. */
void retry_wait(struct retry *retry, unsigned ms);
/* Queue `queue` could not be given to who serves it. */
void retry_later(struct retry *retry, unsigned queue, int err);

#endif
