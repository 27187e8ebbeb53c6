/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_WAKE_H
#define DISK_WAKE_H

/* The fd of a queue in which requests wait for a time: readable (edge-triggered) when the queue below has news, and at that time. */

#include <stdint.h>

struct wake {
	int fd;
	int timer_fd;
};

/* below_fd: -1 if there is none. 0 or -errno. */
int wake_init(struct wake *wake, int below_fd);
void wake_fini(struct wake *wake);

/* Of CLOCK_MONOTONIC; a time that has gone by is now. The earlier call is forgotten. Any thread. */
void wake_at(const struct wake *wake, uint64_t at_ns);

#endif
