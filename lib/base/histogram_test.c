/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/histogram.h"
#include "base/util.h"
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void quantiles_are_within_a_64th(void **state)
{
	struct histogram *h = calloc(1, sizeof(*h));
	static const uint32_t per_million[] = { 1, 1000, 500000, 900000, 990000, 999000, 1000000 };

	for (uint64_t v = 1; v <= 1000000; v++)
		histogram_add(h, v * 7);
	assert_int_equal(h->min, 7);
	assert_int_equal(h->max, 7000000);
	for (unsigned i = 0; i < ARRAY_SIZE(per_million); i++) {
		uint64_t exact = (uint64_t)per_million[i] * 7, got = histogram_quantile(h, per_million[i]);

		assert_true(got >= exact && got - exact <= exact / 64 + 1);
	}
	free(h);
}

static void what_is_merged_is_counted_together(void **state)
{
	struct histogram *one = calloc(1, sizeof(*one)), *other = calloc(1, sizeof(*other)), *sum = calloc(1, sizeof(*sum));

	histogram_merge(sum, one);
	assert_int_equal(sum->count, 0);
	for (uint64_t v = 1; v <= 100; v++) {
		histogram_add(one, v + 10);
		histogram_add(other, v + 1000);
	}
	histogram_merge(sum, other);
	histogram_merge(sum, one);
	assert_int_equal(sum->count, 200);
	assert_int_equal(sum->min, 11);
	assert_int_equal(sum->max, 1100);
	assert_in_range(histogram_quantile(sum, 500000), 110, 112);
	assert_in_range(histogram_quantile(sum, 510000), 1001, 1030);
	free(one);
	free(other);
	free(sum);
}

/* ---- while it is written ---- */

#define ROUNDS 200u

struct race {
	struct histogram of;
	unsigned turn; /* atomic: the round that the writer may begin, and that it has ended */
	unsigned ended;
};

static void *race_write(void *opaque)
{
	struct race *race = opaque;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		while (__atomic_load_n(&race->turn, __ATOMIC_ACQUIRE) != round)
			sched_yield();
		for (uint64_t v = 0; v < 20; v++)
			histogram_add(&race->of, 1000 + v * 1000);
		__atomic_store_n(&race->ended, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Whatever a reader sees counted lies between the smallest and the largest that it sees. */
static void what_is_counted_lies_between_its_bounds_at_any_moment(void **state)
{
	struct race *race = calloc(1, sizeof(*race));
	struct histogram *sum = calloc(1, sizeof(*sum));
	pthread_t thread;
	unsigned torn = 0;

	assert_int_equal(pthread_create(&thread, NULL, race_write, race), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		bool last = false;

		memset(&race->of, 0, sizeof(race->of));
		__atomic_store_n(&race->turn, round, __ATOMIC_RELEASE);
		while (!last) {
			last = __atomic_load_n(&race->ended, __ATOMIC_ACQUIRE) == round;
			memset(sum, 0, sizeof(*sum));
			histogram_merge(sum, &race->of);
			/* The n-th that was added is n thousand. */
			torn += sum->count && (sum->min != 1000 || sum->max < sum->count * 1000);
		}
		torn += sum->count != 20;
	}
	pthread_join(thread, NULL);
	assert_int_equal(torn, 0);
	free(race);
	free(sum);
}

static void small_and_huge_values_have_a_place(void **state)
{
	struct histogram *h = calloc(1, sizeof(*h));

	assert_int_equal(histogram_quantile(h, 500000), 0);
	for (uint64_t v = 0; v < 64; v++)
		histogram_add(h, v);
	assert_int_equal(histogram_quantile(h, 500000), 31);
	histogram_add(h, UINT64_MAX);
	assert_int_equal(histogram_quantile(h, 1000000), UINT64_MAX);
	assert_int_equal(h->count, 65);
	free(h);
}

static void one_value_is_every_quantile(void **state)
{
	struct histogram *h = calloc(1, sizeof(*h));

	histogram_add(h, 123456789);
	assert_int_equal(histogram_quantile(h, 0), 123456789);
	assert_int_equal(histogram_quantile(h, 500000), 123456789);
	assert_int_equal(histogram_quantile(h, 999999), 123456789);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_within_a_64th),
		cmocka_unit_test(what_is_merged_is_counted_together),
		cmocka_unit_test(what_is_counted_lies_between_its_bounds_at_any_moment),
		cmocka_unit_test(small_and_huge_values_have_a_place),
		cmocka_unit_test(one_value_is_every_quantile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
