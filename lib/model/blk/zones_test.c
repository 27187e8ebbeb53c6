/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk that is written by zones: forms of its requests, what is refused, and what becomes of an application's answers. */

#include "model/blk/blk_test_guest.h"
#include "device/device.h"
#include <errno.h>
#include <string.h>

#define ALL (V1 | F(FLUSH) | F(ZONED))
#define ZONE_BYTES (64u << 10)
#define APPEND_MAX 8192u

static const struct vireo_blk_zoned zones = { .zone_bytes = ZONE_BYTES, .open_max = 3, .active_max = 5,
					      .append_bytes_max = APPEND_MAX, .write_bytes = 512 };

static struct vireo_blk_config zoned_disk(const struct vireo_blk_zoned *zoned)
{
	struct vireo_blk_config disk = guest_disk();

	disk.zoned = zoned;
	return disk;
}

static void start(struct guest *g, uint64_t features)
{
	const struct vireo_blk_config disk = zoned_disk(&zones);

	guest_start(g, &(struct guest_config){ .features = features, .blk = &disk });
}

/* ---- what is offered ---- */

static void zones_are_told_and_what_goes_around_them_is_not_offered(void **state)
{
	const struct vireo_blk_config config = zoned_disk(&zones);
	struct virtio_blk_config_space space;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = ALL, .blk = &config });
	assert_true(device_features_offered(g.at.device) & F(ZONED));
	assert_false(device_features_offered(g.at.device) & (F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE)));
	assert_int_equal(device_config_read(g.at.device, 0, &space, sizeof(space)), 0);
	assert_int_equal(space.zoned.zone_sectors, 128);
	assert_int_equal(space.zoned.max_open_zones, 3);
	assert_int_equal(space.zoned.max_active_zones, 5);
	assert_int_equal(space.zoned.max_append_sectors, 16);
	assert_int_equal(space.zoned.write_granularity, 512);
	assert_int_equal(space.zoned.model, BLK_Z_HM);
	guest_stop(&g);
	guest_start_features(&g, V1); /* a disk without zones */
	assert_false(device_features_offered(g.at.device) & F(ZONED));
	guest_stop(&g);
}

/* 5.2.5.2: FEATURES_OK has to fail for a host-managed device. */
static void a_driver_that_does_not_know_zones_is_refused(void **state)
{
	struct guest g;

	start(&g, ALL);
	guest_quiesce(&g);
	assert_int_equal(device_features_set(g.at.device, V1 | F(FLUSH)), -EINVAL);
	assert_int_equal(device_features_set(g.at.device, 0), -EINVAL);
	assert_int_equal(device_features_set(g.at.device, F(ZONED)), -EINVAL); /* a legacy driver cannot have it */
	assert_int_equal(device_features_set(g.at.device, ALL), 0);
	guest_stop(&g);
}

static void zones_that_cannot_be_are_refused(void **state)
{
	static const struct vireo_blk_zoned bad[] = {
		{ .zone_bytes = 0, .write_bytes = 512 },
		{ .zone_bytes = 1000, .write_bytes = 512 },
		{ .zone_bytes = UINT64_C(1) << 42, .write_bytes = 512 },
		{ .zone_bytes = ZONE_BYTES, .write_bytes = 0 },
		{ .zone_bytes = ZONE_BYTES, .write_bytes = 256 },
		{ .zone_bytes = ZONE_BYTES, .write_bytes = 4096, .append_bytes_max = 512 },
		{ .zone_bytes = ZONE_BYTES, .write_bytes = 512, .append_bytes_max = 127u << 20 }, /* seg_max * size_max is 126 MiB */
	};
	const struct vireo_blk_ops ops = { .size = sizeof(ops) };
	struct vireo_blk *blk;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vireo_blk_config config = zoned_disk(&bad[i]);

		config.ops = &ops;
		assert_int_equal(vireo_blk_new(&config, &blk), -EINVAL);
	}
}

static void without_the_feature_each_type_is_unknown(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	for (uint32_t type = VIREO_BLK_ZONE_APPEND; type <= VIREO_BLK_ZONE_RESET_ALL + 1; type++)
		assert_int_equal(guest_do(&g, type, 0, NULL, 0), BLK_S_UNSUPP);
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);
	start(&g, ALL);
	assert_int_equal(guest_do(&g, 17, 0, NULL, 0), BLK_S_UNSUPP);
	assert_int_equal(guest_do(&g, 27, 0, NULL, 0), BLK_S_UNSUPP);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, &(struct virtio_blk_range){ 0, 8, 0 }, 1), BLK_S_UNSUPP);
	guest_stop(&g);
}

/* ---- appends ---- */

struct appended {
	uint8_t *out, *in; /* header and data; where they went, and the status */
	size_t in_bytes;
};

static struct appended append_ask(struct guest *g, uint64_t sector, size_t bytes, size_t in_bytes)
{
	const struct virtio_blk_header header = { .type = VIREO_BLK_ZONE_APPEND, .sector = sector };
	struct appended a = { guest_alloc(g, sizeof(header) + bytes), guest_alloc(g, in_bytes), in_bytes };
	struct iovec iov[4] = { { a.out, 7 }, { a.out + 7, sizeof(header) + bytes - 7 }, { a.in, in_bytes / 2 },
				{ a.in + in_bytes / 2, in_bytes - in_bytes / 2 } };

	memcpy(a.out, &header, sizeof(header));
	memset(a.out + sizeof(header), 0x42, bytes);
	memset(a.in, NO_STATUS, in_bytes);
	if (in_bytes == 1)
		iov[2] = iov[3];
	guest_add(g, 0, iov, 2, in_bytes == 1 ? 1 : 2, NULL);
	return a;
}

static int append_do(struct guest *g, uint64_t sector, size_t bytes, size_t in_bytes)
{
	struct appended a = append_ask(g, sector, bytes, in_bytes);

	assert_int_equal(guest_poll(g, 0), 1);
	assert_int_equal(guest_used(g, 0, NULL), in_bytes);
	return a.in[in_bytes - 1];
}

static void an_append_says_where_it_went(void **state)
{
	const size_t rooms[] = { 9, 10, 40 };
	struct guest g;

	start(&g, ALL);
	g.holds = true;
	for (unsigned i = 0; i < ARRAY_SIZE(rooms); i++) {
		struct appended a = append_ask(&g, 128, 1024, rooms[i]);
		uint64_t sector;

		assert_int_equal(guest_poll(&g, 0), 1);
		assert_int_equal(g.held_count, 1);
		assert_int_equal(g.held[0]->type, VIREO_BLK_ZONE_APPEND);
		assert_int_equal(g.held[0]->offset_bytes, 128 * 512);
		assert_int_equal(g.held[0]->bytes, 1024);
		assert_int_equal(*(uint8_t *)g.held[0]->iov[0].iov_base, 0x42);
		g.held[0]->offset_bytes = 140 * 512;
		g.held_count = 0;
		vireo_blk_complete(g.held[0], 0);
		vireo_blk_flush(g.blk, 0);
		assert_int_equal(guest_used(&g, 0, NULL), rooms[i]);
		assert_int_equal(a.in[a.in_bytes - 1], BLK_S_OK);
		memcpy(&sector, a.in + a.in_bytes - 9, sizeof(sector));
		assert_int_equal(sector, 140);
		for (unsigned k = 0; k + 9 < a.in_bytes; k++)
			assert_int_equal(a.in[k], 0);
	}
	assert_int_equal(guest_stats(&g).writes, 3);
	assert_int_equal(guest_stats(&g).written_bytes, 3072);
	guest_stop(&g);
}

static void an_append_is_stable_where_the_driver_cannot_flush(void **state)
{
	struct guest g;

	start(&g, V1 | F(ZONED));
	assert_int_equal(append_do(&g, 0, 512, 9), BLK_S_OK);
	assert_int_equal(g.seen[0].flags, VIREO_BLK_FUA);
	guest_stop(&g);
}

static void an_append_that_lies_is_refused(void **state)
{
	struct vireo_blk_zoned none = zones;
	struct vireo_blk_config disk;
	struct guest g;

	start(&g, ALL);
	assert_int_equal(append_do(&g, 0, 512, 1), BLK_S_ZONE_INVALID_CMD); /* there is no room for where */
	assert_int_equal(append_do(&g, 0, 512, 8), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(append_do(&g, 0, 0, 9), BLK_S_ZONE_INVALID_CMD); /* of nothing */
	assert_int_equal(append_do(&g, 0, APPEND_MAX + 512, 9), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(append_do(&g, 0, 700, 9), BLK_S_ZONE_UNALIGNED_WP);
	assert_int_equal(append_do(&g, DISK_SECTORS - 1, 1024, 9), BLK_S_ZONE_INVALID_CMD); /* beyond the end */
	assert_int_equal(append_do(&g, DISK_SECTORS, 512, 9), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(append_do(&g, UINT64_MAX, 512, 9), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(append_do(&g, 0, 512, (64 << 10) + 2), BLK_S_ZONE_INVALID_CMD); /* more room than anybody needs */
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(append_do(&g, 0, APPEND_MAX, 9), BLK_S_OK);
	guest_stop(&g);
	none.append_bytes_max = 0;
	disk = zoned_disk(&none);
	guest_start(&g, &(struct guest_config){ .features = ALL, .blk = &disk });
	assert_int_equal(append_do(&g, 0, 512, 9), BLK_S_UNSUPP);
	guest_stop(&g);
}

/* ---- commands ---- */

static const uint32_t commands[] = { VIREO_BLK_ZONE_OPEN, VIREO_BLK_ZONE_CLOSE, VIREO_BLK_ZONE_FINISH, VIREO_BLK_ZONE_RESET };

static void a_command_names_a_zone(void **state)
{
	struct guest g;

	start(&g, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		g.seen_count = 0;
		assert_int_equal(guest_do(&g, commands[i], 128, NULL, 0), BLK_S_OK);
		assert_int_equal(g.seen_count, 1);
		assert_int_equal(g.seen[0].type, commands[i]);
		assert_int_equal(g.seen[0].offset_bytes, 128 * 512);
		assert_int_equal(g.seen[0].bytes, 0);
		assert_int_equal(guest_do(&g, commands[i], DISK_SECTORS, NULL, 0), BLK_S_ZONE_INVALID_CMD);
		assert_int_equal(guest_do(&g, commands[i], UINT64_MAX, NULL, 0), BLK_S_ZONE_INVALID_CMD);
		assert_int_equal(g.seen_count, 1);
	}
	assert_int_equal(guest_do(&g, VIREO_BLK_ZONE_RESET_ALL, UINT64_MAX, NULL, 0), BLK_S_OK); /* its sector is not used */
	assert_int_equal(g.seen[1].offset_bytes, 0);
	assert_int_equal(guest_stats(&g).zone_commands, 5);
	guest_stop(&g);
}

static void nothing_changes_a_read_only_disk(void **state)
{
	struct vireo_blk_config disk = zoned_disk(&zones);
	uint8_t report[64];
	struct guest g;

	disk.read_only = true;
	guest_start(&g, &(struct guest_config){ .features = ALL | F(RO), .blk = &disk });
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		assert_int_equal(guest_do(&g, commands[i], 0, NULL, 0), BLK_S_IOERR);
	assert_int_equal(guest_do(&g, VIREO_BLK_ZONE_RESET_ALL, 0, NULL, 0), BLK_S_IOERR);
	assert_int_equal(append_do(&g, 0, 512, 9), BLK_S_IOERR);
	assert_int_equal(g.seen_count, 0);
	assert_int_equal(guest_read(&g, VIREO_BLK_ZONE_REPORT, 0, report, sizeof(report)), BLK_S_OK);
	guest_stop(&g);
}

static void the_applications_errors_have_a_status_each(void **state)
{
	static const struct {
		int result;
		uint8_t status;
	} rows[] = {
		{ -EBADRQC, BLK_S_ZONE_INVALID_CMD },	  { -EILSEQ, BLK_S_ZONE_UNALIGNED_WP },
		{ -ETOOMANYREFS, BLK_S_ZONE_OPEN_RESOURCE }, { -EOVERFLOW, BLK_S_ZONE_ACTIVE_RESOURCE },
		{ -EIO, BLK_S_IOERR },			  { -EOPNOTSUPP, BLK_S_UNSUPP },
	};
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t data[512] = { 0 };

		start(&g, ALL);
		g.result = rows[i].result;
		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, sizeof(data)), rows[i].status);
		assert_int_equal(guest_do(&g, VIREO_BLK_ZONE_OPEN, 0, NULL, 0), rows[i].status);
		assert_int_equal(append_do(&g, 0, 512, 9), rows[i].status);
		guest_stop(&g);
		guest_start_features(&g, V1); /* a disk without zones knows none of these */
		g.result = rows[i].result;
		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, sizeof(data)),
				 rows[i].result == -EOPNOTSUPP ? BLK_S_UNSUPP : BLK_S_IOERR);
		guest_stop(&g);
	}
}

/* ---- reports ---- */

#define HEADER sizeof(struct virtio_blk_zone_report)
#define DESCRIPTOR sizeof(struct virtio_blk_zone)

static void a_report_has_as_many_zones_as_there_is_room_for(void **state)
{
	const size_t rooms[] = { HEADER, HEADER + DESCRIPTOR - 1, HEADER + DESCRIPTOR, HEADER + 2 * DESCRIPTOR + 5 };
	const unsigned fit[] = { 0, 0, 1, 2 };
	struct guest g;

	start(&g, ALL);
	g.holds = true;
	for (unsigned i = 0; i < ARRAY_SIZE(rooms); i++) {
		struct asked a = guest_ask_read(&g, 0, VIREO_BLK_ZONE_REPORT, 130, rooms[i]);
		struct vireo_blk_zone zone = { .start_bytes = ZONE_BYTES, .capacity_bytes = 49152, .pointer_bytes = ZONE_BYTES + 512,
					       .type = VIREO_BLK_ZT_SWR, .state = VIREO_BLK_ZS_IOPEN };
		struct virtio_blk_zone got[2];
		uint64_t told = 0;

		assert_int_equal(guest_poll(&g, 0), 1);
		assert_int_equal(g.held[0]->offset_bytes, 130 * 512);
		while (vireo_blk_zone_report(g.held[0], &zone)) {
			zone.start_bytes += ZONE_BYTES;
			told++;
		}
		assert_int_equal(told, fit[i]);
		g.held_count = 0;
		vireo_blk_complete(g.held[0], 0);
		vireo_blk_flush(g.blk, 0);
		assert_int_equal(guest_used(&g, 0, NULL), rooms[i] + 1);
		assert_int_equal(*a.status, BLK_S_OK);
		assert_int_equal(((struct virtio_blk_zone_report *)(void *)a.data)->nr_zones, told);
		memcpy(got, a.data + HEADER, told * DESCRIPTOR);
		for (unsigned k = 0; k < told; k++) {
			assert_int_equal(got[k].z_start, 128 * (k + 1));
			assert_int_equal(got[k].z_cap, 96);
			assert_int_equal(got[k].z_wp, 129);
			assert_int_equal(got[k].z_type, VIREO_BLK_ZT_SWR);
			assert_int_equal(got[k].z_state, VIREO_BLK_ZS_IOPEN);
		}
		for (size_t k = HEADER + told * DESCRIPTOR; k < rooms[i]; k++)
			assert_int_equal(a.data[k], 0);
	}
	guest_stop(&g);
}

static void a_report_that_lies_is_refused(void **state)
{
	uint8_t data[HEADER];
	struct asked a;
	struct guest g;

	start(&g, ALL);
	assert_int_equal(guest_read(&g, VIREO_BLK_ZONE_REPORT, 0, data, HEADER - 1), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(guest_read(&g, VIREO_BLK_ZONE_REPORT, 0, NULL, 0), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(guest_read(&g, VIREO_BLK_ZONE_REPORT, DISK_SECTORS, data, HEADER), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(guest_read(&g, VIREO_BLK_ZONE_REPORT, UINT64_MAX, data, HEADER), BLK_S_ZONE_INVALID_CMD);
	a = guest_ask_read(&g, 0, VIREO_BLK_ZONE_REPORT, 0, (1 << 20) + 1);
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(guest_used(&g, 0, NULL), (1 << 20) + 2);
	assert_int_equal(*a.status, BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(g.seen_count, 0);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zones_are_told_and_what_goes_around_them_is_not_offered),
		cmocka_unit_test(a_driver_that_does_not_know_zones_is_refused),
		cmocka_unit_test(zones_that_cannot_be_are_refused),
		cmocka_unit_test(without_the_feature_each_type_is_unknown),
		cmocka_unit_test(an_append_says_where_it_went),
		cmocka_unit_test(an_append_is_stable_where_the_driver_cannot_flush),
		cmocka_unit_test(an_append_that_lies_is_refused),
		cmocka_unit_test(a_command_names_a_zone),
		cmocka_unit_test(nothing_changes_a_read_only_disk),
		cmocka_unit_test(the_applications_errors_have_a_status_each),
		cmocka_unit_test(a_report_has_as_many_zones_as_there_is_room_for),
		cmocka_unit_test(a_report_that_lies_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
