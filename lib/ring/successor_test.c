/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ring_test_driver.h"

/* What a ring leaves to its successor, and addresses that are not in memory yet. */

#define ADDR (GUEST_BASE + 0x100)

static struct ring_setup setup_with(const struct test_driver *d, uint32_t *record)
{
	struct ring_setup setup = driver_setup(d);

	setup.record = record;
	setup.base = 0x80008000; /* as the driver set it up, long ago */
	return setup;
}

/* The ring is another one from now on. */
static void succeed(struct test_driver *d, uint32_t *record)
{
	struct ring_setup setup = setup_with(d, record);
	const char *why;

	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

/* Where a successor would begin: the used half of its base. */
static uint32_t successors_place(const struct test_driver *d, uint32_t *record)
{
	struct ring_setup setup = setup_with(d, record);
	struct ring *ring;
	const char *why;
	uint32_t base;

	assert_int_equal(ring_new(&setup, &ring, &why), 0);
	base = ring_base(ring);
	ring_free(ring);
	return base >> 16;
}

/* One chain of `descs` descriptors goes round. The successor is asked at each moment of it. */
static void one_round(struct test_driver *d, uint32_t *record, unsigned descs)
{
	struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR + 8, 4, false }, { ADDR + 16, 4, false } };
	uint32_t place = ring_base(d->ring) >> 16, len;
	uint16_t *flags = &d->pdesc[place & 0x7fff].flags, available;
	struct vireo_chain chain;
	bool skipped;

	assert_true(driver_add(d, pieces, descs, descs, 0) >= 0);
	assert_int_equal(successors_place(d, record), place);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(successors_place(d, record), place); /* popped again */
	available = *flags;
	test_push(d->ring, &chain, 0);
	assert_int_equal(successors_place(d, record), place);
	ring_publish(d->ring);
	assert_int_equal(successors_place(d, record), ring_base(d->ring) >> 16);
	assert_int_not_equal(ring_base(d->ring) >> 16, place);
	/* Killed between the record and the showing. */
	len = *flags;
	*flags = available;
	assert_int_equal(successors_place(d, record), place);
	*flags = (uint16_t)len;
	assert_true(driver_used(d, &len, &skipped) >= 0);
	/* The driver has what was used, and gives nothing yet. */
	assert_int_equal(successors_place(d, record), ring_base(d->ring) >> 16);
}

static void a_successor_begins_where_the_last_burst_that_was_shown_ends(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 5, 8 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = sizes[i] });
		uint32_t record = 0;

		succeed(d, &record);
		for (unsigned round = 0; round < 5 * sizes[i]; round++)
			one_round(d, &record, 1 + round % (sizes[i] < 3 ? 1 : 3));
		driver_free(d);
	}
}

static void a_driver_that_has_gone_on_does_not_mislead_a_successor(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 4 });
	struct test_piece piece = { ADDR, 4, false };
	uint32_t record = 0, len, place;
	struct vireo_chain chain;
	bool skipped;

	succeed(d, &record);
	for (unsigned lap = 0; lap < 3; lap++) {
		for (unsigned i = 0; i < 4; i++)
			driver_add(d, &piece, 1, 1, 0);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(driver_pop(d, &chain, 1), 1);
			test_push(d->ring, &chain, 0);
			ring_publish(d->ring);
		}
		while (driver_used(d, &len, &skipped) >= 0)
			;
		place = ring_base(d->ring) >> 16;
		for (unsigned i = 0; i < 4; i++) /* the record's begin is available in the next lap */
			driver_add(d, &piece, 1, 1, 0);
		assert_int_equal(successors_place(d, &record), place);
		succeed(d, &record);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(driver_pop(d, &chain, 1), 1);
			test_push(d->ring, &chain, 0);
		}
		ring_publish(d->ring);
		while (driver_used(d, &len, &skipped) >= 0)
			;
	}
	driver_free(d);
}

static void a_record_that_is_no_place_is_not_believed(void **state)
{
	static uint32_t lies[] = { 0x80048000, 0x80008004, 0xffffffff, 0x7fff };
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 4 });

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		assert_int_equal(successors_place(d, &lies[i]), 0x8000);
	driver_free(d);
}

/* ---- addresses that are not there yet ---- */

static void lazily(struct test_driver *d)
{
	struct ring_setup setup = driver_setup(d);
	const char *why;

	setup.lazy = true;
	setup.base = d->opt.packed ? 0x80008000 : 0;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

static void a_chain_that_is_not_in_memory_yet_stays_where_it_is(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 8 });
		struct test_piece good = { ADDR, 4, false };
		struct test_piece gone = { GUEST_END - 2, 8, false }, list[] = { { ADDR, 4, false }, gone };
		struct vireo_chain chains[4];

		lazily(d);
		driver_add(d, &good, 1, 1, 0);
		driver_add(d, list, 2, 2, 0);
		assert_int_equal(driver_pop(d, chains, 4), 1); /* what came before it is not held up */
		assert_int_equal(driver_pop(d, chains + 1, 3), -EFAULT);
		assert_true(ring_missed(d->ring) == GUEST_END);
		assert_null(ring_error(d->ring));
		test_push(d->ring, &chains[0], 0);
		ring_publish(d->ring);
		d->map->regions[2].size_bytes += 0x1000; /* as another map would have it */
		d->map->regions[2].host = realloc(d->map->regions[2].host, 0x31000);
		assert_int_equal(driver_pop(d, chains + 1, 3), 1);
		assert_int_equal(chains[1].readable_bytes, 12);
		d->map->regions[2].size_bytes -= 0x1000;
		driver_free(d);
	}
}

static void a_table_that_is_not_in_memory_yet_is_no_lie(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d =
			driver_new((struct test_options){ .packed = packed, .size = 8, .indirect = true });
		struct test_piece pieces[] = { { ADDR, 4, false }, { ADDR, 4, false } };
		struct vireo_chain chain;

		lazily(d);
		driver_add(d, pieces, 2, 0, GUEST_SEAM);
		d->map->regions[1].gpa += 0x100000; /* out of the way */
		assert_int_equal(driver_pop(d, &chain, 1), -EFAULT);
		assert_true(ring_missed(d->ring) == GUEST_SEAM);
		d->map->regions[1].gpa -= 0x100000;
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		driver_free(d);
	}
}

static void too_little_room_is_not_taken_for_a_miss(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8 });
	struct test_piece gone = { GUEST_END, 8, false };
	struct test_piece list[] = { { ADDR, 4, false }, { ADDR + 64, 4, false } };
	struct vireo_chain chains[2];
	struct iovec iov[1];

	lazily(d);
	driver_add(d, list, 1, 1, 0);
	driver_add(d, &gone, 1, 1, 0);
	assert_int_equal(ring_pop(d->ring, chains, 2, d->iov, 8), 1); /* the miss is not told yet */
	ring_unpop(d->ring, chains, 1);
	d->desc[0].flags = htole16(1);
	d->desc[0].next = htole16(5);
	d->desc[5] = (struct split_desc){ .addr = htole64(ADDR), .len = htole32(4) };
	assert_int_equal(ring_pop(d->ring, chains, 1, iov, 1), -ENOBUFS);
	driver_free(d);
}

static void without_patience_it_is_a_lie(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8 });
	struct test_piece gone = { GUEST_END, 8, false };
	struct vireo_chain chain;

	driver_add(d, &gone, 1, 1, 0);
	assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
	assert_string_equal(ring_error(d->ring), "descriptor outside guest memory");
	driver_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_successor_begins_where_the_last_burst_that_was_shown_ends),
		cmocka_unit_test(a_driver_that_has_gone_on_does_not_mislead_a_successor),
		cmocka_unit_test(a_record_that_is_no_place_is_not_believed),
		cmocka_unit_test(a_chain_that_is_not_in_memory_yet_stays_where_it_is),
		cmocka_unit_test(a_table_that_is_not_in_memory_yet_is_no_lie),
		cmocka_unit_test(too_little_room_is_not_taken_for_a_miss),
		cmocka_unit_test(without_patience_it_is_a_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
