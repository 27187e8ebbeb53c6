/* SPDX-License-Identifier: BSD-3-Clause */

/* A bucket of tokens, by a clock of the test's own. */

#include "switch/limit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
/* cmocka wants those above */
#include <cmocka.h>

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

/* As callers do: one at a time. */
static bool pass(struct limit *limit, uint64_t now_ns, uint64_t tokens)
{
	if (limit_left(limit, now_ns) <= 0)
		return false;
	limit_take(limit, now_ns, limit_cost(limit, tokens));
	return true;
}

static unsigned passed_at_once(struct limit *limit, uint64_t now_ns, uint64_t tokens)
{
	unsigned count = 0;

	while (count < 100000 && pass(limit, now_ns, tokens))
		count++;
	return count;
}

static void a_full_bucket_is_given_at_once_and_no_more(void **state)
{
	struct limit limit = {0};

	limit_set(&limit, 1000, 50);
	assert_int_equal(passed_at_once(&limit, S, 1), 50);
	assert_int_equal(passed_at_once(&limit, S, 1), 0);
	assert_int_equal(passed_at_once(&limit, S + 10 * MS, 1), 10);
	assert_int_equal(passed_at_once(&limit, 100 * S, 1), 50); /* never more than full */
}

/* Asked three times as often as frames may pass. */
static uint64_t bytes_passed(uint64_t rate, uint64_t length, uint64_t for_ns, uint64_t asked)
{
	struct limit limit = {0};
	uint64_t bytes = 0;

	limit_set(&limit, rate, length);
	for (uint64_t i = 0; i < asked; i++)
		bytes += pass(&limit, S + (uint64_t)((double)for_ns / (double)asked * (double)i), length) ? length : 0;
	return bytes;
}

static void the_rate_is_kept_whatever_a_frame_is_long(void **state)
{
	static const uint64_t rates[] = {1000, 1000000, 1250000000, UINT64_C(12500000000)};
	static const uint64_t lengths[] = {60, 1514, 65550};

	for (unsigned r = 0; r < 4; r++) {
		for (unsigned l = 0; l < 3; l++) {
			uint64_t expected = 10000 * lengths[l], for_ns = (uint64_t)((double)expected / (double)rates[r] * (double)S);

			assert_in_range(bytes_passed(rates[r], lengths[l], for_ns, for_ns > 30000 * 11 ? 30011 : for_ns / 4 + 1),
					expected / 100 * 98, expected / 100 * 102);
		}
	}
}

static void what_is_longer_than_the_bucket_passes_and_is_owed(void **state)
{
	struct limit limit = {0};

	limit_set(&limit, 1000, 10);
	assert_true(pass(&limit, S, 3000));
	assert_false(pass(&limit, S + 2980 * MS, 1));
	assert_true(pass(&limit, S + 2991 * MS, 1));
}

static void without_a_limit_all_passes_and_costs_nothing(void **state)
{
	struct limit limit = {0};

	limit_set(&limit, 0, 0);
	assert_true(limit_left(&limit, S) == INT64_MAX);
	assert_int_equal(limit_cost(&limit, 1 << 22), 0);
	limit_take(&limit, S, 0);
	assert_int_equal(limit.paid_at, 0);
}

static void a_new_limit_forgets_what_was_owed(void **state)
{
	struct limit limit = {0};

	limit_set(&limit, 1, 1);
	assert_true(pass(&limit, S, 1 << 22));
	assert_false(pass(&limit, 1000 * S, 1));
	limit_set(&limit, 10, 1);
	assert_true(pass(&limit, 1000 * S, 1));
}

/* Neither end of what can be given runs over. */
static void extreme_limits_hold(void **state)
{
	struct limit limit = {0};

	limit_set(&limit, 1, UINT64_C(1) << 32);
	assert_true(limit_left(&limit, 0) > 0);
	assert_true(limit_cost(&limit, 1 << 22) > 0);
	limit_set(&limit, UINT64_C(1) << 40, UINT64_C(1) << 32);
	assert_true(limit_left(&limit, 100000 * S) > 0 && limit_cost(&limit, 65536) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_bucket_is_given_at_once_and_no_more),
		cmocka_unit_test(the_rate_is_kept_whatever_a_frame_is_long),
		cmocka_unit_test(what_is_longer_than_the_bucket_passes_and_is_owed),
		cmocka_unit_test(without_a_limit_all_passes_and_costs_nothing),
		cmocka_unit_test(a_new_limit_forgets_what_was_owed),
		cmocka_unit_test(extreme_limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
