/* SPDX-License-Identifier: BSD-3-Clause */

/* Packed virtqueue: a test per rule of virtio 1.3, 2.8, and one per lie. */

#define TEST_PACKED true
#include "ring_test_both.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- set-up ---- */

static void any_size_up_to_32768_is_fine(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 100, 255, 32767, 32768 };
	struct test_driver *d = open_ring(4);
	struct ring_setup setup = driver_setup(d);

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		driver_free(open_ring(sizes[i]));
	setup.size = 0;
	expect_no_ring(setup, "queue size not in 1..32768");
	setup.size = 32769;
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
	setup.driver = (char *)d->areas[1] + 2;
	expect_no_ring(setup, "driver area misaligned");
	setup = driver_setup(d);
	setup.device = (char *)d->areas[2] + 2;
	expect_no_ring(setup, "device area misaligned");
	driver_free(d);
}

static void positions_of_the_base_lie_in_the_ring(void **state)
{
	struct test_driver *d = open_ring(4);
	struct ring_setup setup = driver_setup(d);

	setup.base = 0x80048003;
	expect_no_ring(setup, "base beyond the queue's size");
	setup.base = 0x80038004;
	expect_no_ring(setup, "base beyond the queue's size");
	driver_free(d);
}

/* Some front ends fill in the available half alone. */
static void a_base_without_a_used_half_means_the_same_place(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 4, .base = 0x8002 });
	struct vireo_chain chain;
	uint32_t len;
	bool skipped;

	assert_int_equal(ring_base(d->ring), 0x80028002);
	driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	test_push(d->ring, &chain, 3);
	ring_publish(d->ring);
	assert_int_equal(driver_used(d, &len, &skipped), chain.id);
	assert_int_equal(ring_base(d->ring), 0x80038003);
	driver_free(d);
}

/* ---- chains ---- */

static void a_chain_shows_its_pieces_and_the_id_of_its_last_descriptor(void **state)
{
	struct test_piece pieces[] = { { ADDR, 10, false },
				       { ADDR + 100, 0, false },
				       { GUEST_SEAM - 10, 30, true } };
	struct test_driver *d = open_ring(5);
	struct vireo_chain chain;
	int id = driver_add(d, pieces, 3, 3, 0);

	assert_int_equal(ring_available(d->ring), 3); /* descriptors */
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.id, id); /* the others say 0xdead */
	assert_int_equal(chain.span, 3);
	assert_int_equal(chain.readable_count, 1);
	assert_int_equal(chain.writable_count, 2);
	assert_int_equal(chain.readable_bytes, 10);
	assert_int_equal(chain.writable_bytes, 30);
	assert_ptr_equal(chain.iov[2].iov_base, guest_at(d->map, GUEST_SEAM));
	driver_free(d);
}

static void a_chain_may_go_over_the_end_of_the_ring(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR, 2, false }, { ADDR, 4, true } };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;
	uint32_t len;
	bool skipped;

	for (int round = 0; round < 12; round++) {
		int id = driver_add(d, pieces, 3, 3, 0);

		assert_true(id >= 0);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		assert_int_equal(chain.readable_bytes, 3);
		test_push(d->ring, &chain, 4);
		ring_publish(d->ring);
		assert_int_equal(driver_used(d, &len, &skipped), id);
		assert_int_equal(len, 4);
	}
	driver_free(d);
}

static void a_chain_as_long_as_the_queue_is_fine(void **state)
{
	static struct test_piece pieces[32768];
	struct test_driver *d = open_ring(32768);
	struct vireo_chain chain;

	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct test_piece){ ADDR, 1, i >= 100 };
	for (int round = 0; round < 2; round++) {
		uint32_t len;
		bool skipped;

		assert_true(driver_add(d, pieces, 32768, 32768, 0) >= 0);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		assert_int_equal(chain.span, 32768);
		assert_int_equal(chain.writable_count, 32668);
		test_push(d->ring, &chain, 1);
		ring_publish(d->ring);
		assert_int_equal(driver_used(d, &len, &skipped), chain.id);
	}
	driver_free(d);
}

static void indirect_tables_may_be_unaligned_and_cross_a_seam(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR + 1, 2, false }, { ADDR + 3, 3, true } };

	for (unsigned before = 1; before < 48; before++) { /* also in the middle of a descriptor */
		struct test_driver *d = open_indirect(4);
		struct vireo_chain chain;
		int id = driver_add(d, pieces, 3, 0, GUEST_SEAM - before);

		assert_int_equal(driver_pop(d, &chain, 1), 1);
		assert_int_equal(chain.id, id);
		assert_int_equal(chain.span, 1);
		assert_int_equal(chain.readable_bytes, 3);
		assert_int_equal(chain.writable_bytes, 3);
		assert_ptr_equal(chain.iov[1].iov_base, guest_at(d->map, ADDR + 1));
		driver_free(d);
	}
}

/* 2.8.8: "the only valid flag ... others are ignored by the device", in the table and in what names it. */
static void only_the_write_flag_counts_in_a_table(void **state)
{
	struct packed_desc table[] = { { le64(ADDR), le32(4), le16(99), le16(0xffff & ~DESC_F_WRITE) },
				       { le64(ADDR), le32(5), le16(99), le16(0xffff) } };
	struct test_driver *d = open_indirect(4);
	struct vireo_chain chain;

	guest_write(d->map, TABLE, table, sizeof(table));
	packed_set(d, TABLE, sizeof(table), DESC_F_INDIRECT | DESC_F_WRITE, 2);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.id, 2);
	assert_int_equal(chain.readable_bytes, 4);
	assert_int_equal(chain.writable_bytes, 5);
	driver_free(d);
}

/* ---- used entries ---- */

static void used_entries_are_written_in_the_order_of_completion(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR, 64, true }, { ADDR, 64, true } };
	struct test_driver *d = open_ring(8);
	struct vireo_chain chains[3];
	uint32_t len;
	bool skipped;

	for (unsigned i = 0; i < 3; i++)
		driver_add(d, pieces, i + 1, i + 1, 0); /* 1, 2 and 3 descriptors */
	assert_int_equal(driver_pop(d, chains, 8), 3);
	test_push(d->ring, &chains[2], 5);
	test_push(d->ring, &chains[0], 0);
	assert_false(driver_peek(d)); /* not before publish */
	assert_true(ring_publish(d->ring));
	assert_int_equal(le16(d->pdesc[0].id), chains[2].id);
	assert_true(le16(d->pdesc[0].flags) & DESC_F_WRITE);
	assert_int_equal(le16(d->pdesc[3].id), chains[0].id);
	assert_false(le16(d->pdesc[3].flags) & DESC_F_WRITE);
	assert_int_equal(driver_used(d, &len, &skipped), chains[2].id);
	assert_int_equal(len, 5);
	assert_int_equal(driver_used(d, &len, &skipped), chains[0].id);
	assert_false(driver_peek(d));
	test_push(d->ring, &chains[1], 64);
	ring_publish(d->ring);
	assert_int_equal(driver_used(d, &len, &skipped), chains[1].id);
	driver_free(d);
}

static void in_order_one_entry_stands_for_a_read_only_burst(void **state)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 6, .in_order = true });
	struct test_piece piece = { ADDR, 64, false };
	struct vireo_chain chains[4];
	uint32_t len;
	bool skipped;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 4; i++)
			assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
		assert_int_equal(driver_pop(d, chains, 4), 4);
		for (int i = 0; i < 4; i++)
			test_push(d->ring, &chains[i], 0);
		ring_publish(d->ring);
		assert_int_equal(le16(d->pdesc[chains[0].id].id), chains[3].id);
		for (int i = 0; i < 4; i++) {
			assert_int_equal(driver_used(d, &len, &skipped), chains[i].id);
			assert_int_equal(skipped, i < 3);
		}
	}
	driver_free(d);
}

static void unpopped_chains_are_read_anew_also_over_the_end(void **state)
{
	struct test_piece pieces[] = { { ADDR, 64, true }, { ADDR, 64, true } };
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 7, .base = 0x80058005 });
	struct vireo_chain chains[3];

	for (int i = 0; i < 3; i++)
		driver_add(d, pieces, 2, 2, 0);
	assert_int_equal(driver_pop(d, chains, 3), 3);
	ring_unpop(d->ring, &chains[0], 3);
	assert_int_equal(driver_pop(d, chains, 3), 3);
	ring_unpop(d->ring, &chains[1], 2);
	d->pdesc[0].len = le32(7);
	assert_int_equal(driver_pop(d, &chains[1], 1), 1);
	assert_int_equal(chains[1].writable_bytes, 71);
	driver_free(d);
}

static void go_round(uint32_t size, bool in_order)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = size, .in_order = in_order });
	struct vireo_chain *chains = calloc(size, sizeof(*chains));
	struct test_piece piece = { ADDR, 4, true };
	uint32_t total = 0, len;
	bool skipped;

	assert_non_null(chains);
	while (total < 140000) {
		uint32_t fill = 1 + total % size;

		for (uint32_t i = 0; i < fill; i++)
			assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
		assert_int_equal(driver_pop(d, chains, size), fill);
		for (uint32_t i = 0; i < fill; i++)
			test_push(d->ring, &chains[i], 4);
		ring_publish(d->ring);
		for (uint32_t i = 0; i < fill; i++)
			assert_int_equal(driver_used(d, &len, &skipped), chains[i].id);
		total += fill;
	}
	assert_int_equal(ring_base(d->ring) & 0x7fff, total % size);
	assert_int_equal(ring_base(d->ring) >> 15 & 1, !(total / size & 1));
	free(chains);
	driver_free(d);
}

static void wrap_counters_turn_with_any_size(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 256, 32768 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		go_round(sizes[i], false);
		go_round(sizes[i], true);
	}
}

/* ---- notifications ---- */

static void what_is_available_is_counted_from_any_place(void **state)
{
	struct test_piece piece = { ADDR, 4, true };

	for (uint32_t size = 1; size <= 9; size++) {
		struct test_driver *d = open_ring(size);
		struct vireo_chain chain;
		bool skipped;

		for (uint32_t round = 0; round < 4 * size; round++) {
			uint32_t fill = round % (size + 1), len;

			for (uint32_t i = 0; i < fill; i++) {
				driver_add(d, &piece, 1, 1, 0);
				assert_int_equal(ring_available(d->ring), i + 1);
			}
			for (uint32_t left = fill; left--;) {
				assert_int_equal(driver_pop(d, &chain, 1), 1);
				assert_int_equal(ring_available(d->ring), left);
				test_push(d->ring, &chain, 0);
				ring_publish(d->ring);
				driver_used(d, &len, &skipped);
			}
		}
		driver_free(d);
	}
}

static void driver_event_flags_suppress_signals(void **state)
{
	struct test_driver *d = open_ring(8);

	assert_true(publish(d, 1));
	packed_event_set(d->driver_event, PACKED_EVENT_DISABLE, 0, 0);
	assert_false(publish(d, 3));
	packed_event_set(d->driver_event, PACKED_EVENT_ENABLE, 0, 0);
	assert_true(publish(d, 2));
	driver_free(d);
}

static void driver_event_place_decides_also_over_the_wrap(void **state)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 6, .event_idx = true });

	packed_event_set(d->driver_event, PACKED_EVENT_DISABLE, 0, 0);
	assert_true(publish(d, 1)); /* the first always: place 0 of lap 1 */
	assert_false(publish(d, 1));
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 4, true);
	assert_false(publish(d, 2)); /* 2, 3 */
	assert_true(publish(d, 1)); /* 4 */
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 0, false);
	assert_false(publish(d, 1)); /* 5 */
	assert_true(publish(d, 1)); /* 0 of the next lap */
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 4, false);
	assert_true(publish(d, 6)); /* 1 .. 0: over the end */
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 4, false); /* a lap ago */
	assert_false(publish(d, 3)); /* 1, 2, 3 of lap 1 */
	assert_false(publish(d, 1)); /* 4, of the other lap */
	driver_free(d);
}

static void a_driver_event_that_lies_gets_a_signal(void **state)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 6, .event_idx = true });

	publish(d, 1);
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 6, true);
	assert_true(publish(d, 1));
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 0x7fff, false);
	assert_true(publish(d, 1));
	packed_event_set(d->driver_event, 3, 0, false);
	assert_true(publish(d, 1));
	assert_null(ring_error(d->ring));
	driver_free(d);
	d = open_ring(6);
	packed_event_set(d->driver_event, PACKED_EVENT_DESC, 5, true); /* without EVENT_IDX */
	assert_true(publish(d, 1));
	driver_free(d);
}

static void device_event_follows_what_the_device_asks(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(8);

	assert_int_equal(le16(d->device_event->flags), PACKED_EVENT_ENABLE);
	assert_false(ring_kick_enable(d->ring, false));
	assert_int_equal(le16(d->device_event->flags), PACKED_EVENT_DISABLE);
	driver_add(d, &piece, 1, 1, 0);
	assert_false(driver_should_kick(d));
	assert_true(ring_kick_enable(d->ring, true)); /* one came meanwhile */
	assert_int_equal(le16(d->device_event->flags), PACKED_EVENT_ENABLE);
	driver_free(d);
}

static void device_event_asks_for_the_next_chain_only(void **state)
{
	struct test_options opt = { .packed = true, .size = 8, .event_idx = true, .base = 0x80078007 };
	struct test_driver *d = driver_new(opt);
	struct test_piece piece = { ADDR, 4, true };
	struct vireo_chain chains[8];

	for (int round = 0; round < 3; round++) {
		assert_int_equal(driver_pop(d, chains, 8), 0); /* arms */
		assert_int_equal(le16(d->device_event->flags), PACKED_EVENT_DESC);
		driver_add(d, &piece, 1, 1, 0);
		assert_true(driver_should_kick(d));
		driver_add(d, &piece, 1, 1, 0);
		assert_false(driver_should_kick(d));
		assert_int_equal(driver_pop(d, chains, 8), 2);
	}
	driver_free(d);
}

/* ---- lies ---- */

static void a_descriptor_available_again_before_it_was_used_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(2);
	struct vireo_chain chains[4];

	for (unsigned i = 0; i < 2; i++)
		packed_set(d, ADDR, 4, 0, i);
	assert_int_equal(driver_pop(d, chains, 4), 2);
	packed_set(d, ADDR, 4, 0, 0); /* the next lap's flags */
	expect_broken(d, "descriptor made available again before it was used");
}

static void a_chain_into_descriptors_in_flight_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(3);
	struct vireo_chain chains[4];

	packed_set(d, ADDR, 4, 0, 0);
	assert_int_equal(driver_pop(d, chains, 4), 1);
	for (unsigned i = 0; i < 3; i++)
		packed_set(d, ADDR, 4, i < 2 ? DESC_F_NEXT : 0, 1);
	expect_broken(d, "chain longer than the queue has room for");
}

static void a_chain_longer_than_the_queue_breaks_the_ring(void **state)
{
	for (uint32_t size = 1; size < 4; size++) {
		struct test_driver *d = open_ring(size);

		for (unsigned i = 0; i < size; i++)
			packed_set(d, ADDR, 4, DESC_F_NEXT, 0);
		expect_broken(d, "chain longer than the queue has room for");
	}
}

static void a_chain_into_what_is_not_available_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(4);

	packed_set(d, ADDR, 4, DESC_F_NEXT, 0);
	expect_broken(d, "chain goes on in a descriptor that is not available");
	d = driver_new((struct test_options){ .packed = true, .size = 4, .base = 0x80038003 });
	packed_set(d, ADDR, 4, DESC_F_NEXT, 0);
	d->wrap = true; /* the next lap's first descriptor keeps the old lap's flags */
	packed_set(d, ADDR, 4, 0, 0);
	expect_broken(d, "chain goes on in a descriptor that is not available");
}

static void a_buffer_id_beyond_the_queue_breaks_the_ring(void **state)
{
	struct test_driver *d = open_ring(5);

	packed_set(d, ADDR, 4, 0, 5);
	expect_broken(d, "buffer id beyond the queue's size");
}

static void readable_after_writable_breaks_the_ring(void **state)
{
	struct test_piece pieces[] = { { ADDR, 4, true }, { ADDR, 4, false } };
	struct test_driver *d = open_ring(4);

	driver_add(d, pieces, 2, 2, 0);
	expect_broken(d, "readable descriptor after a writable one");
	d = open_indirect(4);
	driver_add(d, pieces, 2, 0, TABLE);
	expect_broken(d, "readable descriptor after a writable one");
}

/* One descriptor that names a table, and what the device says to it. */
static void expect_table_refused(bool indirect, uint64_t table, uint32_t len, unsigned flags, const char *why)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = 4, .indirect = indirect });

	packed_set(d, table, len, flags, 0);
	packed_set(d, ADDR, 4, 0, 0);
	expect_broken(d, why);
}

static void bad_tables_break_the_ring(void **state)
{
	expect_table_refused(false, TABLE, 16, DESC_F_INDIRECT,
			     "indirect descriptor without VIRTIO_F_INDIRECT_DESC");
	expect_table_refused(true, TABLE, 16, DESC_F_INDIRECT | DESC_F_NEXT,
			     "descriptor with both INDIRECT and NEXT");
	expect_table_refused(true, TABLE, 0, DESC_F_INDIRECT, "indirect table of zero length");
	expect_table_refused(true, TABLE, 15, DESC_F_INDIRECT,
			     "indirect table's length is no multiple of 16");
	expect_table_refused(true, TABLE, 80, DESC_F_INDIRECT, "indirect table longer than the queue");
	expect_table_refused(true, GUEST_END, 16, DESC_F_INDIRECT, "indirect table outside guest memory" RING_SHARE_HINT);
	expect_table_refused(true, UINT64_MAX - 7, 16, DESC_F_INDIRECT,
			     "indirect table wraps around the address space");
}

static void a_table_in_a_list_breaks_the_ring(void **state)
{
	struct test_driver *d = open_indirect(4);

	packed_set(d, ADDR, 4, DESC_F_NEXT, 0);
	packed_set(d, TABLE, 16, DESC_F_INDIRECT, 0);
	expect_broken(d, "indirect descriptor in a list of direct ones");
}

/* ---- our own bugs ---- */

/* Does `bug` end the process by an assertion? In a child that says nothing. */
static void expect_assertion(void (*bug)(struct test_driver *d, struct vireo_chain *chains), bool in_order)
{
	struct test_options opt = { .packed = true, .size = 4, .in_order = in_order };
	struct test_driver *d = driver_new(opt);
	struct test_piece piece = { ADDR, 4, true };
	struct vireo_chain chains[2];
	int status;
	pid_t pid;

	driver_add(d, &piece, 1, 1, 0);
	driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 2), 2);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		bug(d, chains);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	driver_free(d);
}

static void push_three_of_two(struct test_driver *d, struct vireo_chain *chains)
{
	test_push(d->ring, &chains[0], 0);
	test_push(d->ring, &chains[1], 0);
	test_push(d->ring, &chains[1], 0);
}

static void push_more_than_fits(struct test_driver *d, struct vireo_chain *chains)
{
	test_push(d->ring, &chains[0], 5);
}

static void push_the_second_first(struct test_driver *d, struct vireo_chain *chains)
{
	test_push(d->ring, &chains[1], 0);
}

static void tell_the_base_too_early(struct test_driver *d, struct vireo_chain *chains)
{
	ring_base(d->ring);
}

static void misuse_is_asserted(void **state)
{
	expect_assertion(push_three_of_two, false);
	expect_assertion(push_more_than_fits, false);
	expect_assertion(push_the_second_first, true);
	expect_assertion(tell_the_base_too_early, false);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TESTS_OF_BOTH,
		cmocka_unit_test(any_size_up_to_32768_is_fine),
		cmocka_unit_test(misaligned_areas_are_refused),
		cmocka_unit_test(positions_of_the_base_lie_in_the_ring),
		cmocka_unit_test(a_base_without_a_used_half_means_the_same_place),
		cmocka_unit_test(a_chain_shows_its_pieces_and_the_id_of_its_last_descriptor),
		cmocka_unit_test(a_chain_may_go_over_the_end_of_the_ring),
		cmocka_unit_test(a_chain_as_long_as_the_queue_is_fine),
		cmocka_unit_test(indirect_tables_may_be_unaligned_and_cross_a_seam),
		cmocka_unit_test(only_the_write_flag_counts_in_a_table),
		cmocka_unit_test(used_entries_are_written_in_the_order_of_completion),
		cmocka_unit_test(in_order_one_entry_stands_for_a_read_only_burst),
		cmocka_unit_test(unpopped_chains_are_read_anew_also_over_the_end),
		cmocka_unit_test(wrap_counters_turn_with_any_size),
		cmocka_unit_test(what_is_available_is_counted_from_any_place),
		cmocka_unit_test(driver_event_flags_suppress_signals),
		cmocka_unit_test(driver_event_place_decides_also_over_the_wrap),
		cmocka_unit_test(a_driver_event_that_lies_gets_a_signal),
		cmocka_unit_test(device_event_follows_what_the_device_asks),
		cmocka_unit_test(device_event_asks_for_the_next_chain_only),
		cmocka_unit_test(a_descriptor_available_again_before_it_was_used_breaks_the_ring),
		cmocka_unit_test(a_chain_into_descriptors_in_flight_breaks_the_ring),
		cmocka_unit_test(a_chain_longer_than_the_queue_breaks_the_ring),
		cmocka_unit_test(a_chain_into_what_is_not_available_breaks_the_ring),
		cmocka_unit_test(a_buffer_id_beyond_the_queue_breaks_the_ring),
		cmocka_unit_test(readable_after_writable_breaks_the_ring),
		cmocka_unit_test(bad_tables_break_the_ring),
		cmocka_unit_test(a_table_in_a_list_breaks_the_ring),
		cmocka_unit_test(misuse_is_asserted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
