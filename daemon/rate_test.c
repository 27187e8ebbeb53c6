/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "daemon/rate.h"

/* Uses that pass of `count` at one moment. */
static unsigned uses_pass(struct rate *rate, uint64_t now_ms, unsigned count, uint32_t *ret_left_out)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < count; i++)
		passed += rate_pass(rate, now_ms, ret_left_out);
	return passed;
}

static void peer_that_insists_gets_a_burst_and_then_little(void **state)
{
	struct rate rate = {0};
	uint32_t left_out = 0;
	unsigned passed = 0;

	assert_int_equal(uses_pass(&rate, 1000, 5000, &left_out), RATE_BURST);
	for (uint64_t ms = 0; ms < 100 * RATE_INTERVAL_MS; ms++)
		passed += uses_pass(&rate, 1000 + ms, 10, &left_out);
	assert_in_range(passed, 98, 100);
}

static void what_was_left_out_is_told_once(void **state)
{
	struct rate rate = {0};
	uint32_t left_out = 0;

	uses_pass(&rate, 0, RATE_BURST + 7, &left_out);
	assert_int_equal(left_out, 0);
	assert_true(rate_pass(&rate, 2 * RATE_INTERVAL_MS, &left_out));
	assert_int_equal(left_out, 7);
	assert_true(rate_pass(&rate, 2 * RATE_INTERVAL_MS, &left_out));
	assert_int_equal(left_out, 0);
}

static void quiet_time_earns_the_whole_burst_and_no_more(void **state)
{
	struct rate rate = {0};
	uint32_t left_out;

	uses_pass(&rate, 0, 2 * RATE_BURST, &left_out);
	assert_int_equal(uses_pass(&rate, 10000000, 1000, &left_out), RATE_BURST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peer_that_insists_gets_a_burst_and_then_little),
		cmocka_unit_test(what_was_left_out_is_told_once),
		cmocka_unit_test(quiet_time_earns_the_whole_burst_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
