/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_LIMIT_H
#define SWITCH_LIMIT_H

/*
 * limit.c: a bucket of tokens that fills at a steady rate. What is kept of it is one number, the time at which all that was taken
 * is paid for; any worker draws on it without a lock. Who finds it not empty may take, and may take more than there is,
 * once: so a frame that is longer than the bucket passes, and the next ones wait until it is paid for.
 *
 * Times are in sixteenths of a nanosecond, so that what one byte costs at 100 Gbit/s is no 0.
 */

#include <stdint.h>

struct limit {
	/* Any worker. */
	uint64_t paid_at;
	/* Written by the control thread, read by workers at any time. */
	uint64_t unit_cost; /* of a token, in 1/256 of the time's unit */
	uint64_t full;      /* the time in which the bucket fills */
};

/* Control thread, maybe under traffic. A full bucket of `burst` tokens; 0 per second: no limit. */
void limit_set(struct limit *limit, uint64_t per_second, uint64_t burst);

/* What is in the bucket, as time: nothing may be taken if that is not above 0. INT64_MAX: there is no limit. */
int64_t limit_left(const struct limit *limit, uint64_t now_ns);
/* So many tokens, at most 2^22, as time; of no limit: 0. */
int64_t limit_cost(const struct limit *limit, uint64_t tokens);
/* So much of it has been taken. */
void limit_take(struct limit *limit, uint64_t now_ns, int64_t cost);

#endif
