/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_BLK_EXPORT_H
#define BLKD_BLK_EXPORT_H

/* A disk at an endpoint: a virtio block device, whose queues have queues of their own at the disk. */

#include "blk_spec.h"
#include "store/exports.h"

struct vireo_blk;

struct blk_export {
	struct export export; /* first */
	struct vireo_blk *blk;
	struct store_disk *disk; /* used; NULL: not yet */
};

extern const struct export_kind blk_export_kind;

static inline struct blk_export *blk_export_of(const struct export *export)
{
	return (struct blk_export *)(uintptr_t)export;
}

bool blk_export_read_only(const struct export *export);

/* Disk news: all its exports tell their drivers. */
void blk_exports_disk_resized(struct store *store, const struct store_disk *disk);
/* The disk has limits, and had none when its queues were opened: they are opened anew. */
void blk_exports_disk_layered(struct store *store, const struct store_disk *disk);
/* It is ours by now, or is not: see struct store_kind. */
void blk_exports_disk_held(struct store *store, const struct store_disk *disk, int err);
bool blk_exports_disk_wanted(const struct store *store, const struct store_disk *disk);

#endif
