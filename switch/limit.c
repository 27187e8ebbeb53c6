/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/limit.h"
#include "base/util.h"
#include <stdbool.h>

#define NS_PER_S  1000000000u
#define NOW_SHIFT 4u /* from nanoseconds to the time's unit */
#define COST_SHIFT 8u
#define FULL_MAX (UINT64_C(3600) * NS_PER_S << NOW_SHIFT)

static uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

void limit_set(struct limit *limit, uint64_t per_second, uint64_t burst)
{
	const uint64_t second = (uint64_t)NS_PER_S << (NOW_SHIFT + COST_SHIFT);
	uint64_t unit_cost = per_second ? max_u64(second / per_second, 1) : 0;
	uint64_t most = unit_cost ? (FULL_MAX << COST_SHIFT) / unit_cost : 0;

	store(&limit->unit_cost, 0);
	store(&limit->full, max_u64(min_u64(burst, most) * unit_cost >> COST_SHIFT, 1));
	store(&limit->paid_at, 0);
	store(&limit->unit_cost, unit_cost);
}

int64_t limit_left(const struct limit *limit, uint64_t now_ns)
{
	uint64_t now = now_ns << NOW_SHIFT, paid_at = load(&limit->paid_at);
	int64_t full = (int64_t)load(&limit->full);

	if (!load(&limit->unit_cost))
		return INT64_MAX;
	return paid_at <= now ? full : full - (int64_t)(paid_at - now);
}

int64_t limit_cost(const struct limit *limit, uint64_t tokens)
{
	return (int64_t)(load(&limit->unit_cost) * tokens >> COST_SHIFT);
}

void limit_take(struct limit *limit, uint64_t now_ns, int64_t cost)
{
	uint64_t now = now_ns << NOW_SHIFT, paid_at = load(&limit->paid_at), next;

	if (!cost)
		return;
	do
		next = max_u64(paid_at, now) + (uint64_t)cost;
	while (!__atomic_compare_exchange_n(&limit->paid_at, &paid_at, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}
