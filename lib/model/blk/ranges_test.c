/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include <errno.h>
#include <string.h>

#define ALL (V1 | F(FLUSH) | F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE))

static const uint32_t types[] = { VIREO_BLK_DISCARD, VIREO_BLK_WRITE_ZEROES, VIREO_BLK_SECURE_ERASE };

static void ranges_are_submitted_one_after_the_other(void **state)
{
	const struct virtio_blk_range ranges[] = { { 0, 8, 0 }, { 100, 1, 0 }, { 5, 0, 0 }, { DISK_SECTORS - 2, 2, 0 } };
	struct guest g;

	guest_start_features(&g, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		g.seen_count = 0;
		assert_int_equal(guest_ranges(&g, types[i], ranges, ARRAY_SIZE(ranges)), BLK_S_OK);
		assert_int_equal(g.seen_count, 3); /* one has no sectors */
		assert_int_equal(g.seen[1].type, types[i]);
		assert_int_equal(g.seen[1].offset_bytes, 100 * 512);
		assert_int_equal(g.seen[1].bytes, 512);
		assert_int_equal(g.seen[2].offset_bytes, DISK_BYTES - 1024);
	}
	assert_int_equal(guest_stats(&g).discards, 3);
	assert_int_equal(guest_stats(&g).zeroes, 3);
	assert_int_equal(guest_stats(&g).erases, 3);
	guest_stop(&g);
}

static void a_range_waits_for_the_one_before(void **state)
{
	const struct virtio_blk_range ranges[] = { { 0, 8, 0 }, { 100, 1, 0 } };
	struct asked a;
	struct guest g;

	guest_start_features(&g, ALL);
	g.holds = true;
	a = guest_ask(&g, 0, VIREO_BLK_DISCARD, 0, ranges, sizeof(ranges));
	guest_poll(&g, 0);
	assert_int_equal(g.held_count, 1);
	held_do(&g, 0);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 1); /* it goes on */
	assert_int_equal(g.held_count, 0);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(g.held_count, 1);
	assert_int_equal(*a.status, NO_STATUS);
	held_do(&g, 0);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(*a.status, BLK_S_OK);
	assert_int_equal(guest_used(&g, 0, NULL), 1);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 0);
	guest_stop(&g);
}

static void zeroes_that_were_written_are_read(void **state)
{
	const struct virtio_blk_range ranges[] = { { 1, 1, BLK_RANGE_UNMAP }, { 3, 1, 0 } };
	uint8_t data[4 * 512];
	struct guest g;

	guest_start_features(&g, ALL);
	memset(g.disk, 0x99, sizeof(data));
	assert_int_equal(guest_ranges(&g, VIREO_BLK_WRITE_ZEROES, ranges, 2), BLK_S_OK);
	assert_int_equal(g.seen[0].flags, VIREO_BLK_UNMAP);
	assert_int_equal(g.seen[1].flags, 0);
	assert_int_equal(guest_read(&g, VIREO_BLK_IN, 0, data, sizeof(data)), BLK_S_OK);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], i / 512 % 2 ? 0 : 0x99);
	guest_stop(&g);
}

static void an_unknown_flag_is_unsupported(void **state)
{
	struct guest g;

	guest_start_features(&g, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		for (unsigned bit = 0; bit < 32; bit++) {
			const struct virtio_blk_range ranges[] = { { 0, 1, 0 }, { 0, 1, 1u << bit } };
			bool known = types[i] == VIREO_BLK_WRITE_ZEROES && !bit;

			assert_int_equal(guest_ranges(&g, types[i], ranges + 1, 1), known ? BLK_S_OK : BLK_S_UNSUPP);
			assert_int_equal(guest_ranges(&g, types[i], ranges, 2), known ? BLK_S_OK : BLK_S_UNSUPP);
		}
	assert_int_equal(g.seen_count, 3); /* nothing of what had one that was unknown */
	guest_stop(&g);
}

/* 0x800001 sectors are 512 bytes more than 32 bits hold. */
static void a_range_is_as_long_as_it_says(void **state)
{
	const struct virtio_blk_range long_range = { .sector = 0, .num_sectors = 0x800001 };
	struct vireo_blk_config disk = guest_disk();
	struct guest g;

	guest_start_features(&g, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(guest_ranges(&g, types[i], &long_range, 1), BLK_S_IOERR);
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);

	disk.capacity_bytes = UINT64_C(1) << 40;
	disk.zeroes_bytes_max = UINT64_C(1) << 40;
	guest_start(&g, &(struct guest_config){ .features = ALL, .blk = &disk });
	g.holds = true;
	guest_ask(&g, 0, VIREO_BLK_WRITE_ZEROES, 0, &long_range, sizeof(long_range));
	guest_poll(&g, 0);
	assert_int_equal(g.held_count, 1);
	assert_true(g.held[0]->bytes == UINT64_C(0x100000200));
	vireo_blk_complete(g.held[0], 0);
	guest_stop(&g);
}

static void a_range_beyond_the_end_is_an_error(void **state)
{
	const struct virtio_blk_range lies[] = {
		{ DISK_SECTORS, 1, 0 }, { DISK_SECTORS - 1, 2, 0 }, { UINT64_MAX, 1, 0 }, { UINT64_MAX, UINT32_MAX, 0 },
		{ 0, UINT32_MAX, 0 }, { UINT64_C(1) << 55, 1, 0 }, { DISK_SECTORS + 1, 0, 0 },
	};
	struct guest g;

	guest_start_features(&g, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(lies); j++) {
			const struct virtio_blk_range both[] = { { 0, 1, 0 }, lies[j] };

			assert_int_equal(guest_ranges(&g, types[i], both, 2), BLK_S_IOERR);
		}
	assert_int_equal(g.seen_count, 0); /* all are looked at before the first is submitted */
	guest_stop(&g);
}

static void more_than_was_told_is_an_error(void **state)
{
	struct virtio_blk_range ranges[17] = { 0 };
	struct vireo_blk_config disk = guest_disk();
	struct guest g;

	disk.discard_bytes_max = disk.zeroes_bytes_max = disk.erase_bytes_max = 4096;
	guest_start(&g, &(struct guest_config){ .features = ALL, .blk = &disk });
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		ranges[0].num_sectors = 8;
		assert_int_equal(guest_ranges(&g, types[i], ranges, 16), BLK_S_OK);
		assert_int_equal(guest_ranges(&g, types[i], ranges, 17), BLK_S_IOERR);
		ranges[0].num_sectors = 9;
		assert_int_equal(guest_ranges(&g, types[i], ranges, 1), BLK_S_IOERR);
		assert_int_equal(guest_do(&g, types[i], 0, ranges, 15), BLK_S_IOERR); /* no whole range */
		assert_int_equal(guest_do(&g, types[i], 0, ranges, 17), BLK_S_IOERR);
		assert_int_equal(guest_do(&g, types[i], 0, NULL, 0), BLK_S_IOERR);
	}
	assert_int_equal(g.seen_count, 3);
	guest_stop(&g);
}

static void a_range_is_split_as_the_driver_likes(void **state)
{
	const struct virtio_blk_range ranges[] = { { 3, 1, 0 }, { 5, 1, 0 } };
	const struct virtio_blk_header header = { .type = VIREO_BLK_DISCARD };
	struct iovec iov[50];
	uint8_t *bytes, *status;
	struct guest g;

	guest_start_features(&g, ALL | INDIRECT);
	bytes = guest_alloc(&g, 48);
	status = guest_alloc(&g, 1);
	memcpy(bytes, &header, 16);
	memcpy(bytes + 16, ranges, 32);
	for (unsigned i = 0; i < 48; i++)
		iov[i] = (struct iovec){ bytes + i, 1 };
	iov[48] = (struct iovec){ status, 1 };
	*status = NO_STATUS;
	guest_add(&g, 0, iov, 48, 1, NULL);
	guest_poll(&g, 0);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(*status, BLK_S_OK);
	assert_int_equal(g.seen_count, 2);
	assert_int_equal(g.seen[1].offset_bytes, 5 * 512);
	guest_stop(&g);
}

/* The second range is another one when its turn comes. */
static void a_range_that_changes_is_looked_at_again(void **state)
{
	const struct virtio_blk_range ranges[] = { { 0, 1, 0 }, { 1, 1, 0 } };
	const struct virtio_blk_range lies[] = { { DISK_SECTORS, 1, 0 }, { 0, 1, 2 }, { 0, UINT32_MAX, 0 } };
	struct guest g;

	guest_start_features(&g, ALL);
	g.holds = true;
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct asked a = guest_ask(&g, 0, VIREO_BLK_WRITE_ZEROES, 0, ranges, sizeof(ranges));

		guest_poll(&g, 0);
		memcpy(a.data + sizeof(ranges[0]), &lies[i], sizeof(lies[i]));
		held_do_all(&g);
		vireo_blk_flush(g.blk, 0);
		assert_int_equal(g.held_count, 0);
		assert_int_equal(*a.status, lies[i].flags ? BLK_S_UNSUPP : BLK_S_IOERR);
		assert_int_equal(guest_used(&g, 0, NULL), 1);
	}
	guest_stop(&g);
}

static void a_range_that_fails_ends_the_request(void **state)
{
	const struct virtio_blk_range ranges[] = { { 0, 1, 0 }, { 1, 1, 0 } };
	struct guest g;

	guest_start_features(&g, ALL);
	g.result = -EIO;
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, ranges, 2), BLK_S_IOERR);
	assert_int_equal(g.seen_count, 1);
	g.result = -EOPNOTSUPP;
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, ranges, 2), BLK_S_UNSUPP);
	guest_stop(&g);
}

#define RANGES 16u

static struct asked ranges_ask(struct guest *g)
{
	struct virtio_blk_range ranges[RANGES];

	for (unsigned i = 0; i < RANGES; i++)
		ranges[i] = (struct virtio_blk_range){ i, 1, 0 };
	return guest_ask(g, 0, VIREO_BLK_WRITE_ZEROES, 0, ranges, sizeof(ranges));
}

/* Where the application is done with each before it returns, nobody else would be served for as long. */
static void one_range_is_submitted_a_turn(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, ALL);
	a = ranges_ask(&g);
	assert_int_equal(guest_poll(&g, 0), 1);
	for (unsigned turn = 2; turn < RANGES; turn++) {
		assert_int_equal(g.seen_count, turn);
		assert_int_equal(*a.status, NO_STATUS);
		assert_true(vireo_blk_kick_enable(g.blk, 0, true)); /* nobody would wake it */
		assert_false(vireo_blk_kick_enable(g.blk, 0, false));
		vireo_blk_flush(g.blk, 0);
	}
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(g.seen_count, RANGES);
	assert_int_equal(*a.status, BLK_S_OK);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 0);
	assert_false(vireo_blk_kick_enable(g.blk, 0, true));
	guest_stop(&g);
}

static void a_queue_that_is_given_back_has_done_all_ranges(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, ALL);
	a = ranges_ask(&g);
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(*a.status, NO_STATUS);
	guest_quiesce(&g);
	assert_true(g.at.quiet);
	assert_int_equal(g.seen_count, RANGES);
	assert_int_equal(*a.status, BLK_S_OK);
	guest_stop(&g);
}

static void more_requests_than_a_batch_go_on_with_their_ranges(void **state)
{
	const struct virtio_blk_range ranges[] = { { 0, 1, 0 }, { 1, 1, 0 }, { 2, 1, 0 } };
	struct vireo_blk_config disk = guest_disk();
	struct asked a[100];
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = ALL, .queue_size = 1024, .blk = &disk });
	g.holds = true;
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = guest_ask(&g, 0, VIREO_BLK_DISCARD, 0, ranges, sizeof(ranges));
	assert_int_equal(guest_poll(&g, 0), ARRAY_SIZE(a));
	for (unsigned round = 0; round < ARRAY_SIZE(ranges); round++) {
		assert_int_equal(g.held_count, ARRAY_SIZE(a));
		held_do_all(&g);
		vireo_blk_flush(g.blk, 0);
		vireo_blk_flush(g.blk, 0);
	}
	assert_int_equal(g.held_count, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++) {
		assert_int_equal(*a[i].status, BLK_S_OK);
		assert_int_equal(guest_used(&g, 0, NULL), 1);
	}
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_submitted_one_after_the_other),
		cmocka_unit_test(a_range_waits_for_the_one_before),
		cmocka_unit_test(zeroes_that_were_written_are_read),
		cmocka_unit_test(an_unknown_flag_is_unsupported),
		cmocka_unit_test(a_range_is_as_long_as_it_says),
		cmocka_unit_test(a_range_beyond_the_end_is_an_error),
		cmocka_unit_test(more_than_was_told_is_an_error),
		cmocka_unit_test(a_range_is_split_as_the_driver_likes),
		cmocka_unit_test(a_range_that_changes_is_looked_at_again),
		cmocka_unit_test(a_range_that_fails_ends_the_request),
		cmocka_unit_test(one_range_is_submitted_a_turn),
		cmocka_unit_test(a_queue_that_is_given_back_has_done_all_ranges),
		cmocka_unit_test(more_requests_than_a_batch_go_on_with_their_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
