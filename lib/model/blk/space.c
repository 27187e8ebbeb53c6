/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_internal.h"
#include <endian.h>
#include <errno.h>

/*
 * What the driver is told of the disk: features and config space (virtio 1.3, 5.2.3 and 5.2.4). Fields of features that are not offered are
 * zero. Some drivers do without a disk, or crawl, where a limit is zero: none that is offered is.
 */

#define SEGMENT_BYTES (1u << 20)
#define SEGMENT_ALIGN 4096u
#define SEGMENTS 126u
#define SEGMENTS_MAX 1022u
#define QUEUES_MAX 1024u
#define QUEUE_SIZE 1024u
#define DISCARD_BYTES (UINT64_C(1) << 30)
#define ZEROES_BYTES (UINT64_C(64) << 20)
#define DISCARD_RANGES 16u

static bool power_of_blocks(uint32_t bytes)
{
	return bytes >= BLK_SECTOR_BYTES && !(bytes & (bytes - 1));
}

static void or_else(uint32_t *value, uint32_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

static int blocks_check(struct vireo_blk_config *c)
{
	or_else(&c->block_bytes, BLK_SECTOR_BYTES);
	or_else(&c->physical_block_bytes, c->block_bytes);
	or_else(&c->request_align_bytes, BLK_SECTOR_BYTES);
	if (!power_of_blocks(c->block_bytes) || !power_of_blocks(c->physical_block_bytes) || !power_of_blocks(c->request_align_bytes))
		return -EINVAL;
	if (c->capacity_bytes % BLK_SECTOR_BYTES || c->physical_block_bytes < c->block_bytes)
		return -EINVAL;
	if (c->align_offset_bytes % c->block_bytes || c->align_offset_bytes >= c->physical_block_bytes ||
	    c->align_offset_bytes / c->block_bytes > UINT8_MAX)
		return -EINVAL;
	if (c->io_min_bytes % c->block_bytes || c->io_opt_bytes % c->block_bytes || c->io_min_bytes / c->block_bytes > UINT16_MAX)
		return -EINVAL;
	return 0;
}

static int queues_check(struct vireo_blk_config *c)
{
	if (!c->queues)
		c->queues = 1;
	if (!c->queue_size_max)
		c->queue_size_max = QUEUE_SIZE;
	if (!c->segments_max)
		c->segments_max = c->queue_size_max < 3 ? 1 : min_u32(SEGMENTS, c->queue_size_max - 2);
	or_else(&c->segment_bytes_max, SEGMENT_BYTES);
	if (c->queues > QUEUES_MAX || c->segments_max > SEGMENTS_MAX || c->segment_bytes_max % SEGMENT_ALIGN)
		return -EINVAL;
	return c->request_room_bytes > BLK_ROOM_BYTES_MAX ? -EINVAL : 0;
}

static int range_check(uint64_t *bytes_max, uint64_t bytes, uint32_t *count_max, uint32_t count, uint32_t block_bytes)
{
	if (!*bytes_max)
		*bytes_max = bytes;
	or_else(count_max, count);
	*bytes_max = min_u64(*bytes_max, (uint64_t)UINT32_MAX * BLK_SECTOR_BYTES) / block_bytes * block_bytes;
	return *bytes_max && *count_max <= BLK_RANGES_MAX ? 0 : -EINVAL;
}

static int ranges_check(struct vireo_blk_config *c)
{
	uint32_t block = c->block_bytes;

	or_else(&c->discard_align_bytes, block);
	or_else(&c->erase_align_bytes, block);
	if (range_check(&c->discard_bytes_max, DISCARD_BYTES, &c->discard_ranges_max, DISCARD_RANGES, block) ||
	    range_check(&c->zeroes_bytes_max, ZEROES_BYTES, &c->zeroes_ranges_max, 1, block) ||
	    range_check(&c->erase_bytes_max, DISCARD_BYTES, &c->erase_ranges_max, DISCARD_RANGES, block))
		return -EINVAL;
	return c->discard_align_bytes % block || c->erase_align_bytes % block ? -EINVAL : 0;
}

/* 5.2.6: all other values are reserved. */
int blk_lifetime_check(const struct vireo_blk_lifetime *lifetime)
{
	return lifetime->pre_eol_info > 3 || lifetime->used_a > 11 || lifetime->used_b > 11 ? -EINVAL : 0;
}

static int zoned_check(const struct vireo_blk_config *c)
{
	const struct vireo_blk_zoned *z = c->zoned;

	if (!z)
		return 0;
	if (!z->zone_bytes || z->zone_bytes % BLK_SECTOR_BYTES || z->zone_bytes / BLK_SECTOR_BYTES > UINT32_MAX)
		return -EINVAL;
	if (!z->write_bytes || z->write_bytes % BLK_SECTOR_BYTES || z->append_bytes_max % z->write_bytes)
		return -EINVAL;
	if (z->append_bytes_max > (uint64_t)c->segments_max * c->segment_bytes_max)
		return -EINVAL;
	return c->features_off & VIREO_FEATURE(VIREO_BLK_F_ZONED_BIT) ? -EINVAL : 0;
}

int blk_config_check(struct vireo_blk_config *config)
{
	if (!config->ops)
		return -EINVAL;
	if (config->lifetime && blk_lifetime_check(config->lifetime))
		return -EINVAL;
	return blocks_check(config) || queues_check(config) || ranges_check(config) || zoned_check(config) ? -EINVAL : 0;
}

static uint64_t when(bool offered, unsigned bit)
{
	return offered ? VIREO_FEATURE(bit) : 0;
}

/* IN_ORDER is not offered: requests end in any order. */
uint64_t blk_features_offered(const struct vireo_blk_config *c)
{
	bool anywhere = !c->read_only && !c->zoned; /* may be written */
	uint64_t features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) | VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_RING_RESET_BIT);

	features |= VIREO_FEATURE(VIREO_BLK_F_SIZE_MAX_BIT) | VIREO_FEATURE(VIREO_BLK_F_SEG_MAX_BIT) |
		    VIREO_FEATURE(VIREO_BLK_F_BLK_SIZE_BIT) | VIREO_FEATURE(VIREO_BLK_F_TOPOLOGY_BIT) |
		    VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT) | VIREO_FEATURE(VIREO_BLK_F_MQ_BIT);
	features |= when(c->geometry.cylinders || c->geometry.heads || c->geometry.sectors, VIREO_BLK_F_GEOMETRY_BIT);
	features |= when(c->read_only, VIREO_BLK_F_RO_BIT);
	features |= when(!c->write_cache_fixed, VIREO_BLK_F_CONFIG_WCE_BIT);
	features |= when(c->discard && anywhere, VIREO_BLK_F_DISCARD_BIT);
	features |= when(c->zeroes && anywhere, VIREO_BLK_F_WRITE_ZEROES_BIT);
	features |= when(c->secure_erase && anywhere, VIREO_BLK_F_SECURE_ERASE_BIT);
	features |= when(c->zoned, VIREO_BLK_F_ZONED_BIT);
	features |= when(c->lifetime, VIREO_BLK_F_LIFETIME_BIT);
	features &= ~c->features_off;
	if (!(features & VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT))) /* who switches the cache has to be able to flush it (5.2.5.2) */
		features &= ~VIREO_FEATURE(VIREO_BLK_F_CONFIG_WCE_BIT);
	return features;
}

static void space_ranges(struct virtio_blk_config_space *space, const struct vireo_blk_config *c, uint64_t features)
{
	if (features & VIREO_FEATURE(VIREO_BLK_F_DISCARD_BIT)) {
		space->max_discard_sectors = htole32((uint32_t)(c->discard_bytes_max / BLK_SECTOR_BYTES));
		space->max_discard_seg = htole32(c->discard_ranges_max);
		space->discard_sector_alignment = htole32(c->discard_align_bytes / BLK_SECTOR_BYTES);
	}
	if (features & VIREO_FEATURE(VIREO_BLK_F_WRITE_ZEROES_BIT)) {
		space->max_write_zeroes_sectors = htole32((uint32_t)(c->zeroes_bytes_max / BLK_SECTOR_BYTES));
		space->max_write_zeroes_seg = htole32(c->zeroes_ranges_max);
		space->write_zeroes_may_unmap = c->zeroes_unmap;
	}
	if (features & VIREO_FEATURE(VIREO_BLK_F_SECURE_ERASE_BIT)) {
		space->max_secure_erase_sectors = htole32((uint32_t)(c->erase_bytes_max / BLK_SECTOR_BYTES));
		space->max_secure_erase_seg = htole32(c->erase_ranges_max);
		space->secure_erase_sector_alignment = htole32(c->erase_align_bytes / BLK_SECTOR_BYTES);
	}
}

static void space_zoned(struct virtio_blk_config_space *space, const struct vireo_blk_zoned *z)
{
	space->zoned.zone_sectors = htole32((uint32_t)(z->zone_bytes / BLK_SECTOR_BYTES));
	space->zoned.max_open_zones = htole32(z->open_max);
	space->zoned.max_active_zones = htole32(z->active_max);
	space->zoned.max_append_sectors = htole32((uint32_t)(z->append_bytes_max / BLK_SECTOR_BYTES));
	space->zoned.write_granularity = htole32(z->write_bytes);
	space->zoned.model = BLK_Z_HM;
}

struct virtio_blk_config_space blk_space(const struct vireo_blk_config *c)
{
	uint64_t features = blk_features_offered(c);
	struct virtio_blk_config_space space = {
		.capacity = htole64(c->capacity_bytes / BLK_SECTOR_BYTES),
		.size_max = htole32(c->segment_bytes_max),
		.seg_max = htole32(c->segments_max),
		.cylinders = htole16(c->geometry.cylinders),
		.heads = c->geometry.heads,
		.sectors = c->geometry.sectors,
		.blk_size = htole32(c->block_bytes),
		.physical_block_exp = (uint8_t)__builtin_ctz(c->physical_block_bytes / c->block_bytes),
		.alignment_offset = (uint8_t)(c->align_offset_bytes / c->block_bytes),
		.min_io_size = htole16((uint16_t)(c->io_min_bytes / c->block_bytes)),
		.opt_io_size = htole32(c->io_opt_bytes / c->block_bytes),
		.writeback = !!(features & VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT)),
		.num_queues = htole16((uint16_t)c->queues),
	};

	space_ranges(&space, c, features);
	if (c->zoned)
		space_zoned(&space, c->zoned);
	return space;
}
