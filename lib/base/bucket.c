/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bucket.h"

static uint64_t unit_cost_of(uint64_t per_second)
{
	if (!per_second)
		return 0;
	return max_u64(((BUCKET_SECOND << BUCKET_COST_SHIFT) + per_second / 2) / per_second, 1);
}

static uint64_t full_of(uint64_t unit_cost, uint64_t burst)
{
	return burst ? max_u64(bucket_cost_bounded(unit_cost, burst), 1) : BUCKET_SECOND / 10;
}

/* Who takes reads what is paid first, and the rest after that. `base`: what is paid, but for what tells it from before. */
static void bucket_store(struct bucket *b, uint64_t unit_cost, uint64_t full, uint64_t base)
{
	__atomic_store_n(&b->full, full, __ATOMIC_RELAXED);
	__atomic_store_n(&b->unit_cost, unit_cost, __ATOMIC_RELAXED);
	/* Another number than before even if it means the same: a taker who stands between his look and his exchange must fail there. */
	b->sets++;
	__atomic_store_n(&b->paid_at, base + (b->sets & BUCKET_SETS_MASK), __ATOMIC_RELEASE); /* pairs with bucket_move() */
}

void bucket_fill(struct bucket *b, uint64_t per_second, uint64_t burst)
{
	uint64_t unit_cost = unit_cost_of(per_second);

	bucket_store(b, unit_cost, full_of(unit_cost, burst), 0);
}

void bucket_drain(struct bucket *b, uint64_t per_second, uint64_t burst, uint64_t now_ns)
{
	uint64_t unit_cost = unit_cost_of(per_second), full = full_of(unit_cost, burst);

	bucket_store(b, unit_cost, full, (now_ns << BUCKET_TIME_SHIFT) + full);
}
