/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include "device/device.h"
#include <errno.h>
#include <string.h>

static void submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
}

static const struct vireo_blk_ops ops = { .size = sizeof(ops), .submit = submit };

static struct vireo_blk_config plain(void)
{
	return (struct vireo_blk_config){ .size = sizeof(struct vireo_blk_config), .capacity_bytes = DISK_BYTES, .ops = &ops };
}

static uint64_t offered(const struct vireo_blk_config *config, struct virtio_blk_config_space *ret_space)
{
	struct vireo_blk *blk;
	uint64_t features;

	assert_int_equal(vireo_blk_new(config, &blk), 0);
	features = device_features_offered(vireo_blk_device(blk));
	assert_int_equal(device_config_read(vireo_blk_device(blk), 0, ret_space, sizeof(*ret_space)), 0);
	vireo_blk_free(blk);
	return features;
}

static void a_plain_disk_offers_what_needs_nothing(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;
	uint64_t features = offered(&config, &space);

	assert_int_equal(features & 0x1ffff, F(SIZE_MAX) | F(SEG_MAX) | F(BLK_SIZE) | F(FLUSH) | F(TOPOLOGY) | F(CONFIG_WCE) | F(MQ));
	assert_int_equal(features >> VIREO_F_IN_ORDER_BIT & 1, 0);
	assert_int_equal(space.capacity, DISK_SECTORS);
	assert_int_equal(space.blk_size, 512);
	assert_int_equal(space.num_queues, 1);
	assert_int_equal(space.writeback, 1);
	assert_int_equal(space.max_discard_sectors + space.max_write_zeroes_sectors + space.max_secure_erase_sectors, 0);
}

/* Drivers do without a disk, or crawl, where one is. */
static void no_limit_that_is_offered_is_zero(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;

	config.discard = config.zeroes = config.secure_erase = true;
	for (unsigned size = 1; size <= 32768; size *= 2) {
		config.queue_size_max = size;
		offered(&config, &space);
		assert_true(space.size_max >= 4096 && space.size_max % 4096 == 0 && space.seg_max >= 1);
		assert_true(space.seg_max + 2 <= size || size < 3);
		assert_true(space.max_discard_sectors && space.max_discard_seg && space.discard_sector_alignment);
		assert_true(space.max_write_zeroes_sectors && space.max_write_zeroes_seg);
		assert_true(space.max_secure_erase_sectors && space.max_secure_erase_seg && space.secure_erase_sector_alignment);
	}
}

static void topology_is_counted_in_blocks(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;

	config.block_bytes = 1024;
	config.physical_block_bytes = 8192;
	config.align_offset_bytes = 3072;
	config.io_min_bytes = 8192;
	config.io_opt_bytes = 1u << 20;
	offered(&config, &space);
	assert_int_equal(space.blk_size, 1024);
	assert_int_equal(space.physical_block_exp, 3);
	assert_int_equal(space.alignment_offset, 3);
	assert_int_equal(space.min_io_size, 8);
	assert_int_equal(space.opt_io_size, 1024);
}

static void limits_are_counted_in_sectors(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;
	uint64_t features;

	config.discard = config.zeroes = config.zeroes_unmap = config.secure_erase = true;
	config.discard_bytes_max = UINT64_MAX; /* more than there is a number for */
	config.discard_ranges_max = 256;
	config.discard_align_bytes = 65536;
	config.zeroes_bytes_max = 1u << 20;
	config.erase_align_bytes = 4096;
	config.geometry.heads = 16;
	features = offered(&config, &space);
	assert_int_equal(features & (F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE) | F(GEOMETRY)),
			 F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE) | F(GEOMETRY));
	assert_true(space.max_discard_sectors == UINT32_MAX);
	assert_int_equal(space.max_discard_seg, 256);
	assert_int_equal(space.discard_sector_alignment, 128);
	assert_int_equal(space.max_write_zeroes_sectors, 2048);
	assert_int_equal(space.write_zeroes_may_unmap, 1);
	assert_int_equal(space.secure_erase_sector_alignment, 8);
	assert_int_equal(space.heads, 16);
	assert_int_equal(space.unused0 + space.unused1[0] + space.unused1[1] + space.unused1[2], 0);
}

static void a_read_only_disk_offers_nothing_that_writes(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;
	uint64_t features;

	config.discard = config.zeroes = config.secure_erase = config.read_only = true;
	features = offered(&config, &space);
	assert_int_equal(features & (F(RO) | F(DISCARD) | F(WRITE_ZEROES) | F(SECURE_ERASE)), F(RO));
	assert_int_equal(space.max_discard_sectors + space.max_write_zeroes_sectors + space.max_secure_erase_sectors, 0);
}

/* VDUSE refuses it. */
static void a_fixed_cache_has_no_switch(void **state)
{
	struct vireo_blk_config config = plain();
	struct virtio_blk_config_space space;

	config.write_cache_fixed = true;
	assert_int_equal(offered(&config, &space) & (F(FLUSH) | F(CONFIG_WCE)), F(FLUSH));
}

#define refused(field, value)                                    \
	do {                                                     \
		struct vireo_blk_config config = plain();        \
		struct vireo_blk *blk;                           \
		config.field = (value);                          \
		assert_int_equal(vireo_blk_new(&config, &blk), -EINVAL); \
	} while (0)

static void a_config_that_cannot_be_is_refused(void **state)
{
	static const struct vireo_blk_lifetime eol = { .pre_eol_info = 4 }, a = { .used_a = 12 }, b = { .used_b = 12 };
	static const struct vireo_blk_ops none = { .size = sizeof(none) };

	refused(capacity_bytes, 511);
	refused(block_bytes, 256);
	refused(block_bytes, 1000);
	refused(physical_block_bytes, 768);
	refused(align_offset_bytes, 512);
	refused(io_min_bytes, 100);
	refused(io_opt_bytes, 100);
	refused(io_min_bytes, 65536u * 512);
	refused(request_align_bytes, 1);
	refused(discard_bytes_max, 511);
	refused(discard_ranges_max, 257);
	refused(zeroes_ranges_max, 257);
	refused(erase_ranges_max, 257);
	refused(discard_align_bytes, 100);
	refused(queues, 1025);
	refused(queue_size_max, 32769);
	refused(segments_max, 1023);
	refused(segment_bytes_max, 4097);
	refused(request_room_bytes, 4097);
	refused(lifetime, &eol);
	refused(lifetime, &a);
	refused(lifetime, &b);
	refused(ops, NULL);
	refused(ops, &none);
	refused(size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_disk_offers_what_needs_nothing),
		cmocka_unit_test(no_limit_that_is_offered_is_zero),
		cmocka_unit_test(topology_is_counted_in_blocks),
		cmocka_unit_test(limits_are_counted_in_sectors),
		cmocka_unit_test(a_read_only_disk_offers_nothing_that_writes),
		cmocka_unit_test(a_fixed_cache_has_no_switch),
		cmocka_unit_test(a_config_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
