/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_BUCKET_H
#define DISK_BUCKET_H

/*
 * A token bucket that any number of threads take from without a lock. What it keeps is one number: the time by which all that was
 * taken will have been paid for at the rate. Who takes moves that time on, and learns from when on he may use what he has: so
 * takers stand in line in the order in which they have asked, and nobody asks twice.
 */

#include "base/util.h"
#include <stdbool.h>

#define BUCKET_COST_MAX_NS UINT64_C(1000000000000000) /* of one request: sums stay far from the end of the clock */
#define BUCKET_NS_PER_S	   1000000000u

struct bucket {
	uint64_t paid_ns;
	uint64_t rate;	   /* a second; 0: no limit */
	uint64_t burst_ns; /* so much earlier than it is paid for it may be used */
} __attribute__((aligned(CACHE_LINE_BYTES)));

static inline uint64_t bucket_cost_ns(uint64_t amount, uint64_t rate)
{
	__extension__ unsigned __int128 ns = ((unsigned __int128)amount * BUCKET_NS_PER_S + rate / 2) / rate;

	return ns > BUCKET_COST_MAX_NS ? BUCKET_COST_MAX_NS : (uint64_t)ns;
}

/* Any thread. Returns when: not later than now_ns is at once. */
static inline uint64_t bucket_take(struct bucket *b, uint64_t amount, uint64_t now_ns)
{
	uint64_t paid = __atomic_load_n(&b->paid_ns, __ATOMIC_ACQUIRE), rate, cost, from, burst, ahead;

	/* The rate is read after what is paid: who sees the debt of before a change fails here, and takes anew by what holds now. */
	do {
		rate = __atomic_load_n(&b->rate, __ATOMIC_RELAXED);
		if (!rate)
			return 0;
		cost = bucket_cost_ns(amount, rate);
		from = max_u64(paid, now_ns);
	} while (!__atomic_compare_exchange_n(&b->paid_ns, &paid, from + cost, true, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE));
	burst = __atomic_load_n(&b->burst_ns, __ATOMIC_RELAXED);
	/* What is larger than the bucket goes when the bucket is full. */
	ahead = burst > cost ? burst - cost : 0;
	return from > ahead ? from - ahead : 0;
}

/* One thread. It is empty then: a change is no gift, and no old debt lasts. */
static inline void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	uint64_t burst_ns = BUCKET_NS_PER_S / 10;

	if (rate && burst)
		burst_ns = bucket_cost_ns(burst, rate);
	__atomic_store_n(&b->burst_ns, burst_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&b->rate, rate, __ATOMIC_RELAXED);
	__atomic_store_n(&b->paid_ns, now_ns + burst_ns, __ATOMIC_RELEASE); /* last: pairs with bucket_take() */
}

#endif
