/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/flood_limit.h"
#include "base/util.h"
#include <stdbool.h>

#define NS_PER_S 1000000000u

void flood_limit_init(struct flood_limit *limit, uint64_t copies_per_second)
{
	uint64_t copy_ns = copies_per_second ? NS_PER_S / copies_per_second : 0;

	*limit = (struct flood_limit){.copy_ns = copies_per_second && !copy_ns ? 1 : copy_ns};
}

uint64_t flood_limit_left(const struct flood_limit *limit, uint64_t now_ns, uint64_t burst)
{
	uint64_t full_ns = burst * limit->copy_ns, paid_at_ns;

	if (!limit->copy_ns)
		return UINT64_MAX;
	paid_at_ns = __atomic_load_n(&limit->paid_at_ns, __ATOMIC_RELAXED);
	if (paid_at_ns <= now_ns)
		return burst;
	if (paid_at_ns - now_ns >= full_ns)
		return 0;
	return (full_ns - (paid_at_ns - now_ns) + limit->copy_ns - 1) / limit->copy_ns;
}

void flood_limit_take(struct flood_limit *limit, uint64_t now_ns, uint64_t burst, uint64_t copies)
{
	uint64_t latest_ns = now_ns + burst * limit->copy_ns + FLOOD_DEBT_MAX_NS;
	uint64_t paid_at_ns = __atomic_load_n(&limit->paid_at_ns, __ATOMIC_RELAXED), next_ns;

	if (!limit->copy_ns)
		return;
	do
		next_ns = min_u64((paid_at_ns > now_ns ? paid_at_ns : now_ns) + copies * limit->copy_ns, latest_ns);
	while (!__atomic_compare_exchange_n(&limit->paid_at_ns, &paid_at_ns, next_ns, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED));
}
