/* SPDX-License-Identifier: BSD-3-Clause */

/* A bucket of tokens, by a clock of the test's own; then threads that take from one bucket, whose rate changes under them. */

#include "base/bucket.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka wants those above */
#include <cmocka.h>

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

/* ---- who may drop ---- */

/* As callers do: one at a time. */
static bool pass(struct bucket *b, uint64_t now_ns, uint64_t tokens)
{
	if (bucket_left(b, now_ns) <= 0)
		return false;
	bucket_draw(b, tokens, now_ns, BUCKET_DEBT_MAX);
	return true;
}

static unsigned passed_at_once(struct bucket *b, uint64_t now_ns, uint64_t tokens)
{
	unsigned count = 0;

	while (count < 100000 && pass(b, now_ns, tokens))
		count++;
	return count;
}

static void a_full_bucket_is_given_at_once_and_no_more(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1000, 50);
	assert_int_equal(passed_at_once(&b, S, 1), 50);
	assert_int_equal(passed_at_once(&b, S, 1), 0);
	assert_int_equal(passed_at_once(&b, S + 10 * MS, 1), 10);
	assert_int_equal(passed_at_once(&b, 100 * S, 1), 50); /* never more than full */
}

static void an_empty_bucket_fills_at_its_rate(void **state)
{
	struct bucket b = {0};

	bucket_drain(&b, 1000, 50, S);
	assert_int_equal(passed_at_once(&b, S, 1), 0);
	assert_int_equal(passed_at_once(&b, S + 10 * MS, 1), 10);
	bucket_drain(&b, 1000, 0, S); /* a tenth of a second's */
	assert_int_equal(passed_at_once(&b, 100 * S, 1), 100);
}

/* Asked three times as often as frames may pass. */
static uint64_t bytes_passed(uint64_t rate, uint64_t length, uint64_t for_ns, uint64_t asked)
{
	struct bucket b = {0};
	uint64_t bytes = 0;

	bucket_fill(&b, rate, length);
	for (uint64_t i = 0; i < asked; i++)
		bytes += pass(&b, S + (uint64_t)((double)for_ns / (double)asked * (double)i), length) ? length : 0;
	return bytes;
}

static void the_rate_is_kept_whatever_is_taken_at_once(void **state)
{
	static const uint64_t rates[] = {1000, 1000000, 1250000000, UINT64_C(12500000000)};
	static const uint64_t lengths[] = {60, 1514, 65550};

	for (unsigned r = 0; r < ARRAY_SIZE(rates); r++) {
		for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++) {
			uint64_t expected = 10000 * lengths[l], for_ns = (uint64_t)((double)expected / (double)rates[r] * (double)S);

			assert_in_range(bytes_passed(rates[r], lengths[l], for_ns, for_ns > 30000 * 11 ? 30011 : for_ns / 4 + 1),
					expected / 100 * 98, expected / 100 * 102);
		}
	}
}

static void what_is_larger_than_the_bucket_passes_and_is_owed(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1000, 10);
	assert_true(pass(&b, S, 3000));
	assert_false(pass(&b, S + 2980 * MS, 1));
	assert_true(pass(&b, S + 2991 * MS, 1));
}

static void no_more_is_owed_than_who_draws_says(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1000, 100);
	bucket_draw(&b, 1 << 28, S, (uint64_t)bucket_cost(&b, 100) + BUCKET_SECOND);
	assert_int_equal(passed_at_once(&b, 2 * S, 1), 0);
	assert_int_equal(passed_at_once(&b, 2 * S + 10 * MS, 1), 10);
}

/* A bucket of another size at the same rate: what is drawn from the one is gone from the other. */
static void a_bucket_may_be_looked_at_as_a_larger_one(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1000, 10);
	bucket_draw(&b, 60, S, BUCKET_DEBT_MAX);
	assert_true(bucket_left(&b, S) < 0);
	assert_int_equal(bucket_left_of(&b, S, bucket_cost(&b, 100)), bucket_cost(&b, 40));
}

static void without_a_limit_all_passes_and_costs_nothing(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 0, 0);
	assert_false(bucket_limits(&b));
	assert_true(bucket_left(&b, S) == INT64_MAX);
	assert_int_equal(bucket_cost(&b, 1 << 22), 0);
	bucket_draw(&b, UINT64_C(1) << 40, S, BUCKET_DEBT_MAX);
	assert_true(bucket_take(&b, UINT64_C(1) << 40, S) <= S);
	bucket_fill(&b, 1000, 10);
	assert_int_equal(passed_at_once(&b, S, 1), 10);
}

static void a_filled_bucket_forgets_what_was_owed(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1, 1);
	assert_true(pass(&b, S, 1 << 22));
	assert_false(pass(&b, 1000 * S, 1));
	bucket_fill(&b, 10, 1);
	assert_true(pass(&b, 1000 * S, 1));
}

/* Neither end of what can be given runs over. */
static void extreme_limits_hold(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1, UINT64_C(1) << 40);
	assert_true(bucket_left(&b, 0) > 0);
	assert_true(bucket_cost(&b, 1 << 28) > 0);
	bucket_fill(&b, UINT64_C(1) << 40, UINT64_C(1) << 40);
	assert_true(bucket_left(&b, 100000 * S) > 0 && bucket_cost(&b, 65536) > 0);
	bucket_fill(&b, UINT64_MAX, UINT64_MAX);
	assert_true(bucket_left(&b, S) > 0);
}

/* ---- who may wait ---- */

static void who_takes_is_told_when(void **state)
{
	struct bucket b = {0};
	unsigned at_once = 0;

	bucket_fill(&b, 1000, 50);
	for (unsigned i = 0; i < 1000; i++)
		at_once += bucket_take(&b, 1, 10 * S) <= 10 * S;
	assert_int_equal(at_once, 50);
	/* The last of a thousand is the 950th that has to be paid for. */
	assert_int_equal(bucket_take(&b, 1, 10 * S), 10 * S + 951 * MS);
}

static void what_is_larger_than_the_bucket_goes_when_it_is_full(void **state)
{
	struct bucket b = {0};

	bucket_fill(&b, 1 << 20, 4096);
	assert_int_equal(bucket_take(&b, 1 << 20, 10 * S), 10 * S);
	assert_true(bucket_take(&b, 4096, 10 * S) == 11 * S);
}

static void a_rate_is_kept_however_large(void **state)
{
	static const uint64_t rates[] = {1, 3, 7, 999, 12345, 1000000, 3333333, 10000000, UINT64_C(99999999999)};

	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		struct bucket b = {0};
		uint64_t due = 0, each = max_u64(rates[i] / 10000, 1);

		bucket_drain(&b, rates[i], 0, 0);
		for (unsigned n = 0; n < 1000; n++)
			due = bucket_take(&b, each, 0);
		assert_true(due >= 1000 * each * S / rates[i] * 99 / 100 && due <= 1000 * each * S / rates[i] * 101 / 100 + 1);
	}
}

static void no_sum_wraps_around(void **state)
{
	struct bucket b = {0};
	uint64_t before = 0;

	bucket_drain(&b, 1, 0, 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t due = bucket_take(&b, UINT64_MAX, S);

		assert_true(due >= before);
		before = due;
	}
	assert_true(bucket_left(&b, S) < 0);
}

/* ---- threads ---- */

#define THREADS 4u
#define TAKES	200000u /* long enough that they get into each other's way */

static struct bucket shared;
static pthread_barrier_t begin;
static uint64_t dues[THREADS][TAKES];

static void threads_begin(pthread_t *threads, unsigned count, void *(*work)(void *))
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, dues[i]), 0);
}

static void threads_end(pthread_t *threads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *take(void *opaque)
{
	uint64_t *due = opaque;

	pthread_barrier_wait(&begin);
	for (unsigned i = 0; i < TAKES; i++)
		due[i] = bucket_take(&shared, 1, S);
	return NULL;
}

static int later(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void no_two_threads_are_given_one_place(void **state)
{
	pthread_t threads[THREADS];
	uint64_t *all = &dues[0][0];

	bucket_fill(&shared, 1000, 1);
	assert_int_equal(pthread_barrier_init(&begin, NULL, THREADS), 0);
	threads_begin(threads, THREADS, take);
	threads_end(threads, THREADS);
	pthread_barrier_destroy(&begin);
	qsort(all, THREADS * TAKES, sizeof(*all), later);
	for (uint64_t i = 0; i < THREADS * TAKES; i++)
		assert_int_equal(all[i], S + i * MS);
}

#define CHANGES	   20000u
#define DRAWERS	   2u
#define SLOW	   1u	       /* a token is a second */
#define FAST	   UINT64_C(1000000000) /* and then a nanosecond */
#define BATCH	   4u

static bool stop;

static void *draw(void *opaque)
{
	uint64_t *count = opaque;

	for (*count = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); ++*count) {
		bucket_draw(&shared, 1, S, BUCKET_DEBT_MAX);
		if (*count % BATCH == 0)
			bucket_take(&shared, 1, S);
	}
	return NULL;
}

/* How much they have got meanwhile depends on the machine. It is no second's worth of tokens of the fast rate. */
static void nobody_pays_by_the_rate_of_before(void **state)
{
	pthread_t threads[DRAWERS];
	unsigned wrong = 0;

	stop = false;
	bucket_fill(&shared, SLOW, 1);
	threads_begin(threads, DRAWERS, draw);
	for (unsigned i = 0; i < CHANGES; i++) {
		bucket_fill(&shared, SLOW, 1);
		if (i % 64 == 0)
			sched_yield();
		bucket_fill(&shared, FAST, 1);
		for (unsigned n = 0; n < 8; n++) /* time for who was under way */
			wrong += bucket_left(&shared, S) < -(int64_t)BUCKET_SECOND / 2;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	threads_end(threads, DRAWERS);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_bucket_is_given_at_once_and_no_more),
		cmocka_unit_test(an_empty_bucket_fills_at_its_rate),
		cmocka_unit_test(the_rate_is_kept_whatever_is_taken_at_once),
		cmocka_unit_test(what_is_larger_than_the_bucket_passes_and_is_owed),
		cmocka_unit_test(no_more_is_owed_than_who_draws_says),
		cmocka_unit_test(a_bucket_may_be_looked_at_as_a_larger_one),
		cmocka_unit_test(without_a_limit_all_passes_and_costs_nothing),
		cmocka_unit_test(a_filled_bucket_forgets_what_was_owed),
		cmocka_unit_test(extreme_limits_hold),
		cmocka_unit_test(who_takes_is_told_when),
		cmocka_unit_test(what_is_larger_than_the_bucket_goes_when_it_is_full),
		cmocka_unit_test(a_rate_is_kept_however_large),
		cmocka_unit_test(no_sum_wraps_around),
		cmocka_unit_test(no_two_threads_are_given_one_place),
		cmocka_unit_test(nobody_pays_by_the_rate_of_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
