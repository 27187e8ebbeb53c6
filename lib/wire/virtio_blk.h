/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VIRTIO_BLK_H
#define WIRE_VIRTIO_BLK_H

/* The block device's structures (virtio 1.3, 5.2). All fields are little-endian. */

#include <stdint.h>

#define BLK_SECTOR_BYTES 512u
#define BLK_ID_BYTES 20u

struct virtio_blk_config_space { /* 5.2.4 */
	uint64_t capacity; /* in sectors */
	uint32_t size_max;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset; /* in blocks, as the next two */
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	uint32_t max_secure_erase_sectors;
	uint32_t max_secure_erase_seg;
	uint32_t secure_erase_sector_alignment;
	struct virtio_blk_zoned_space {
		uint32_t zone_sectors;
		uint32_t max_open_zones;
		uint32_t max_active_zones;
		uint32_t max_append_sectors;
		uint32_t write_granularity; /* in bytes */
		uint8_t model;
		uint8_t unused2[3];
	} zoned;
};

#define BLK_Z_HM 1u /* a model: host-managed */

struct virtio_blk_header { /* 5.2.6: the first readable bytes of a request */
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct virtio_blk_range { /* virtio_blk_discard_write_zeroes */
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

#define BLK_RANGE_UNMAP 1u

struct virtio_blk_lifetime {
	uint16_t pre_eol_info;
	uint16_t device_lifetime_est_typ_a;
	uint16_t device_lifetime_est_typ_b;
};

struct virtio_blk_zone_report { /* before the zones */
	uint64_t nr_zones;
	uint8_t reserved[56];
};

struct virtio_blk_zone { /* virtio_blk_zone_descriptor */
	uint64_t z_cap;
	uint64_t z_start;
	uint64_t z_wp;
	uint8_t z_type;
	uint8_t z_state;
	uint8_t reserved[38];
};

/* Types that no application sees, beside enum vireo_blk_type. */
#define BLK_T_FLUSH_OUT	   5u /* legacy */
#define BLK_T_GET_ID	   8u
#define BLK_T_GET_LIFETIME 10u

#define BLK_S_OK     0u
#define BLK_S_IOERR  1u
#define BLK_S_UNSUPP 2u
#define BLK_S_ZONE_INVALID_CMD	   3u
#define BLK_S_ZONE_UNALIGNED_WP	   4u
#define BLK_S_ZONE_OPEN_RESOURCE   5u
#define BLK_S_ZONE_ACTIVE_RESOURCE 6u

_Static_assert(sizeof(struct virtio_blk_config_space) == 96 && sizeof(struct virtio_blk_header) == 16 &&
		       sizeof(struct virtio_blk_range) == 16 && sizeof(struct virtio_blk_lifetime) == 6 &&
		       sizeof(struct virtio_blk_zone_report) == 64 && sizeof(struct virtio_blk_zone) == 64,
	       "as in the specification");

#endif
