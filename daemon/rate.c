/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/rate.h"
#include <time.h>

bool rate_pass(struct rate *rate, uint64_t now_ms, uint32_t *ret_left_out)
{
	uint64_t due_ms = __atomic_load_n(&rate->due_ms, __ATOMIC_RELAXED), paid_ms;

	do {
		paid_ms = (due_ms > now_ms ? due_ms : now_ms) + RATE_INTERVAL_MS;
		if (paid_ms - now_ms > RATE_BURST * RATE_INTERVAL_MS) {
			__atomic_fetch_add(&rate->left_out, 1, __ATOMIC_RELAXED);
			return false;
		}
	} while (!__atomic_compare_exchange_n(&rate->due_ms, &due_ms, paid_ms, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	*ret_left_out = __atomic_exchange_n(&rate->left_out, 0, __ATOMIC_RELAXED);
	return true;
}

bool rate_pass_now(struct rate *rate, uint32_t *ret_left_out)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return rate_pass(rate, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, ret_left_out);
}
