/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/patience.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define US UINT64_C(1000)
#define MS (1000 * US)
#define MIN (50 * US)
#define MAX (3 * MS)

static uint64_t after(uint64_t usual_ns, unsigned count, uint64_t gap_ns)
{
	while (count--)
		usual_ns = patience_learn(usual_ns, gap_ns, MAX);
	return usual_ns;
}

static void new_queue_is_polled_for_the_least_time(void **state)
{
	assert_int_equal(patience_ns(0, MIN, MAX), MIN);
}

static void short_gaps_need_no_more_than_the_least_time(void **state)
{
	assert_int_equal(patience_ns(after(0, 1000, 3 * US), MIN, MAX), MIN);
}

static void gaps_of_a_millisecond_are_waited_for(void **state)
{
	uint64_t wait_ns = patience_ns(after(0, 30, MS), MIN, MAX);

	assert_in_range(wait_ns, 3 * MS / 2, 2 * MS);
}

static void one_long_gap_among_short_ones_changes_nothing(void **state)
{
	uint64_t usual_ns = after(after(0, 100, MS), 1, 1000 * MS);

	assert_in_range(patience_ns(usual_ns, MIN, MAX), 2 * MS, MAX);
}

static void long_gaps_are_not_waited_for(void **state)
{
	assert_int_equal(patience_ns(after(0, 100, 1000 * MS), MIN, MAX), MIN);
	assert_int_equal(patience_ns(after(after(0, 100, MS), 5, 1000 * MS), MIN, MAX), MIN);
}

static void gap_is_soon_short_again_after_a_pause(void **state)
{
	uint64_t usual_ns = after(after(0, 100, 1000 * MS), 8, 100 * US);

	assert_in_range(patience_ns(usual_ns, MIN, MAX), 200 * US, MAX);
}

static void a_most_below_the_least_turns_it_off(void **state)
{
	assert_int_equal(patience_ns(after(0, 100, MS), MIN, US), MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_queue_is_polled_for_the_least_time),
		cmocka_unit_test(short_gaps_need_no_more_than_the_least_time),
		cmocka_unit_test(gaps_of_a_millisecond_are_waited_for),
		cmocka_unit_test(one_long_gap_among_short_ones_changes_nothing),
		cmocka_unit_test(long_gaps_are_not_waited_for),
		cmocka_unit_test(gap_is_soon_short_again_after_a_pause),
		cmocka_unit_test(a_most_below_the_least_turns_it_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
