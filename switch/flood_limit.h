/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FLOOD_LIMIT_H
#define SWITCH_FLOOD_LIMIT_H

/*
 * flood_limit.c: how much of its frames a port may have flooded: a bucket of copies, filled at a steady rate. What is kept of it is a
 * single number, the time at which all that has been copied is paid for. All workers that serve the port draw on it.
 */

#include <stdint.h>

#define FLOOD_COPY_BYTES 2048u        /* a longer copy counts as several */
#define FLOOD_BURST_COPIES 8192u      /* what a full bucket holds */
#define FLOOD_DEBT_MAX_NS 1000000000u /* a frame goes whole or not at all: it may take more than there is */

struct flood_limit {
	uint64_t paid_at_ns; /* any worker (atomic) */
	uint64_t copy_ns;    /* constant: what a copy costs; 0: nothing */
};

void flood_limit_init(struct flood_limit *limit, uint64_t copies_per_second); /* 0: no limit */
/* How many copies may be made now; of a bucket that holds `burst` of them. */
uint64_t flood_limit_left(const struct flood_limit *limit, uint64_t now_ns, uint64_t burst);
/* So many have been. */
void flood_limit_take(struct flood_limit *limit, uint64_t now_ns, uint64_t burst, uint64_t copies);

#endif
