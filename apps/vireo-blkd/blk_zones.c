/* SPDX-License-Identifier: BSD-3-Clause */
#include "blk_zones.h"
#include "base/util.h"
#include "disk/disk.h"

#define APPEND_BYTES_MAX (UINT64_C(1) << 20) /* what a worker moves in a turn */

struct vireo_blk_zoned blk_zoned(const struct disk_info *info)
{
	return (struct vireo_blk_zoned){
		.zone_bytes = info->zones.zone_bytes,
		.open_max = info->zones.open_max,
		.active_max = info->zones.active_max,
		.append_bytes_max = min_u64(APPEND_BYTES_MAX, info->zones.zone_bytes),
		.write_bytes = info->zones.write_bytes ? info->zones.write_bytes : info->logical_block_bytes,
	};
}

int blk_zone_act(uint32_t type)
{
	switch (type) {
	case VIREO_BLK_ZONE_OPEN:
		return DISK_ZONE_OPEN;
	case VIREO_BLK_ZONE_CLOSE:
		return DISK_ZONE_CLOSE;
	case VIREO_BLK_ZONE_FINISH:
		return DISK_ZONE_FINISH;
	case VIREO_BLK_ZONE_RESET:
		return DISK_ZONE_RESET;
	case VIREO_BLK_ZONE_RESET_ALL:
		return DISK_ZONE_RESET_ALL;
	default:
		return -1;
	}
}

static uint8_t state_of(enum disk_zone_state state)
{
	static const uint8_t states[] = {
		[DISK_ZONE_CONVENTIONAL] = VIREO_BLK_ZS_NOT_WP,
		[DISK_ZONE_EMPTY] = VIREO_BLK_ZS_EMPTY,
		[DISK_ZONE_OPENED_BY_WRITE] = VIREO_BLK_ZS_IOPEN,
		[DISK_ZONE_OPENED] = VIREO_BLK_ZS_EOPEN,
		[DISK_ZONE_CLOSED] = VIREO_BLK_ZS_CLOSED,
		[DISK_ZONE_FULL] = VIREO_BLK_ZS_FULL,
		[DISK_ZONE_READ_ONLY] = VIREO_BLK_ZS_RDONLY,
		[DISK_ZONE_OFFLINE] = VIREO_BLK_ZS_OFFLINE,
	};

	return states[state];
}

void blk_zones_report(const struct disk *disk, struct vireo_blk_request *request)
{
	struct disk_zone zone;
	bool room = true;

	for (uint64_t at = request->offset_bytes; room && !disk_zone_get(disk, at, &zone); at = zone.start_bytes + zone.length_bytes)
		room = vireo_blk_zone_report(request, &(struct vireo_blk_zone){
			.start_bytes = zone.start_bytes,
			.capacity_bytes = zone.capacity_bytes,
			.pointer_bytes = zone.pointer_bytes,
			.type = zone.state == DISK_ZONE_CONVENTIONAL ? VIREO_BLK_ZT_CONV : VIREO_BLK_ZT_SWR,
			.state = state_of(zone.state),
		});
	vireo_blk_complete(request, 0);
}
