/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ring_test_driver.h"

/* What a ring would miss: named before it does, without taking anything. */

#define HERE (GUEST_BASE + 0x100)
#define ABSENT GUEST_END /* a page's start, and pages behind it that nobody has */
#define PAGE UINT64_C(0x1000)
#define MAX 8u
#define SOON 4u

struct seen {
	struct ring_absence all[MAX];
	unsigned count, soon;
};

static void assert_absent(const struct seen *seen, unsigned i, uint64_t gpa, bool write)
{
	assert_true(i < seen->count);
	assert_int_equal(seen->all[i].gpa, gpa);
	assert_int_equal(seen->all[i].write, write);
}

/* Twice the same, and not a byte of the chains has changed. */
static struct seen look(const struct test_driver *d, unsigned max)
{
	struct ring_setup setup = driver_setup(d);
	size_t bytes = ring_area_bytes(d->opt.packed, d->opt.size).desc_bytes;
	uint8_t *before = test_alloc(bytes);
	struct seen first = { 0 }, again = { 0 };

	setup.lazy = true;
	memcpy(before, d->areas[0], bytes);
	first.count = ring_absent(&setup, first.all, max, SOON, &first.soon);
	again.count = ring_absent(&setup, again.all, max, SOON, &again.soon);
	assert_int_equal(first.count, again.count);
	assert_int_equal(first.soon, again.soon);
	for (unsigned i = 0; i < first.count; i++)
		assert_absent(&again, i, first.all[i].gpa, first.all[i].write);
	assert_memory_equal(before, d->areas[0], bytes);
	if (!d->opt.packed)
		assert_int_equal(d->used->idx, 0);
	free(before);
	return first;
}

static void in_both_formats(void (*check)(struct test_driver *d))
{
	for (int packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .indirect = true, .size = 16 });

		check(d);
		driver_free(d);
	}
}

static void add(struct test_driver *d, uint64_t gpa, uint32_t len, bool writable)
{
	assert_true(driver_add(d, &(struct test_piece){ gpa, len, writable }, 1, 1, 0) >= 0);
}

static void check_order(struct test_driver *d)
{
	const struct test_piece chain[] = { { HERE, 8, false }, { ABSENT + 4 * PAGE + 8, 2 * PAGE - 8, true } };
	struct seen seen;

	add(d, HERE, 8, true);
	add(d, ABSENT + 2 * PAGE, 8, true);
	add(d, ABSENT + 2 * PAGE + 100, 8, false); /* of a page that has been named, to be written even */
	add(d, ABSENT - 8, 16, false); /* begins where something is */
	assert_true(driver_add(d, chain, 2, 2, 0) >= 0);
	add(d, ABSENT, 8, true); /* has been named, but to be read */
	seen = look(d, MAX);
	assert_int_equal(seen.count, 5);
	assert_int_equal(seen.soon, 2); /* of the first four chains */
	assert_absent(&seen, 0, ABSENT + 2 * PAGE, true);
	assert_absent(&seen, 1, ABSENT, false);
	assert_absent(&seen, 2, ABSENT + 4 * PAGE + 8, true);
	assert_absent(&seen, 3, ABSENT + 5 * PAGE, true);
	assert_absent(&seen, 4, ABSENT, true);
}

static void what_is_absent_is_named_in_order_and_once_a_page(void **state)
{
	in_both_formats(check_order);
}

static void check_nothing(struct test_driver *d)
{
	assert_int_equal(look(d, MAX).count, 0);
	add(d, HERE, 8, true);
	assert_int_equal(look(d, MAX).count, 0);
	assert_int_equal(look(d, MAX).soon, 0);
}

static void where_all_is_there_nothing_is_named(void **state)
{
	in_both_formats(check_nothing);
}

static void it_does_not_look_far(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 128 });

		for (unsigned i = 0; i < 64; i++)
			add(d, HERE, 8, true);
		add(d, ABSENT, 8, true);
		assert_int_equal(look(d, MAX).count, 0);
		driver_free(d);
	}
}

static void check_indirect(struct test_driver *d)
{
	const struct test_piece chain[] = { { ABSENT, 8, false }, { HERE, 8, true }, { ABSENT + PAGE, 8, true } };
	struct seen seen;

	assert_true(driver_add(d, chain, 3, 0, HERE + 0x200) >= 0);
	seen = look(d, MAX);
	assert_int_equal(seen.count, 2);
	assert_absent(&seen, 0, ABSENT, false);
	assert_absent(&seen, 1, ABSENT + PAGE, true);
}

static void tables_are_looked_into(void **state)
{
	in_both_formats(check_indirect);
}

static void check_max(struct test_driver *d)
{
	struct seen seen;

	for (unsigned i = 0; i < MAX; i++)
		add(d, ABSENT + i * PAGE, 8, true);
	seen = look(d, 3);
	assert_int_equal(seen.count, 3);
	assert_absent(&seen, 2, ABSENT + 2 * PAGE, true);
	add(d, ABSENT + MAX * PAGE, UINT32_MAX, true); /* a million pages */
	assert_int_equal(look(d, MAX).count, MAX);
}

static void there_is_an_end_to_it(void **state)
{
	in_both_formats(check_max);
}

static void check_same_page(struct test_driver *d)
{
	struct test_piece chain[12];
	struct seen seen;

	for (unsigned i = 0; i < ARRAY_SIZE(chain); i++)
		chain[i] = (struct test_piece){ ABSENT + i * 8, 8, false };
	assert_true(driver_add(d, chain, 12, 12, 0) >= 0);
	add(d, ABSENT + PAGE, 8, true);
	seen = look(d, MAX);
	assert_int_equal(seen.count, 2);
	assert_absent(&seen, 1, ABSENT + PAGE, true);
}

static void one_page_many_times_is_named_once(void **state)
{
	in_both_formats(check_same_page);
}

/* The lie is for the ring to find that pops it. */
static void check_lie(struct test_driver *d)
{
	struct seen seen;

	add(d, ABSENT, 8, true);
	if (d->opt.packed) {
		packed_set(d, HERE, 7, DESC_F_INDIRECT, 15);
	} else {
		split_set(d, 15, HERE, 7, DESC_F_INDIRECT, 0);
		split_offer(d, 15);
	}
	add(d, ABSENT + PAGE, 8, true);
	seen = look(d, MAX);
	assert_int_equal(seen.count, 1);
	assert_absent(&seen, 0, ABSENT, true);
	assert_null(ring_error(d->ring));
}

static void a_lie_ends_it_and_breaks_nothing(void **state)
{
	in_both_formats(check_lie);
}

static void check_table_absent(struct test_driver *d)
{
	add(d, ABSENT, 8, true);
	if (d->opt.packed) {
		packed_set(d, ABSENT + PAGE, 32, DESC_F_INDIRECT, 15);
	} else {
		split_set(d, 15, ABSENT + PAGE, 32, DESC_F_INDIRECT, 0);
		split_offer(d, 15);
	}
	assert_int_equal(look(d, MAX).count, 1);
}

static void a_table_that_is_absent_ends_it(void **state)
{
	in_both_formats(check_table_absent);
}

/* Chains are popped, used and shown, more than the ring is long; one is popped, some are not; nothing is written. */
static void check_running(struct test_driver *d)
{
	size_t bytes = ring_area_bytes(d->opt.packed, d->opt.size).device_bytes;
	struct ring_absence absent[MAX];
	struct vireo_chain chain;
	uint8_t *before = test_alloc(bytes);
	uint32_t len;
	bool skipped;

	for (unsigned i = 0; i < 21; i++) {
		add(d, HERE, 8, true);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		test_push(d->ring, &chain, 8);
		ring_publish(d->ring);
		assert_true(driver_used(d, &len, &skipped) >= 0);
	}
	add(d, HERE, 8, true);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	for (unsigned i = 0; i < 3; i++)
		add(d, ABSENT + i * PAGE, 8, i);
	memcpy(before, d->areas[2], bytes);
	assert_int_equal(ring_absent_running(d->ring, d->map, true, absent, MAX), 2);
	assert_int_equal(absent[0].gpa, ABSENT + PAGE);
	assert_int_equal(ring_absent_running(d->ring, d->map, false, absent, MAX), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(absent[i].gpa, ABSENT + i * PAGE);
		assert_int_equal(absent[i].write, i > 0);
	}
	assert_int_equal(ring_absent_running(d->ring, d->map, false, absent, 2), 2);
	assert_memory_equal(before, d->areas[2], bytes);
	assert_null(ring_error(d->ring));
	ring_unpop(d->ring, &chain, 1);
	free(before);
}

static void a_ring_that_runs_is_looked_at_from_where_it_was_shown_last(void **state)
{
	in_both_formats(check_running);
}

/*
 * 64 heads of the same chain, which cannot be, and each of its descriptors covers the whole of memory, in three regions, and begins
 * in a page that is absent: twelve thousand lookups, or a third of them. What comes afterwards is not reached.
 */
static void work_without_an_end_is_ended(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 64 });
	struct seen seen;

	for (uint32_t i = 0; i < 62; i++)
		split_set(d, i, GUEST_BASE - 8, GUEST_END - GUEST_BASE + 8, DESC_F_NEXT, i + 1);
	split_set(d, 62, GUEST_BASE - 8, 8, 0, 0);
	split_set(d, 63, ABSENT, 8, 0, 0);
	for (unsigned i = 0; i < 63; i++)
		split_offer(d, 0);
	split_offer(d, 63);
	seen = look(d, MAX);
	assert_int_equal(seen.count, 1);
	assert_absent(&seen, 0, GUEST_BASE - 8, false);
	driver_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_absent_is_named_in_order_and_once_a_page),
		cmocka_unit_test(where_all_is_there_nothing_is_named),
		cmocka_unit_test(it_does_not_look_far),
		cmocka_unit_test(tables_are_looked_into),
		cmocka_unit_test(one_page_many_times_is_named_once),
		cmocka_unit_test(there_is_an_end_to_it),
		cmocka_unit_test(work_without_an_end_is_ended),
		cmocka_unit_test(a_lie_ends_it_and_breaks_nothing),
		cmocka_unit_test(a_ring_that_runs_is_looked_at_from_where_it_was_shown_last),
		cmocka_unit_test(a_table_that_is_absent_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
