/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_MATCH_H
#define DISK_MATCH_H

/*
 * Which requests a fault for tests befalls: the keys are the same for each such layer, with its own name before them. All that a SPEC says has to
 * hold for a request; one that does not fit the disk never matches, for the kind refuses it.
 */

#include "disk/layer.h"

#define MATCH_PPM_ALL 1000000u

/* Rows of a layer's keys: "fail-op" and so on. */
#define MATCH_KEY_ROWS(name)                                                            \
	{name "-op", DISK_KEY_CHOICE, "read|write|flush|discard|zero|erase", 0, 0},           \
	{name "-ppm", DISK_KEY_NUMBER, "N", 1, MATCH_PPM_ALL},                          \
	{name "-nth", DISK_KEY_NUMBER, "N", 1, UINT32_MAX},                             \
	{name "-first-sector", DISK_KEY_NUMBER, "N", 0, INT64_MAX / DISK_SECTOR_BYTES},      \
	{name "-last-sector", DISK_KEY_NUMBER, "N", 0, INT64_MAX / DISK_SECTOR_BYTES}

struct match {
	uint64_t op; /* DISK_OPS: any */
	uint64_t ppm, nth;
	uint64_t first_sector, last_sector;
	bool sectors; /* of those alone; a flush has none */
	/* Any queue (atomic). */
	uint64_t seen, tossed;
};

/* What the SPEC says by keys that begin with `name`, which is itself the key of the layer. 0, or -EINVAL and why. */
int match_init(struct match *match, const struct disk_spec *spec, const struct disk_key *keys, unsigned key_count, char *why);

/* Counts as well: once for each request. Any thread. */
bool match_is(struct match *match, const struct disk *disk, const struct disk_request *r);

#endif
