/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_BLK_SPEC_H
#define BLKD_BLK_SPEC_H

/* An export as the user writes it, with a disk's name and what its driver is to see. */

#include "store/disks.h"
#include "store/export_spec.h"
#include "vireo/blk.h"

#define BLK_SERIAL_BYTES 20u

struct blk_spec {
	struct export_spec export; /* first */
	char disk[SPEC_NAME_BYTES];
	struct store_use use;
	char serial[BLK_SERIAL_BYTES + 1]; /* empty: the disk's name */
	bool lifetime_told;
	struct vireo_blk_lifetime lifetime;
};

extern const struct spec_kinds blk_spec_kinds;

unsigned blk_spec_queues(const struct export_spec *spec);

static inline const struct blk_spec *blk_spec_of(const struct export_spec *spec)
{
	return (const struct blk_spec *)spec;
}

static inline int blk_spec_parse(const char *text, struct blk_spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	return spec_parse(&blk_spec_kinds, text, &ret_spec->export.at, why);
}

#endif
