/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_internal.h"
#include <endian.h>

/*
 * DISCARD, WRITE_ZEROES and SECURE_ERASE name ranges in their data, 16 bytes each. The application gets them one after the other, in the
 * same request. All are looked at before the first is submitted, so that a driver that asks for too much is told so before
 * anything has happened. But they lie in guest memory: each is copied out once more when its turn comes, and that copy is
 * looked at like the first one, and counts.
 */

static const struct blk_range_limit *range_limit(const struct vireo_blk *blk, uint32_t type)
{
	return type == VIREO_BLK_DISCARD ? &blk->discard : type == VIREO_BLK_WRITE_ZEROES ? &blk->zeroes : &blk->erase;
}

/* BLK_S_*, of a private copy. WRITE_ZEROES has a flag, and all others are reserved (5.2.6.2). */
static uint8_t range_check(const struct blk_slot *slot, const struct virtio_blk_range *range)
{
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;
	const struct blk_range_limit *limit = range_limit(blk, slot->request.type);
	uint64_t sector = le64toh(range->sector), count = le32toh(range->num_sectors);
	uint32_t known = slot->request.type == VIREO_BLK_WRITE_ZEROES ? BLK_RANGE_UNMAP : 0;

	if (le32toh(range->flags) & ~known)
		return BLK_S_UNSUPP;
	if (!blk_on_disk(blk, sector, count) || count * BLK_SECTOR_BYTES > limit->bytes_max)
		return BLK_S_IOERR;
	return (sector | count) * BLK_SECTOR_BYTES & blk->align_mask ? BLK_S_IOERR : BLK_S_OK;
}

static void range_lay(struct blk_slot *slot, const struct virtio_blk_range *range)
{
	struct vireo_blk_request *request = &slot->request;

	request->flags = __atomic_load_n(&blk_queue_of(slot)->blk->write_flags, __ATOMIC_RELAXED);
	if (le32toh(range->flags) & BLK_RANGE_UNMAP)
		request->flags |= VIREO_BLK_UNMAP;
	request->offset_bytes = le64toh(range->sector) * BLK_SECTOR_BYTES;
	request->bytes = (uint64_t)le32toh(range->num_sectors) * BLK_SECTOR_BYTES;
	request->iov = NULL;
	request->iov_count = 0;
}

/* One of no sectors is done. */
bool blk_range_next(struct blk_slot *slot)
{
	struct virtio_blk_range range;
	uint8_t status;

	while (vireo_cursor_take(&slot->ranges, &range, sizeof(range))) {
		status = range_check(slot, &range);
		if (status != BLK_S_OK)
			return blk_refuse(slot, status);
		if (!range.num_sectors)
			continue;
		range_lay(slot, &range);
		return true;
	}
	blk_answer(slot, BLK_S_OK, true);
	return false;
}

static uint8_t ranges_check(const struct blk_slot *slot)
{
	struct vireo_cursor c = slot->ranges;
	struct virtio_blk_range range;
	uint8_t status = BLK_S_OK;

	while (status == BLK_S_OK && vireo_cursor_take(&c, &range, sizeof(range)))
		status = range_check(slot, &range);
	return status;
}

bool blk_ranges_take(struct blk_slot *slot, const struct blk_range_limit *limit)
{
	uint64_t bytes = slot->at.chain.readable_bytes - sizeof(struct virtio_blk_header);
	uint8_t status;

	if (!bytes || bytes % sizeof(struct virtio_blk_range) || bytes / sizeof(struct virtio_blk_range) > limit->count_max)
		return blk_refuse(slot, BLK_S_IOERR);
	slot->ranges = vireo_chain_readable(&slot->at.chain); /* without the header */
	status = ranges_check(slot);
	return status == BLK_S_OK ? blk_range_next(slot) : blk_refuse(slot, status);
}
