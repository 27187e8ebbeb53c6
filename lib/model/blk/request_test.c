/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"
#include "model/blk/blk_test_guest.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void fill(uint8_t *data, size_t bytes, unsigned first)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(first + i * 7 + i / 251);
}

/* ---- how a request is split ---- */

/* Cuts `bytes` into pieces at random places. */
static unsigned cut(struct iovec *iov, uint8_t *at, size_t bytes, unsigned pieces_max)
{
	unsigned count = 0;

	while (bytes) {
		size_t n = count + 1 < pieces_max ? 1 + (size_t)rand() % bytes : bytes;

		if (rand() % 4 == 0)
			n = min_u64(n, 1 + (uint64_t)rand() % 16);
		iov[count++] = (struct iovec){ at, n };
		at += n;
		bytes -= n;
	}
	return count;
}

struct split { /* a request in one stretch of readable and one of writable bytes */
	uint8_t *readable, *writable;
	size_t readable_bytes, writable_bytes;
};

static struct split split_new(struct guest *g, uint32_t type, uint64_t sector, size_t out_bytes, size_t in_bytes)
{
	const struct virtio_blk_header header = { .type = type, .sector = sector };
	struct split s = { .readable_bytes = sizeof(header) + out_bytes, .writable_bytes = in_bytes + 1 };

	s.readable = guest_alloc(g, s.readable_bytes);
	s.writable = guest_alloc(g, s.writable_bytes);
	memcpy(s.readable, &header, sizeof(header));
	memset(s.writable, NO_STATUS, s.writable_bytes);
	return s;
}

static int split_do(struct guest *g, const struct split *s, unsigned pieces_max)
{
	struct iovec iov[64];
	unsigned readable = cut(iov, s->readable, s->readable_bytes, pieces_max);
	unsigned writable = cut(iov + readable, s->writable, s->writable_bytes, pieces_max);

	guest_add(g, 0, iov, readable, writable, NULL);
	assert_int_equal(guest_poll(g, 0), 1);
	assert_int_equal(guest_used(g, 0, NULL), s->writable_bytes);
	return s->writable[s->writable_bytes - 1];
}

static void a_request_is_split_as_the_driver_likes(void **state)
{
	const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT, V1 | PACKED | INDIRECT };
	struct guest g;

	srand(1);
	for (unsigned ring = 0; ring < ARRAY_SIZE(rings); ring++) {
		guest_start_features(&g, rings[ring] | F(FLUSH));
		for (unsigned i = 0; i < 200; i++) {
			size_t bytes = 512u * (1 + (unsigned)rand() % 8);
			uint64_t sector = (uint64_t)rand() % 64;
			unsigned pieces = 1 + (unsigned)rand() % 30;
			struct split out = split_new(&g, VIREO_BLK_OUT, sector, bytes, 0);
			struct split in = split_new(&g, VIREO_BLK_IN, sector, 0, bytes);

			fill(out.readable + 16, bytes, i);
			assert_int_equal(split_do(&g, &out, pieces), BLK_S_OK);
			assert_int_equal(split_do(&g, &in, pieces), BLK_S_OK);
			assert_memory_equal(in.writable, out.readable + 16, bytes);
			g.seen_count = 0;
		}
		guest_stop(&g);
	}
}

static void a_status_behind_data_in_one_descriptor_is_written_behind_them(void **state)
{
	struct guest g;
	struct split s;

	guest_start_features(&g, V1);
	memset(g.disk, 0x31, 512);
	s = split_new(&g, VIREO_BLK_IN, 0, 0, 512);
	assert_int_equal(split_do(&g, &s, 1), BLK_S_OK);
	assert_int_equal(s.writable[511], 0x31);
	assert_int_equal(g.seen[0].bytes, 512);
	guest_stop(&g);
}

static void many_segments(unsigned queue_size, uint64_t features, unsigned count)
{
	const struct vireo_blk_config disk = guest_disk();
	struct iovec *iov = calloc(count + 2, sizeof(*iov));
	struct split s;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = features, .queue_size = queue_size, .blk = &disk });
	for (unsigned round = 0; round < 5; round++) {
		s = split_new(&g, VIREO_BLK_OUT, 3, (size_t)512 * count, 0);
		fill(s.readable + 16, (size_t)512 * count, round);
		iov[0] = (struct iovec){ s.readable, 16 };
		for (unsigned i = 0; i < count; i++)
			iov[i + 1] = (struct iovec){ s.readable + 16 + (size_t)512 * i, 512 };
		iov[count + 1] = (struct iovec){ s.writable, 1 };
		guest_add(&g, 0, iov, count + 1, 1, NULL);
		assert_int_equal(guest_poll(&g, 0), 1);
		assert_int_equal(guest_used(&g, 0, NULL), 1);
		assert_int_equal(*s.writable, BLK_S_OK);
		assert_int_equal(g.seen[round].iov_count, count);
		assert_memory_equal(g.disk + 3 * 512, s.readable + 16, (size_t)512 * count);
	}
	guest_stop(&g);
	free(iov);
}

static void a_request_has_as_many_segments_as_the_ring_holds(void **state)
{
	many_segments(128, V1, 126);
	many_segments(128, V1 | PACKED, 126);
	many_segments(1024, V1, 1000);
	many_segments(1024, V1 | PACKED, 1000);
}

#define LONG_CHAINS 100u

/* More chains of eight pieces than there are long lists. Returns how many were taken; the application holds them. */
static unsigned long_chains_offer(struct guest *g, struct split s[LONG_CHAINS])
{
	struct vireo_blk_config disk = guest_disk();
	unsigned taken;

	disk.segments_max = 1022; /* long lists, and so few */
	guest_start(g, &(struct guest_config){ .features = V1 | INDIRECT, .queue_size = 256, .blk = &disk });
	g->holds = true;
	for (unsigned i = 0; i < LONG_CHAINS; i++) {
		struct iovec iov[10];

		s[i] = split_new(g, VIREO_BLK_OUT, i, 4096, 0);
		for (unsigned j = 0; j < 8; j++)
			iov[j + 1] = (struct iovec){ s[i].readable + 16 + (size_t)512 * j, 512 };
		iov[0] = (struct iovec){ s[i].readable, 16 };
		iov[9] = (struct iovec){ s[i].writable, 1 };
		guest_add(g, 0, iov, 9, 1, &s[i]);
	}
	taken = (unsigned)guest_poll(g, 0);
	assert_in_range(taken, 1, LONG_CHAINS - 1);
	assert_int_equal(g->held_count, taken);
	return taken;
}

static void chains_that_no_list_is_left_for_wait_in_the_ring(void **state)
{
	struct split s[LONG_CHAINS];
	struct guest g;

	long_chains_offer(&g, s);
	assert_false(vireo_blk_kick_enable(g.blk, 0, true)); /* a kick would not help */
	for (unsigned done = 0; done < ARRAY_SIZE(s); done++) {
		held_do(&g, 0);
		vireo_blk_flush(g.blk, 0);
		assert_int_equal(guest_used(&g, 0, NULL), 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		assert_int_equal(*s[i].writable, BLK_S_OK);
	guest_stop(&g);
}

/* Or a guest that always has something to say would keep it for ever. */
static void a_queue_that_is_asked_back_takes_no_more(void **state)
{
	struct split s[LONG_CHAINS];
	struct guest g;
	unsigned taken = long_chains_offer(&g, s);

	g.stop_waits = true;
	guest_quiesce(&g);
	assert_false(g.at.quiet);
	assert_int_equal(guest_poll(&g, 0), 0);
	for (unsigned left = taken; left > 0; left--) {
		assert_int_equal(g.held_count, left);
		held_do(&g, 0);
		vireo_blk_flush(g.blk, 0);
	}
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 0);
	vireo_blk_queue_quiesced(g.blk, 0);
	assert_true(g.at.quiet);
	g.holds = g.stop_waits = false;
	device_resume(g.at.device); /* what was left in the ring is served then */
	guest_poll(&g, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		assert_int_equal(*s[i].writable, BLK_S_OK);
	guest_stop(&g);
}

static void a_header_that_is_too_short_is_an_error(void **state)
{
	struct iovec iov[2];
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned bytes = 1; bytes < 16; bytes++) {
		iov[0] = (struct iovec){ guest_alloc(&g, bytes), bytes };
		iov[1] = (struct iovec){ guest_alloc(&g, 1), 1 };
		*(uint8_t *)iov[1].iov_base = NO_STATUS;
		guest_add(&g, 0, iov, 1, 1, NULL);
		assert_int_equal(guest_poll(&g, 0), 1);
		assert_int_equal(guest_used(&g, 0, NULL), 1);
		assert_int_equal(*(uint8_t *)iov[1].iov_base, BLK_S_IOERR);
	}
	iov[1] = (struct iovec){ guest_alloc(&g, 1), 1 };
	guest_add(&g, 0, &iov[1], 0, 1, NULL); /* no header at all */
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 1);
	assert_int_equal(*(uint8_t *)iov[1].iov_base, BLK_S_IOERR);
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(guest_stats(&g).refused, 16);
	guest_stop(&g);
}

static void a_chain_without_room_for_a_status_is_given_back(void **state)
{
	uint8_t data[512] = { 1 };
	struct iovec iov;
	struct guest g;
	struct split s;

	guest_start_features(&g, V1 | PACKED);
	s = split_new(&g, VIREO_BLK_OUT, 0, 512, 0);
	memset(s.readable + 16, 0x77, 512);
	iov = (struct iovec){ s.readable, s.readable_bytes };
	guest_add(&g, 0, &iov, 1, 0, NULL);
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 0);
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(guest_stats(&g).no_status, 1);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, sizeof(data)), BLK_S_OK); /* and it goes on */
	assert_false(g.at.broken);
	guest_stop(&g);
}

/* ---- what may be asked ---- */

static void a_request_beyond_the_end_is_an_error(void **state)
{
	const struct {
		uint64_t sector;
		unsigned sectors;
	} lies[] = {
		{ DISK_SECTORS, 1 }, { DISK_SECTORS - 1, 2 }, { UINT64_MAX, 1 }, { UINT64_MAX - 7, 8 }, { UINT64_MAX / 512, 8 },
		{ UINT64_MAX / 512 + 1, 1 }, { UINT64_C(1) << 55, 1 }, { UINT64_C(1) << 63, 1 }, { (UINT64_C(1) << 32) + 1, 1 },
	};
	uint8_t data[4096] = { 9 };
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		size_t bytes = (size_t)512 * lies[i].sectors;

		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, lies[i].sector, data, bytes), BLK_S_IOERR);
		assert_int_equal(guest_read(&g, VIREO_BLK_IN, lies[i].sector, data, bytes), BLK_S_IOERR);
		assert_int_equal(data[0], 0); /* all before the status counts as written */
	}
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, DISK_SECTORS - 1, data, 512), BLK_S_OK);
	guest_stop(&g);
}

static void data_that_are_no_whole_sectors_are_an_error(void **state)
{
	static const size_t lies[] = { 1, 511, 513, 4095 };
	uint8_t data[4096] = { 0 };
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, lies[i]), BLK_S_IOERR);
		assert_int_equal(guest_read(&g, VIREO_BLK_IN, 0, data, lies[i]), BLK_S_IOERR);
	}
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);
}

static void no_data_at_all_are_read_and_written_at_once(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, NULL, 0), BLK_S_OK);
	assert_int_equal(guest_do(&g, VIREO_BLK_IN, DISK_SECTORS, NULL, 0), BLK_S_OK);
	assert_int_equal(guest_do(&g, VIREO_BLK_IN, DISK_SECTORS + 1, NULL, 0), BLK_S_IOERR);
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);
}

static void what_the_application_cannot_do_unaligned_is_an_error(void **state)
{
	struct vireo_blk_config disk = guest_disk();
	uint8_t data[8192] = { 0 };
	struct guest g;

	disk.request_align_bytes = disk.block_bytes = 4096;
	guest_start(&g, &(struct guest_config){ .features = V1, .blk = &disk });
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 1, data, 4096), BLK_S_IOERR);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 8, data, 512), BLK_S_IOERR);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 8, data, 8192), BLK_S_OK);
	assert_int_equal(g.seen_count, 1);
	guest_stop(&g);
}

static void a_read_only_disk_is_not_written(void **state)
{
	struct vireo_blk_config disk = guest_disk();
	const struct virtio_blk_range range = { .sector = 0, .num_sectors = 1 };
	uint8_t data[512];
	struct guest g;

	disk.read_only = true;
	guest_start(&g, &(struct guest_config){ .features = V1 | F(RO), .blk = &disk });
	memset(g.disk, 0x44, 512);
	memset(data, 0x55, sizeof(data));
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, 512), BLK_S_IOERR);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, NULL, 0), BLK_S_IOERR);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_WRITE_ZEROES, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_SECURE_ERASE, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(g.disk[0], 0x44);
	assert_int_equal(guest_read(&g, VIREO_BLK_IN, 0, data, 512), BLK_S_OK);
	assert_int_equal(data[0], 0x44);
	guest_stop(&g);
}

static void an_unknown_type_is_unsupported(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 12, 15, 16, 17, 18, 20, 22, 24, 26, 27, 0x80000000, 0x80000001, UINT32_MAX };
	uint8_t data[512];
	struct guest g;

	guest_start_features(&g, V1 | F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE) | F(LIFETIME));
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(guest_do(&g, types[i], 0, NULL, 0), BLK_S_UNSUPP);
		assert_int_equal(guest_read(&g, types[i], 0, data, 512), BLK_S_UNSUPP);
		assert_int_equal(data[0] + data[511], 0);
	}
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(guest_stats(&g).unsupported, 2 * ARRAY_SIZE(types));
	guest_stop(&g);
}

static void what_was_not_negotiated_is_unsupported(void **state)
{
	const struct virtio_blk_range range = { .sector = 0, .num_sectors = 1 };
	uint8_t lifetime[6];
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_WRITE_ZEROES, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_SECURE_ERASE, &range, 1), BLK_S_UNSUPP);
	assert_int_equal(guest_read(&g, BLK_T_GET_LIFETIME, 0, lifetime, 6), BLK_S_UNSUPP);
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);
}

static void a_flush_is_carried_out_whatever_comes_with_it(void **state)
{
	uint8_t data[512] = { 1 };
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH));
	assert_int_equal(guest_do(&g, VIREO_BLK_FLUSH, 0, NULL, 0), BLK_S_OK);
	assert_int_equal(guest_do(&g, VIREO_BLK_FLUSH, UINT64_MAX, NULL, 0), BLK_S_OK);
	assert_int_equal(guest_do(&g, VIREO_BLK_FLUSH, 5, data, sizeof(data)), BLK_S_OK);
	assert_int_equal(g.seen_count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(g.seen[i].type + g.seen[i].offset_bytes + g.seen[i].bytes, VIREO_BLK_FLUSH);
	guest_stop(&g);
}

static void the_lifetime_is_told(void **state)
{
	const struct vireo_blk_lifetime reserved = { .pre_eol_info = 4 }, later = { .used_b = 1 };
	uint16_t words[3];
	struct guest g;

	guest_start_features(&g, V1 | F(LIFETIME));
	assert_int_equal(guest_read(&g, BLK_T_GET_LIFETIME, 0, words, 6), BLK_S_OK);
	assert_int_equal(words[0] | words[1] << 4 | words[2] << 8, 0xb32);
	assert_int_equal(guest_read(&g, BLK_T_GET_LIFETIME, 0, words, 5), BLK_S_IOERR);
	assert_int_equal(vireo_blk_lifetime_set(g.blk, &reserved), -EINVAL);
	assert_int_equal(vireo_blk_lifetime_set(g.blk, &later), 0);
	assert_int_equal(guest_read(&g, BLK_T_GET_LIFETIME, 0, words, 6), BLK_S_OK);
	assert_int_equal(words[0] | words[1] << 4 | words[2] << 8, 0x100);
	guest_stop(&g);
}

/* ---- how it ends ---- */

static void a_failed_read_leaves_zeroes(void **state)
{
	uint8_t data[1024];
	struct guest g;

	guest_start_features(&g, V1);
	g.result = -EIO;
	assert_int_equal(guest_read(&g, VIREO_BLK_IN, 0, data, sizeof(data)), BLK_S_IOERR);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0);
	g.result = -EOPNOTSUPP;
	assert_int_equal(guest_read(&g, VIREO_BLK_IN, 0, data, sizeof(data)), BLK_S_UNSUPP);
	g.result = -ENOSPC;
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, sizeof(data)), BLK_S_IOERR);
	assert_int_equal(guest_stats(&g).errors, 3);
	guest_stop(&g);
}

/* A worker has other guests: what is longer keeps what lies there, and the status says enough. */
static void a_long_read_that_failed_is_not_filled(void **state)
{
	const size_t bytes = 512u << 10;
	struct asked asked;
	struct guest g;

	guest_start_features(&g, V1);
	g.result = -EIO;
	asked = guest_ask_read(&g, 0, VIREO_BLK_IN, 0, bytes);
	memset(asked.data, 0xaa, bytes);
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(guest_used(&g, 0, NULL), bytes + 1);
	assert_int_equal(*asked.status, BLK_S_IOERR);
	for (size_t i = 0; i < bytes; i += 511)
		assert_int_equal(asked.data[i], 0xaa);
	guest_stop(&g);
}

static void room_behind_a_write_counts_and_is_zero(void **state)
{
	struct guest g;
	struct split s;

	guest_start_features(&g, V1);
	s = split_new(&g, VIREO_BLK_OUT, 0, 512, 100);
	assert_int_equal(split_do(&g, &s, 2), BLK_S_OK);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(s.writable[i], 0);
	assert_int_equal(g.seen[0].bytes, 512);
	guest_stop(&g);
}

static void what_is_readable_beside_the_header_of_a_read_is_left_alone(void **state)
{
	struct guest g;
	struct split s;

	guest_start_features(&g, V1);
	memset(g.disk, 0x66, 512);
	s = split_new(&g, VIREO_BLK_IN, 0, 77, 512);
	assert_int_equal(split_do(&g, &s, 3), BLK_S_OK);
	assert_int_equal(s.writable[0], 0x66);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_split_as_the_driver_likes),
		cmocka_unit_test(a_status_behind_data_in_one_descriptor_is_written_behind_them),
		cmocka_unit_test(a_request_has_as_many_segments_as_the_ring_holds),
		cmocka_unit_test(chains_that_no_list_is_left_for_wait_in_the_ring),
		cmocka_unit_test(a_queue_that_is_asked_back_takes_no_more),
		cmocka_unit_test(a_header_that_is_too_short_is_an_error),
		cmocka_unit_test(a_chain_without_room_for_a_status_is_given_back),
		cmocka_unit_test(a_request_beyond_the_end_is_an_error),
		cmocka_unit_test(data_that_are_no_whole_sectors_are_an_error),
		cmocka_unit_test(no_data_at_all_are_read_and_written_at_once),
		cmocka_unit_test(what_the_application_cannot_do_unaligned_is_an_error),
		cmocka_unit_test(a_read_only_disk_is_not_written),
		cmocka_unit_test(an_unknown_type_is_unsupported),
		cmocka_unit_test(what_was_not_negotiated_is_unsupported),
		cmocka_unit_test(a_flush_is_carried_out_whatever_comes_with_it),
		cmocka_unit_test(the_lifetime_is_told),
		cmocka_unit_test(a_failed_read_leaves_zeroes),
		cmocka_unit_test(a_long_read_that_failed_is_not_filled),
		cmocka_unit_test(room_behind_a_write_counts_and_is_zero),
		cmocka_unit_test(what_is_readable_beside_the_header_of_a_read_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
