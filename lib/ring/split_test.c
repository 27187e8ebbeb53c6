/* SPDX-License-Identifier: BSD-3-Clause */

/* Split virtqueue: a test per rule of virtio 1.3, 2.7, and one per lie. */

#define TEST_PACKED false
#include "ring_test_both.h"
#include <sys/mman.h>

static void table_entry(struct test_driver *d, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
			unsigned next)
{
	struct split_desc e = { le64(addr), le32(len), le16((uint16_t)flags), le16((uint16_t)next) };

	guest_write(d->map, TABLE + 16 * i, &e, 16);
}

/* ---- set-up ---- */

static void bad_sizes_are_refused(void **state)
{
	struct test_driver *d = open_ring(4);
	static const uint32_t bad[] = { 3, 6, 255, 32767 };
	struct ring_setup setup = driver_setup(d);

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		setup.size = bad[i];
		expect_no_ring(setup, "size of a split queue is not a power of two");
	}
	setup.size = 0;
	expect_no_ring(setup, "queue size not in 1..32768");
	setup.size = 65536;
	expect_no_ring(setup, "queue size not in 1..32768");
	driver_free(d);
}

static void misaligned_areas_are_refused(void **state)
{
	struct test_driver *d = open_ring(4);
	struct ring_setup setup = driver_setup(d);

	setup.desc = (char *)d->areas[0] + 8;
	expect_no_ring(setup, "descriptor area misaligned");
	setup = driver_setup(d);
	setup.driver = (char *)d->areas[1] + 1;
	expect_no_ring(setup, "driver area misaligned");
	setup = driver_setup(d);
	setup.device = (char *)d->areas[2] + 2;
	expect_no_ring(setup, "device area misaligned");
	setup.device = NULL;
	expect_no_ring(setup, "device area misaligned");
	setup = driver_setup(d);
	setup.base = 65536;
	expect_no_ring(setup, "base beyond 16 bits");
	driver_free(d);
}

static void areas_hold_the_event_fields(void **state)
{
	struct ring_area area = ring_area_bytes(false, 256);

	assert_int_equal(area.desc_bytes, 4096);
	assert_int_equal(area.driver_bytes, 6 + 512);
	assert_int_equal(area.device_bytes, 6 + 2048);
}

/* ---- chains ---- */

static void a_chain_shows_its_readable_and_writable_pieces(void **state)
{
	struct test_piece pieces[] = { { ADDR, 10, false },
				       { ADDR + 100, 20, false },
				       { ADDR + 200, 30, true } };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;
	int id = driver_add(d, pieces, 3, 3, 0);

	assert_int_equal(ring_available(d->ring), 1);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.id, id);
	assert_int_equal(chain.readable_count, 2);
	assert_int_equal(chain.writable_count, 1);
	assert_int_equal(chain.readable_bytes, 30);
	assert_int_equal(chain.writable_bytes, 30);
	assert_ptr_equal(chain.iov[0].iov_base, guest_at(d->map, ADDR));
	assert_ptr_equal(chain.iov[1].iov_base, guest_at(d->map, ADDR + 100));
	assert_ptr_equal(chain.iov[2].iov_base, guest_at(d->map, ADDR + 200));
	assert_int_equal(chain.iov[2].iov_len, 30);
	driver_free(d);
}

static void a_descriptor_over_a_seam_gives_two_pieces(void **state)
{
	struct test_piece piece = { GUEST_SEAM - 10, 0x1000 + 30, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;

	driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.writable_count, 3);
	assert_int_equal(chain.writable_bytes, 0x1000 + 30);
	assert_int_equal(chain.iov[0].iov_len, 10);
	assert_int_equal(chain.iov[1].iov_len, 0x1000);
	assert_int_equal(chain.iov[2].iov_len, 20);
	assert_ptr_equal(chain.iov[2].iov_base, guest_at(d->map, GUEST_SEAM + 0x1000));
	driver_free(d);
}

static void empty_descriptors_are_skipped_wherever_they_point(void **state)
{
	struct test_piece pieces[] = {
		{ ADDR, 5, false }, { ~UINT64_C(0), 0, false }, { ADDR + 9, 0, true }, { ADDR, 7, true }
	};
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;

	driver_add(d, pieces, 4, 4, 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_count, 1);
	assert_int_equal(chain.writable_count, 1);
	assert_int_equal(chain.readable_bytes + chain.writable_bytes, 12);
	driver_free(d);
}

static void a_chain_without_a_byte_is_still_a_chain(void **state)
{
	struct test_piece piece = { 0, 0, false };
	struct test_driver *d = open_ring(1);
	struct vireo_chain chain;
	uint32_t len;
	bool skipped;
	int id = driver_add(d, &piece, 1, 1, 0);

	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_count + chain.writable_count, 0);
	test_push(d->ring, &chain, 0);
	ring_publish(d->ring);
	assert_int_equal(driver_used(d, &len, &skipped), id);
	driver_free(d);
}

static void a_chain_as_long_as_the_queue_is_fine(void **state)
{
	static struct test_piece pieces[32768];
	struct test_driver *d = open_ring(32768);
	struct vireo_chain chain;

	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct test_piece){ ADDR, 1, i >= 100 };
	assert_true(driver_add(d, pieces, 32768, 32768, 0) >= 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_count, 100);
	assert_int_equal(chain.writable_count, 32668);
	driver_free(d);
}

static void indirect_tables_may_be_unaligned_and_cross_a_seam(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR + 1, 2, false }, { ADDR + 3, 3, true } };

	for (unsigned before = 1; before < 48; before++) { /* also in the middle of a descriptor */
		struct test_driver *d = open_indirect(4);
		struct vireo_chain chain;

		driver_add(d, pieces, 3, 0, GUEST_SEAM - before);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		assert_int_equal(chain.readable_bytes, 3);
		assert_int_equal(chain.writable_bytes, 3);
		assert_ptr_equal(chain.iov[1].iov_base, guest_at(d->map, ADDR + 1));
		driver_free(d);
	}
}

static void direct_descriptors_may_lead_to_one_indirect_table(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR + 1, 2, false }, { ADDR + 3, 3, true } };
	struct test_driver *d = open_indirect(4);
	struct vireo_chain chain;

	driver_add(d, pieces, 3, 1, TABLE);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_bytes, 3);
	assert_int_equal(chain.writable_bytes, 3);
	driver_free(d);
}

static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct test_driver *d = open_indirect(4);
	struct vireo_chain chain;

	table_entry(d, 0, ADDR, 8, 0, 0);
	split_set(d, 0, TABLE, 16, DESC_F_INDIRECT | DESC_F_WRITE, 0);
	split_offer(d, 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_bytes, 8);
	driver_free(d);
}

static void a_table_may_be_linked_in_any_order(void **state)
{
	struct test_driver *d = open_indirect(4);
	struct vireo_chain chain;

	table_entry(d, 0, ADDR, 1, DESC_F_NEXT, 2);
	table_entry(d, 2, ADDR + 50, 2, DESC_F_NEXT, 1);
	table_entry(d, 1, ADDR + 70, 4, DESC_F_WRITE, 77);
	split_set(d, 3, TABLE, 48, DESC_F_INDIRECT, 0);
	split_offer(d, 3);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.readable_bytes, 3);
	assert_int_equal(chain.writable_bytes, 4);
	driver_free(d);
}

static void a_chain_in_too_many_pieces_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(256);
	struct ring_setup setup = driver_setup(d);
	struct map *shreds = calloc(1, sizeof(*shreds) + 9 * sizeof(shreds->regions[0]));
	struct test_piece pieces[256];
	const char *why;

	/* 256 descriptors of 9 pieces each: more than 256 + 1024. Space between them, lest pieces be joined.
	 */
	assert_non_null(shreds);
	shreds->count = 9;
	for (unsigned i = 0; i < 9; i++)
		shreds->regions[i] =
			(struct map_region){ .gpa = ADDR + i * 16, .size_bytes = 16, .host = calloc(1, 64) };
	guest_free(d->map);
	setup.map = d->map = shreds;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	for (unsigned i = 0; i < 256; i++)
		pieces[i] = (struct test_piece){ ADDR, 9 * 16, true };
	driver_add(d, pieces, 256, 256, 0);
	expect_broken(d, "chain lies in too many pieces of memory");
}

/* ---- used entries ---- */

static void used_entries_show_at_publish_and_not_before(void **state)
{
	struct test_piece piece = { ADDR, 64, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chains[3];
	uint32_t len;
	bool skipped;

	for (int i = 0; i < 3; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 8), 3);
	test_push(d->ring, &chains[2], 5);
	test_push(d->ring, &chains[0], 64);
	assert_false(driver_peek(d));
	assert_true(ring_publish(d->ring));
	assert_int_equal(driver_used(d, &len, &skipped), chains[2].id);
	assert_int_equal(len, 5);
	assert_int_equal(driver_used(d, &len, &skipped), chains[0].id);
	assert_int_equal(len, 64);
	assert_false(driver_peek(d));
	test_push(d->ring, &chains[1], 0);
	ring_publish(d->ring);
	assert_int_equal(driver_used(d, &len, &skipped), chains[1].id);
	driver_free(d);
}

static void in_order_one_entry_stands_for_a_read_only_burst(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8, .in_order = true });
	struct test_piece piece = { ADDR, 64, false };
	struct vireo_chain chains[4];

	for (int i = 0; i < 4; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 4), 4);
	for (int i = 0; i < 4; i++)
		test_push(d->ring, &chains[i], 0);
	ring_publish(d->ring);
	assert_int_equal(le16(d->used->idx), 4);
	assert_int_equal(le32(d->used->ring[0].id), chains[3].id);
	assert_int_equal(le32(d->used->ring[1].id), 0); /* never written */
	assert_int_equal(le32(d->used->ring[3].id), 0);
	driver_free(d);
}

static void in_order_writable_chains_get_an_entry_each(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8, .in_order = true });
	struct test_piece piece = { ADDR, 64, true };
	struct vireo_chain chains[3];

	for (int i = 0; i < 3; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 4), 3);
	for (uint32_t i = 0; i < 3; i++)
		test_push(d->ring, &chains[i], 10 + i);
	ring_publish(d->ring);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(le32(d->used->ring[i].id), chains[i].id);
		assert_int_equal(le32(d->used->ring[i].len), 10 + i);
	}
	driver_free(d);
}

static void unpopped_chains_are_read_anew(void **state)
{
	struct test_piece piece = { ADDR, 64, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chains[4];

	for (int i = 0; i < 3; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 4), 3);
	ring_unpop(d->ring, &chains[1], 2);
	assert_int_equal(ring_available(d->ring), 2);
	d->desc[chains[1].id].len = le32(7);
	assert_int_equal(driver_pop(d, &chains[1], 1), 1);
	assert_int_equal(chains[1].writable_bytes, 7);
	driver_free(d);
}

/* ---- indices ---- */

/* Fills and drains a ring of `size` again and again, over index 65536 more than once. */
static void go_round(uint32_t size, bool in_order)
{
	struct test_driver *d =
		driver_new((struct test_options){ .size = size, .in_order = in_order, .base = 65530 });
	struct vireo_chain *chains = calloc(size, sizeof(*chains));
	struct test_piece piece = { ADDR, 4, true };
	uint32_t total = 0, len;
	bool skipped;

	assert_non_null(chains);
	while (total < 140000) {
		uint32_t fill = 1 + total % size;

		for (uint32_t i = 0; i < fill; i++)
			assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
		assert_int_equal(ring_available(d->ring), fill);
		assert_int_equal(driver_pop(d, chains, size), fill);
		for (uint32_t i = 0; i < fill; i++)
			test_push(d->ring, &chains[i], 4);
		ring_publish(d->ring);
		for (uint32_t i = 0; i < fill; i++)
			assert_int_equal(driver_used(d, &len, &skipped), chains[i].id);
		total += fill;
	}
	assert_int_equal(ring_base(d->ring), (uint16_t)(65530 + total));
	free(chains);
	driver_free(d);
}

static void indices_wrap_at_65536_with_any_size(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 256, 32768 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		go_round(sizes[i], false);
		go_round(sizes[i], true);
	}
}

static uint32_t begins_at(uint16_t avail, uint16_t used, uint32_t base)
{
	struct test_driver *d = open_ring(8);
	struct ring_setup setup = driver_setup_in_order(d);
	const char *why;
	uint32_t begin;

	ring_free(d->ring);
	d->avail->idx = le16(avail);
	d->used->idx = le16(used);
	setup.base = base;
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	begin = ring_base(d->ring);
	assert_int_equal(le16(d->used->idx), begin); /* where the driver sees us */
	assert_int_equal(!ring_remark(d->ring), begin == base && used == base);
	driver_free(d);
	return begin;
}

static void a_used_index_that_what_is_available_belies_gives_way_to_the_base(void **state)
{
	assert_int_equal(begins_at(0, 0, 0), 0);
	assert_int_equal(begins_at(3, 37, 0), 0); /* of another ring */
	assert_int_equal(begins_at(0, 37, 0), 0);
	assert_int_equal(begins_at(2, 100, 65533), 65533);
	assert_int_equal(begins_at(43, 37, 0), 37); /* it has been killed since */
	assert_int_equal(begins_at(43, 37, 43), 37); /* in flight */
	assert_int_equal(begins_at(8, 3, 0), 3); /* both would do: only memory knows */
	assert_int_equal(begins_at(100, 37, 0), 37); /* neither would: the pop will tell */
}

/* ---- notifications ---- */

static void no_interrupt_flag_suppresses_signals(void **state)
{
	struct test_driver *d = open_ring(8);

	assert_true(publish(d, 1));
	d->avail->flags = le16(SPLIT_AVAIL_F_NO_INTERRUPT);
	assert_false(publish(d, 3));
	d->avail->flags = 0;
	assert_true(publish(d, 2));
	driver_free(d);
}

static void used_event_decides_also_over_the_wrap(void **state)
{
	struct test_driver *d =
		driver_new((struct test_options){ .size = 8, .event_idx = true, .base = 65530 });
	uint16_t *event = &d->avail->ring[8];

	d->avail->flags = le16(SPLIT_AVAIL_F_NO_INTERRUPT); /* to be ignored */
	assert_true(publish(d, 1)); /* the first always: 65530 */
	*event = le16(65533);
	assert_false(publish(d, 2)); /* 65531, 65532 */
	assert_true(publish(d, 1)); /* 65533 */
	assert_false(publish(d, 1)); /* 65534 */
	*event = le16(0);
	assert_false(publish(d, 1)); /* 65535 */
	assert_true(publish(d, 3)); /* 0, 1, 2 */
	*event = le16(40000); /* nonsense is only far away */
	assert_false(publish(d, 8));
	driver_free(d);
}

static void kick_flag_follows_what_the_device_asks(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(8);

	assert_int_equal(le16(d->used->flags), 0);
	assert_false(ring_kick_enable(d->ring, false));
	assert_int_equal(le16(d->used->flags), SPLIT_USED_F_NO_NOTIFY);
	driver_add(d, &piece, 1, 1, 0);
	assert_false(driver_should_kick(d));
	assert_true(ring_kick_enable(d->ring, true)); /* one came meanwhile */
	assert_int_equal(le16(d->used->flags), 0);
	driver_free(d);
}

static void avail_event_asks_for_the_next_chain_only(void **state)
{
	struct test_driver *d =
		driver_new((struct test_options){ .size = 8, .event_idx = true, .base = 65534 });
	struct test_piece piece = { ADDR, 4, true };
	struct vireo_chain chains[8];

	for (int round = 0; round < 3; round++) {
		assert_int_equal(driver_pop(d, chains, 8), 0); /* arms */
		driver_add(d, &piece, 1, 1, 0);
		assert_true(driver_should_kick(d));
		driver_add(d, &piece, 1, 1, 0);
		assert_false(driver_should_kick(d));
		assert_int_equal(driver_pop(d, chains, 8), 2);
	}
	assert_false(ring_kick_enable(d->ring, false));
	driver_add(d, &piece, 1, 1, 0);
	assert_false(driver_should_kick(d));
	assert_int_equal(le16(d->used->flags), 0); /* with EVENT_IDX it stays 0 */
	driver_free(d);
}

/* ---- lies ---- */

static void avail_index_too_far_ahead_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(4);

	d->avail->idx = le16(5);
	expect_broken(d, "available index further ahead than the ring is long");
}

static void avail_index_ahead_of_what_was_given_back_breaks_the_ring(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chains[4];

	for (int i = 0; i < 4; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 4), 4);
	split_offer(d, 0);
	expect_broken(d, "available index further ahead than the ring is long");
}

static void avail_index_going_back_breaks_the_ring(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chains[2];

	driver_add(d, &piece, 1, 1, 0);
	driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 2), 2);
	d->avail->idx = le16(1);
	expect_broken(d, "available index further ahead than the ring is long");
}

static void a_lie_seen_when_asking_for_kicks_breaks_the_ring(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 4, .event_idx = true });

	d->avail->idx = le16(40000);
	assert_true(ring_kick_enable(d->ring, true));
	expect_broken(d, "available index further ahead than the ring is long");
}

static void head_beyond_the_table_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(4);

	split_offer(d, 4);
	expect_broken(d, "available ring names a descriptor beyond the table");
}

static void next_beyond_the_table_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(4);

	split_set(d, 0, ADDR, 4, DESC_F_NEXT, 4);
	split_offer(d, 0);
	expect_broken(d, "next index beyond the descriptor table");
}

static void a_loop_breaks_the_ring(void **state)
{
	for (unsigned next = 0; next < 2; next++) { /* to itself, and over two */
		struct test_driver *d = open_ring(4);

		split_set(d, 0, ADDR, 0, DESC_F_NEXT, next);
		split_set(d, 1, ADDR, 0, DESC_F_NEXT, 0);
		split_offer(d, 0);
		expect_broken(d, "chain longer than the queue, or a loop");
	}
}

static void readable_after_writable_breaks_the_ring(void **state)
{
	struct test_piece pieces[] = { { ADDR, 4, true }, { ADDR, 4, false } };
	struct test_driver *d = open_ring(4);

	driver_add(d, pieces, 2, 2, 0);
	expect_broken(d, "readable descriptor after a writable one");
	d = open_indirect(4);
	driver_add(d, pieces, 2, 1, TABLE); /* and over the border of a table */
	expect_broken(d, "readable descriptor after a writable one");
}

static void an_address_that_wraps_breaks_the_ring(void **state)
{
	struct test_piece piece = { UINT64_MAX - 3, 8, false };
	struct test_driver *d = open_ring(4);

	driver_add(d, &piece, 1, 1, 0);
	expect_broken(d, "descriptor wraps around the address space");
}

static void more_bytes_than_32_bits_count_break_the_ring(void **state)
{
	uint64_t gpa = UINT64_C(1) << 32, half = UINT64_C(1) << 31;
	struct test_piece pieces[2] = { { gpa, (uint32_t)half, false }, { gpa, (uint32_t)half, true } };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;
	void *huge = mmap(NULL, half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(huge != MAP_FAILED);
	free(d->map->regions[2].host);
	d->map->regions[2] = (struct map_region){ .gpa = gpa, .size_bytes = half, .host = huge };
	driver_add(d, pieces, 2, 2, 0);
	assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
	d->map->regions[2].host = NULL;
	munmap(huge, half);
	expect_broken(d, "chain longer than 2^32 - 1 bytes");
}

static void good_chains_before_a_bad_one_are_returned(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chains[4];

	driver_add(d, &piece, 1, 1, 0);
	split_offer(d, 9);
	assert_int_equal(driver_pop(d, chains, 4), 1);
	test_push(d->ring, &chains[0], 4);
	assert_false(ring_publish(d->ring));
	assert_int_equal(le16(d->used->idx), 0); /* a broken ring writes nothing */
	expect_broken(d, "available ring names a descriptor beyond the table");
}

/* One descriptor that names a table, and what the device says to it. */
static void expect_table_refused(bool indirect, uint64_t table, uint32_t len, unsigned flags, const char *why)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 4, .indirect = indirect });

	table_entry(d, 0, ADDR, 4, 0, 0);
	split_set(d, 0, table, len, flags, 1);
	split_set(d, 1, ADDR, 4, 0, 0);
	split_offer(d, 0);
	expect_broken(d, why);
}

static void indirect_without_the_feature_breaks_the_ring(void **state)
{
	expect_table_refused(false, TABLE, 16, DESC_F_INDIRECT,
			     "indirect descriptor without VIRTIO_F_INDIRECT_DESC");
}

static void indirect_and_next_together_break_the_ring(void **state)
{
	expect_table_refused(true, TABLE, 16, DESC_F_INDIRECT | DESC_F_NEXT,
			     "descriptor with both INDIRECT and NEXT");
}

static void oddly_sized_tables_break_the_ring(void **state)
{
	expect_table_refused(true, TABLE, 0, DESC_F_INDIRECT, "indirect table of zero length");
	expect_table_refused(true, TABLE, 15, DESC_F_INDIRECT,
			     "indirect table's length is no multiple of 16");
	expect_table_refused(true, TABLE, 17, DESC_F_INDIRECT,
			     "indirect table's length is no multiple of 16");
	expect_table_refused(true, TABLE, 80, DESC_F_INDIRECT, "indirect table longer than the queue");
	expect_table_refused(true, TABLE, 0xfffffff0, DESC_F_INDIRECT,
			     "indirect table longer than the queue");
}

static void a_table_that_is_not_there_breaks_the_ring(void **state)
{
	expect_table_refused(true, GUEST_END, 16, DESC_F_INDIRECT, "indirect table outside guest memory" RING_SHARE_HINT);
	expect_table_refused(true, GUEST_END - 8, 16, DESC_F_INDIRECT, "indirect table outside guest memory" RING_SHARE_HINT);
	expect_table_refused(true, UINT64_MAX - 7, 16, DESC_F_INDIRECT,
			     "indirect table wraps around the address space");
}

static void a_table_in_a_table_breaks_the_ring(void **state)
{
	struct test_driver *d = open_indirect(4);

	table_entry(d, 0, TABLE, 16, DESC_F_INDIRECT, 0);
	split_set(d, 0, TABLE, 16, DESC_F_INDIRECT, 0);
	split_offer(d, 0);
	expect_broken(d, "indirect table inside an indirect table");
}

static void next_beyond_the_indirect_table_breaks_the_ring(void **state)
{
	struct test_driver *d = open_indirect(4);

	table_entry(d, 0, ADDR, 4, DESC_F_NEXT, 2);
	split_set(d, 0, TABLE, 32, DESC_F_INDIRECT, 0);
	split_offer(d, 0);
	expect_broken(d, "next index beyond the indirect table");
}

static void a_loop_in_a_table_breaks_the_ring(void **state)
{
	struct test_driver *d = open_indirect(4);

	table_entry(d, 0, ADDR, 4, DESC_F_NEXT, 1);
	table_entry(d, 1, ADDR, 4, DESC_F_NEXT, 0);
	split_set(d, 0, TABLE, 32, DESC_F_INDIRECT, 0);
	split_offer(d, 0);
	expect_broken(d, "loop in an indirect table");
}

static void direct_and_indirect_together_longer_than_the_queue_break_the_ring(void **state)
{
	struct test_piece pieces[5];
	struct test_driver *d = open_indirect(4);

	for (unsigned i = 0; i < 5; i++)
		pieces[i] = (struct test_piece){ ADDR, 4, false };
	driver_add(d, pieces, 5, 1, TABLE);
	expect_broken(d, "chain longer than the queue");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TESTS_OF_BOTH,
		cmocka_unit_test(bad_sizes_are_refused),
		cmocka_unit_test(misaligned_areas_are_refused),
		cmocka_unit_test(areas_hold_the_event_fields),
		cmocka_unit_test(a_chain_shows_its_readable_and_writable_pieces),
		cmocka_unit_test(a_descriptor_over_a_seam_gives_two_pieces),
		cmocka_unit_test(empty_descriptors_are_skipped_wherever_they_point),
		cmocka_unit_test(a_chain_without_a_byte_is_still_a_chain),
		cmocka_unit_test(a_chain_as_long_as_the_queue_is_fine),
		cmocka_unit_test(indirect_tables_may_be_unaligned_and_cross_a_seam),
		cmocka_unit_test(direct_descriptors_may_lead_to_one_indirect_table),
		cmocka_unit_test(the_write_flag_of_an_indirect_descriptor_is_ignored),
		cmocka_unit_test(a_table_may_be_linked_in_any_order),
		cmocka_unit_test(a_chain_in_too_many_pieces_breaks_the_ring),
		cmocka_unit_test(used_entries_show_at_publish_and_not_before),
		cmocka_unit_test(in_order_one_entry_stands_for_a_read_only_burst),
		cmocka_unit_test(in_order_writable_chains_get_an_entry_each),
		cmocka_unit_test(unpopped_chains_are_read_anew),
		cmocka_unit_test(indices_wrap_at_65536_with_any_size),
		cmocka_unit_test(a_used_index_that_what_is_available_belies_gives_way_to_the_base),
		cmocka_unit_test(no_interrupt_flag_suppresses_signals),
		cmocka_unit_test(used_event_decides_also_over_the_wrap),
		cmocka_unit_test(kick_flag_follows_what_the_device_asks),
		cmocka_unit_test(avail_event_asks_for_the_next_chain_only),
		cmocka_unit_test(avail_index_too_far_ahead_breaks_the_ring),
		cmocka_unit_test(avail_index_ahead_of_what_was_given_back_breaks_the_ring),
		cmocka_unit_test(avail_index_going_back_breaks_the_ring),
		cmocka_unit_test(a_lie_seen_when_asking_for_kicks_breaks_the_ring),
		cmocka_unit_test(head_beyond_the_table_breaks_the_ring),
		cmocka_unit_test(next_beyond_the_table_breaks_the_ring),
		cmocka_unit_test(a_loop_breaks_the_ring),
		cmocka_unit_test(readable_after_writable_breaks_the_ring),
		cmocka_unit_test(an_address_that_wraps_breaks_the_ring),
		cmocka_unit_test(more_bytes_than_32_bits_count_break_the_ring),
		cmocka_unit_test(good_chains_before_a_bad_one_are_returned),
		cmocka_unit_test(indirect_without_the_feature_breaks_the_ring),
		cmocka_unit_test(indirect_and_next_together_break_the_ring),
		cmocka_unit_test(oddly_sized_tables_break_the_ring),
		cmocka_unit_test(a_table_that_is_not_there_breaks_the_ring),
		cmocka_unit_test(a_table_in_a_table_breaks_the_ring),
		cmocka_unit_test(next_beyond_the_indirect_table_breaks_the_ring),
		cmocka_unit_test(a_loop_in_a_table_breaks_the_ring),
		cmocka_unit_test(direct_and_indirect_together_longer_than_the_queue_break_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
