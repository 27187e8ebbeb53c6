/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_BLK_ZONES_H
#define BLKD_BLK_ZONES_H

/* A disk's zones as virtio-blk has them. */

#include "vireo/blk.h"

struct disk;
struct disk_info;

struct vireo_blk_zoned blk_zoned(const struct disk_info *info); /* which has zones */
int blk_zone_act(uint32_t type); /* an enum disk_zone_act; -1: the request is another one */
/* Worker: answers a ZONE_REPORT, and completes it. */
void blk_zones_report(const struct disk *disk, struct vireo_blk_request *request);

#endif
