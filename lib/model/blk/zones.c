/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_internal.h"
#include <endian.h>
#include <errno.h>

/*
 * Requests of a disk that is written by zones (virtio 1.3, 5.2.6; Linux knows them from 6.3 on). What a zone allows is the application's
 * to say: it has the write pointers. Here requests get their form, and answers: ZONE_APPEND has eight writable bytes more, before its
 * status, for where the data went; a report is a header and a descriptor for each zone, as many as there is room for.
 */

#define REPORT_BYTES_MAX (1u << 20) /* of all zones that may be told at once */
#define FILL_BYTES_MAX	 (64u << 10)

uint8_t blk_status_of(const struct vireo_blk *blk, int result)
{
	if (result == -EOPNOTSUPP)
		return BLK_S_UNSUPP;
	if (!blk_has(blk, VIREO_BLK_F_ZONED_BIT))
		return BLK_S_IOERR;
	switch (result) {
	case -EBADRQC:
		return BLK_S_ZONE_INVALID_CMD;
	case -EILSEQ:
		return BLK_S_ZONE_UNALIGNED_WP;
	case -ETOOMANYREFS:
		return BLK_S_ZONE_OPEN_RESOURCE;
	case -EOVERFLOW:
		return BLK_S_ZONE_ACTIVE_RESOURCE;
	default:
		return BLK_S_IOERR;
	}
}

/* ---- taking them ---- */

static bool append_take(struct blk_slot *slot, uint64_t sector)
{
	const struct vireo_chain *chain = &slot->at.chain;
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;
	uint64_t bytes = chain->readable_bytes - sizeof(struct virtio_blk_header);

	if (!blk->zoned.append_bytes_max)
		return blk_refuse(slot, BLK_S_UNSUPP);
	if (chain->writable_bytes < sizeof(uint64_t) + 1 || !bytes || bytes > blk->zoned.append_bytes_max)
		return blk_refuse(slot, BLK_S_ZONE_INVALID_CMD);
	if (bytes % blk->zoned.write_bytes || bytes & blk->align_mask)
		return blk_refuse(slot, BLK_S_ZONE_UNALIGNED_WP);
	if (!blk_on_disk(blk, sector, bytes / BLK_SECTOR_BYTES))
		return blk_refuse(slot, BLK_S_ZONE_INVALID_CMD);
	slot->request.flags = __atomic_load_n(&blk->write_flags, __ATOMIC_RELAXED);
	slot->request.offset_bytes = sector * BLK_SECTOR_BYTES;
	slot->request.bytes = bytes;
	blk_request_iov(slot, chain->iov, chain->readable_count);
	return true;
}

static void bare(struct blk_slot *slot, uint64_t sector)
{
	slot->request.flags = 0;
	slot->request.offset_bytes = sector * BLK_SECTOR_BYTES;
	slot->request.bytes = 0;
	slot->request.iov = NULL;
	slot->request.iov_count = 0;
}

/* Descriptors are written one by one while the application has it; what is left of the room is zero. */
static bool report_take(struct blk_slot *slot, uint64_t sector)
{
	const struct vireo_chain *chain = &slot->at.chain;

	if (chain->writable_bytes - 1 < sizeof(struct virtio_blk_zone_report))
		return blk_refuse(slot, BLK_S_ZONE_INVALID_CMD);
	blk_data_clear(slot);
	bare(slot, sector);
	slot->report = vireo_chain_writable(chain);
	vireo_cursor_skip(&slot->report, sizeof(struct virtio_blk_zone_report));
	slot->reported = 0;
	return true;
}

bool blk_zone_take(struct blk_slot *slot, uint32_t type, uint64_t sector)
{
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;
	uint32_t room_max = type == VIREO_BLK_ZONE_REPORT ? REPORT_BYTES_MAX : FILL_BYTES_MAX;

	if (slot->at.chain.writable_bytes - 1 > room_max)
		return blk_refuse(slot, BLK_S_ZONE_INVALID_CMD);
	if (type != VIREO_BLK_ZONE_REPORT && blk->read_only)
		return blk_refuse(slot, BLK_S_IOERR);
	if (type == VIREO_BLK_ZONE_RESET_ALL)
		sector = 0; /* is not used */
	if (!blk_on_disk(blk, sector, 1))
		return blk_refuse(slot, BLK_S_ZONE_INVALID_CMD);
	if (type == VIREO_BLK_ZONE_APPEND)
		return append_take(slot, sector);
	if (type == VIREO_BLK_ZONE_REPORT)
		return report_take(slot, sector);
	bare(slot, sector);
	return true;
}

/* ---- answering them ---- */

bool vireo_blk_zone_report(struct vireo_blk_request *request, const struct vireo_blk_zone *zone)
{
	struct blk_slot *slot = blk_slot_of(request);
	const struct virtio_blk_zone descriptor = {
		.z_cap = htole64(zone->capacity_bytes / BLK_SECTOR_BYTES),
		.z_start = htole64(zone->start_bytes / BLK_SECTOR_BYTES),
		.z_wp = htole64(zone->pointer_bytes / BLK_SECTOR_BYTES),
		.z_type = zone->type,
		.z_state = zone->state,
	};

	if (!vireo_cursor_put(&slot->report, &descriptor, sizeof(descriptor)))
		return false;
	slot->reported++;
	return true;
}

static void report_end(struct blk_slot *slot)
{
	const struct virtio_blk_zone_report report = { .nr_zones = htole64(slot->reported) };
	struct vireo_cursor c = vireo_chain_writable(&slot->at.chain);

	vireo_cursor_put(&c, &report, sizeof(report));
	blk_answer(slot, BLK_S_OK, false);
}

/* The eight bytes are the last before the status. */
static void append_end(struct blk_slot *slot)
{
	uint64_t sector = htole64(slot->request.offset_bytes / BLK_SECTOR_BYTES);
	struct vireo_cursor c = vireo_chain_writable(&slot->at.chain);

	blk_data_clear(slot);
	vireo_cursor_skip(&c, c.left_bytes - sizeof(sector));
	vireo_cursor_put(&c, &sector, sizeof(sector));
	blk_answer(slot, BLK_S_OK, false);
}

void blk_zone_answer(struct blk_slot *slot)
{
	struct vireo_blk_queue_stats *stats = &blk_queue_of(slot)->stats;

	if (slot->request.type == VIREO_BLK_ZONE_APPEND) {
		counter_add(&stats->writes, 1);
		counter_add(&stats->written_bytes, slot->request.bytes);
		append_end(slot);
		return;
	}
	counter_add(&stats->zone_commands, 1);
	if (slot->request.type == VIREO_BLK_ZONE_REPORT)
		report_end(slot);
	else
		blk_answer(slot, BLK_S_OK, true);
}
