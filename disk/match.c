/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/match.h"

/* In the order of MATCH_KEY_ROWS, behind the layer's own. */
enum { KEY_LAYER, KEY_OP, KEY_PPM, KEY_NTH, KEY_FIRST, KEY_LAST };

static int problem(const struct match *match, const struct disk_key *keys, char *why)
{
	if (match->op == DISK_FLUSH && match->sectors)
		snprintf(why, DISK_WHY_BYTES, "%s=flush: a flush has no sectors: leave out %s and %s", keys[KEY_OP].name,
			 keys[KEY_FIRST].name, keys[KEY_LAST].name);
	else if (match->first_sector > match->last_sector)
		snprintf(why, DISK_WHY_BYTES, "%s lies behind %s: exchange them", keys[KEY_FIRST].name, keys[KEY_LAST].name);
	else
		return 0;
	return -EINVAL;
}

/* The layer is not asked for: then nothing of it may be. */
static int nothing_said(const struct disk_spec *spec, const struct disk_key *keys, unsigned key_count, char *why)
{
	for (unsigned i = KEY_OP; i < key_count; i++) {
		if (!disk_spec_text(spec, keys[i].name, NULL))
			continue;
		snprintf(why, DISK_WHY_BYTES, "%s: there is no %s that it could be of: give that, too", keys[i].name,
			 keys[KEY_LAYER].name);
		return -EINVAL;
	}
	return 0;
}

int match_init(struct match *match, const struct disk_spec *spec, const struct disk_key *keys, unsigned key_count, char *why)
{
	if (!disk_spec_text(spec, keys[KEY_LAYER].name, NULL))
		return nothing_said(spec, keys, key_count, why);
	*match = (struct match){
		.op = disk_spec_number(spec, keys[KEY_OP].name, DISK_OPS),
		.ppm = disk_spec_number(spec, keys[KEY_PPM].name, MATCH_PPM_ALL),
		.nth = disk_spec_number(spec, keys[KEY_NTH].name, 1),
		.first_sector = disk_spec_number(spec, keys[KEY_FIRST].name, 0),
		.last_sector = disk_spec_number(spec, keys[KEY_LAST].name, UINT64_MAX),
		.sectors = disk_spec_text(spec, keys[KEY_FIRST].name, NULL) || disk_spec_text(spec, keys[KEY_LAST].name, NULL),
	};
	return problem(match, keys, why);
}

static bool lies_in(const struct match *match, const struct disk_request *r)
{
	return r->op != DISK_FLUSH && r->bytes && r->offset / DISK_SECTOR_BYTES <= match->last_sector &&
	       (r->offset + r->bytes - 1) / DISK_SECTOR_BYTES >= match->first_sector;
}

/* Looks like chance, and is the same each time that a disk is opened: a test that has failed fails again. */
static bool toss(struct match *match)
{
	uint64_t n = __atomic_add_fetch(&match->tossed, 1, __ATOMIC_RELAXED) * UINT64_C(0x9E3779B97F4A7C15);

	n = (n ^ n >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	return (n ^ n >> 32) % MATCH_PPM_ALL < match->ppm;
}

bool match_is(struct match *match, const struct disk *disk, const struct disk_request *r)
{
	if (match->op != DISK_OPS && match->op != r->op)
		return false;
	if (disk_request_problem(disk, r) || (match->sectors && !lies_in(match, r)))
		return false;
	if (match->nth > 1 && __atomic_add_fetch(&match->seen, 1, __ATOMIC_RELAXED) % match->nth)
		return false;
	return match->ppm == MATCH_PPM_ALL || toss(match);
}
