/* SPDX-License-Identifier: BSD-3-Clause */

/* What a port may have flooded, by a clock of the test's own. */

#include "switch/flood_limit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above */
#include <cmocka.h>

#define BURST 100u
#define MS 1000000ull
#define S (1000 * MS)

static void a_full_bucket_is_given_at_once_and_no_more(void **state)
{
	struct flood_limit limit;

	flood_limit_init(&limit, 1000);
	assert_int_equal(flood_limit_left(&limit, S, BURST), BURST);
	flood_limit_take(&limit, S, BURST, 60);
	assert_int_equal(flood_limit_left(&limit, S, BURST), 40);
	flood_limit_take(&limit, S, BURST, 40);
	assert_int_equal(flood_limit_left(&limit, S, BURST), 0);
}

static void it_fills_at_its_rate_and_not_beyond_full(void **state)
{
	struct flood_limit limit;

	flood_limit_init(&limit, 1000);
	flood_limit_take(&limit, S, BURST, BURST);
	assert_int_equal(flood_limit_left(&limit, S + MS, BURST), 1);
	assert_int_equal(flood_limit_left(&limit, S + 50 * MS, BURST), 50);
	assert_int_equal(flood_limit_left(&limit, S + 100 * MS, BURST), BURST);
	assert_int_equal(flood_limit_left(&limit, 100 * S, BURST), BURST);
}

static void so_much_passes_in_a_second_however_it_is_asked(void **state)
{
	struct flood_limit limit;
	uint64_t passed = 0;

	flood_limit_init(&limit, 1000);
	for (uint64_t now = S; now < 11 * S; now += MS / 3) {
		uint64_t left = flood_limit_left(&limit, now, BURST), copies = left < 7 ? left : 7;

		flood_limit_take(&limit, now, BURST, copies);
		passed += copies;
	}
	assert_in_range(passed, 10000, 10000 + BURST + 1);
}

/* The first frame may take more than there is. It is paid for, within bounds. */
static void a_debt_is_paid_off_and_is_never_more_than_a_second(void **state)
{
	struct flood_limit limit;

	flood_limit_init(&limit, 1000);
	flood_limit_take(&limit, S, BURST, 250);
	assert_int_equal(flood_limit_left(&limit, S + 149 * MS, BURST), 0);
	assert_int_equal(flood_limit_left(&limit, S + 151 * MS, BURST), 1);
	flood_limit_take(&limit, 10 * S, BURST, UINT64_C(1) << 30);
	assert_int_equal(flood_limit_left(&limit, 10 * S + FLOOD_DEBT_MAX_NS, BURST), 0);
	assert_int_equal(flood_limit_left(&limit, 10 * S + FLOOD_DEBT_MAX_NS + 10 * MS, BURST), 10);
}

static void without_a_limit_there_is_always_enough(void **state)
{
	struct flood_limit limit;

	flood_limit_init(&limit, 0);
	flood_limit_take(&limit, S, BURST, UINT64_C(1) << 40);
	assert_true(flood_limit_left(&limit, S, BURST) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_bucket_is_given_at_once_and_no_more),
		cmocka_unit_test(it_fills_at_its_rate_and_not_beyond_full),
		cmocka_unit_test(so_much_passes_in_a_second_however_it_is_asked),
		cmocka_unit_test(a_debt_is_paid_off_and_is_never_more_than_a_second),
		cmocka_unit_test(without_a_limit_there_is_always_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
