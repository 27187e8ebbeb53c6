/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

/*
 * A bucket of tokens that fills at a steady rate, and that any number of threads take from without a lock. What it keeps is one
 * number: the time by which all that was taken is paid for at the rate. Two kinds of takers:
 *
 * - who may drop looks what is left (bucket_left()), takes while that is more than nothing, and may take more than there is, once: so
 *   what is larger than the bucket passes, and what follows waits until it is paid for (bucket_draw());
 * - who may wait takes, and is told from when on he may use what he has: takers stand in line in the order in which they have asked,
 *   and nobody asks twice (bucket_take()).
 *
 * The rate changes under takers. They read it after they have read what is paid, and again whenever they have to begin anew; who
 * sets it writes what is paid last, and never as it was. So nobody pays by the rate of before into the bucket of now.
 *
 * Times of the bucket are in sixteenths of a nanosecond, so that a byte at any rate costs something.
 */

#include "base/util.h"
#include <stdbool.h>
#include <stdint.h>

#define BUCKET_TIME_SHIFT 4u	     /* from nanoseconds to the bucket's time */
#define BUCKET_COST_SHIFT 24u	     /* from that to what a token's cost is kept in */
#define BUCKET_SECOND	  (UINT64_C(1000000000) << BUCKET_TIME_SHIFT)
#define BUCKET_COST_MAX	  (UINT64_C(1) << 54) /* of what is taken at once, 13 days; and of a full bucket */
#define BUCKET_DEBT_MAX	  (UINT64_C(1) << 62) /* sums stay far from the end of the clock */
#define BUCKET_SETS_MASK  15u	     /* of a time: less than a nanosecond */

struct bucket {
	uint64_t paid_at; /* any thread */
	/* Of who sets it; read by any thread. */
	uint64_t unit_cost; /* of a token; 0: no limit */
	uint64_t full;	    /* the time in which it fills */
	uint32_t sets;
};

/* So many tokens, at most 2^28, as time; of no limit: 0. */
static inline int64_t bucket_cost(const struct bucket *b, uint64_t tokens)
{
	__extension__ typedef unsigned __int128 wide;

	return (int64_t)((wide)__atomic_load_n(&b->unit_cost, __ATOMIC_RELAXED) * tokens >> BUCKET_COST_SHIFT);
}

/* The same of any number, not beyond BUCKET_COST_MAX. */
static inline uint64_t bucket_cost_bounded(uint64_t unit_cost, uint64_t tokens)
{
	__extension__ typedef unsigned __int128 wide;
	wide cost = (wide)unit_cost * tokens >> BUCKET_COST_SHIFT;

	return cost > BUCKET_COST_MAX ? BUCKET_COST_MAX : (uint64_t)cost;
}

static inline bool bucket_limits(const struct bucket *b)
{
	return __atomic_load_n(&b->unit_cost, __ATOMIC_RELAXED);
}

/* Any thread. What there would be in a bucket that holds `full`, as time: nothing may be drawn unless that is above 0. */
static inline int64_t bucket_left_of(const struct bucket *b, uint64_t now_ns, int64_t full)
{
	uint64_t now = now_ns << BUCKET_TIME_SHIFT, paid_at = __atomic_load_n(&b->paid_at, __ATOMIC_RELAXED);

	return paid_at <= now ? full : full - (int64_t)(paid_at - now);
}

/* Any thread. What is in it. INT64_MAX: there is no limit. */
static inline int64_t bucket_left(const struct bucket *b, uint64_t now_ns)
{
	if (!bucket_limits(b))
		return INT64_MAX;
	return bucket_left_of(b, now_ns, (int64_t)__atomic_load_n(&b->full, __ATOMIC_RELAXED));
}

/* What is paid moves on, but not further than `latest`. Returns from where, and what it has cost: 0 and 0 without a limit. */
static inline uint64_t bucket_move(struct bucket *b, uint64_t tokens, uint64_t now, uint64_t latest, uint64_t *ret_cost)
{
	uint64_t paid_at = __atomic_load_n(&b->paid_at, __ATOMIC_ACQUIRE), from, next; /* pairs with bucket_store() */

	do {
		uint64_t unit_cost = __atomic_load_n(&b->unit_cost, __ATOMIC_RELAXED);

		*ret_cost = bucket_cost_bounded(unit_cost, tokens);
		if (!unit_cost)
			return 0;
		from = max_u64(paid_at, now);
		next = min_u64(from + *ret_cost, latest);
	} while (!__atomic_compare_exchange_n(&b->paid_at, &paid_at, next, true, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE));
	return from;
}

/* Any thread. So many tokens have been used, whether they were there or not; no more is owed than what `debt_max` beyond now pays for. */
static inline void bucket_draw(struct bucket *b, uint64_t tokens, uint64_t now_ns, uint64_t debt_max)
{
	uint64_t now = now_ns << BUCKET_TIME_SHIFT, cost;

	if (tokens)
		bucket_move(b, tokens, now, now + debt_max, &cost);
}

/*
 * Any thread. Returns in nanoseconds when so many tokens may be used; not later than now_ns is at once. What is larger than the bucket goes
 * when the bucket is full.
 */
static inline uint64_t bucket_take(struct bucket *b, uint64_t tokens, uint64_t now_ns)
{
	uint64_t now = now_ns << BUCKET_TIME_SHIFT, cost, from = bucket_move(b, tokens, now, now + BUCKET_DEBT_MAX, &cost);
	uint64_t full = __atomic_load_n(&b->full, __ATOMIC_RELAXED), ahead = full > cost ? full - cost : 0;

	return from > ahead ? (from - ahead) >> BUCKET_TIME_SHIFT : 0;
}

/* ---- bucket.c ---- */

/*
 * One thread at a time, maybe under takers: `burst` tokens at `per_second`, a tenth of a second's if burst is 0; 0 per second: no limit.
 * bucket_fill() leaves it full; bucket_drain() leaves it empty at now_ns: a change is no gift then, and no old debt lasts.
 */
void bucket_fill(struct bucket *b, uint64_t per_second, uint64_t burst);
void bucket_drain(struct bucket *b, uint64_t per_second, uint64_t burst, uint64_t now_ns);

#endif
