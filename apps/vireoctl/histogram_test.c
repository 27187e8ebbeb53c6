/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "histogram.h"

static json_t *of(long long a, long long b, long long c, long long beyond)
{
	return json_pack("{s:[i,i,i], s:[I,I,I,I], s:i}", "le", 100, 200, 400, "counts", (json_int_t)a, (json_int_t)b, (json_int_t)c,
			 (json_int_t)beyond, "sum", 1500);
}

static void assert_near(double value, double expected)
{
	assert_true(value > expected - 0.001 && value < expected + 0.001);
}

static void values_lie_evenly_in_their_bucket(void **state)
{
	json_t *h = of(50, 40, 10, 0);

	(void)state;
	assert_near(histogram_quantile(h, NULL, 0.25), 50);
	assert_near(histogram_quantile(h, NULL, 0.5), 100);
	assert_near(histogram_quantile(h, NULL, 0.7), 150);
	assert_near(histogram_quantile(h, NULL, 1), 400);
	assert_near(histogram_mean(h), 15);
	assert_int_equal(histogram_count(h, NULL), 100);
	json_decref(h);
}

static void what_is_beyond_all_bounds_is_at_the_last(void **state)
{
	json_t *h = of(1, 0, 0, 99);

	(void)state;
	assert_near(histogram_quantile(h, NULL, 0.5), 400);
	json_decref(h);
}

static void what_was_there_before_does_not_count(void **state)
{
	json_t *before = of(100, 0, 0, 0), *now = of(100, 0, 10, 0);

	(void)state;
	assert_int_equal(histogram_count(now, before), 10);
	assert_near(histogram_quantile(now, before, 0.5), 300);
	json_decref(before);
	json_decref(now);
}

static void a_port_that_was_made_anew_has_no_before(void **state)
{
	json_t *before = of(100, 0, 50, 0), *now = of(0, 10, 90, 0);

	(void)state;
	assert_int_equal(histogram_count(now, before), 100);
	assert_near(histogram_quantile(now, before, 0.1), 200);
	json_decref(before);
	json_decref(now);
}

static void nothing_has_no_quantile(void **state)
{
	json_t *empty = of(0, 0, 0, 0), *other = json_pack("{s:s}", "counts", "none");

	(void)state;
	assert_true(histogram_quantile(empty, NULL, 0.5) < 0);
	assert_true(histogram_quantile(empty, empty, 0.5) < 0);
	assert_true(histogram_quantile(NULL, NULL, 0.5) < 0);
	assert_true(histogram_quantile(other, NULL, 0.5) < 0);
	assert_near(histogram_mean(empty), 0);
	json_decref(empty);
	json_decref(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_lie_evenly_in_their_bucket),
		cmocka_unit_test(what_is_beyond_all_bounds_is_at_the_last),
		cmocka_unit_test(what_was_there_before_does_not_count),
		cmocka_unit_test(a_port_that_was_made_anew_has_no_before),
		cmocka_unit_test(nothing_has_no_quantile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
