/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_ZONES_H
#define DISK_ZONES_H

/*
 * The zones of a disk that is written by zones: their states, their write pointers, and how many may be open and active. It knows
 * nothing of data. Who keeps the data asks here before each request; see struct disk_zone for what the states mean.
 *
 * Any thread. There is a lock within, for a few dozen instructions: open zones are counted over the whole disk.
 */

#include "disk/disk.h"
#include "disk/spec.h"

#define ZONES_MAX 65536u

/* Keys of a kind whose disks may have zones. */
#define ZONES_KEY_SIZE	       "zone-size"
#define ZONES_KEY_CAPACITY     "zone-capacity"
#define ZONES_KEY_CONVENTIONAL "zone-conventional"
#define ZONES_KEY_OPEN	       "zone-max-open"
#define ZONES_KEY_ACTIVE       "zone-max-active"
/* clang-format off */
#define ZONES_KEYS \
	{ZONES_KEY_SIZE, DISK_KEY_SIZE, "SIZE", 65536, UINT64_C(1) << 40}, \
	{ZONES_KEY_CAPACITY, DISK_KEY_SIZE, "SIZE", 4096, UINT64_C(1) << 40}, \
	{ZONES_KEY_CONVENTIONAL, DISK_KEY_NUMBER, "0-65535", 0, 65535}, \
	{ZONES_KEY_OPEN, DISK_KEY_NUMBER, "0-65535", 0, 65535}, \
	{ZONES_KEY_ACTIVE, DISK_KEY_NUMBER, "0-65535", 0, 65535}
/* clang-format on */

struct zones;

struct zones_setup { /* zones_problem() finds nothing wrong with it */
	uint64_t disk_bytes, zone_bytes; /* the last zone may be shorter */
	uint64_t capacity_bytes;	 /* of each sequential zone: what can be written to it; 0: all of it */
	uint32_t conventional;		 /* so many zones at the beginning are written anywhere */
	uint32_t open_max, active_max;	 /* 0: as many as there are */
};

/* What a SPEC asks for; zone_bytes is 0 if it asks for none. 0, or -EINVAL and why (DISK_WHY_BYTES). */
int zones_setup_of(const struct disk_spec *spec, uint64_t disk_bytes, struct zones_setup *ret_setup, char *why);
/* NULL, or what is wrong. */
const char *zones_problem(const struct zones_setup *setup);
/* All zones are empty. 0 or -ENOMEM. */
int zones_new(const struct zones_setup *setup, struct zones **ret_zones);
void zones_free(struct zones *zones); /* takes NULL */

/* The request is on the disk, and not empty. 0, or what it is done with. */
int zones_read(const struct zones *zones, uint64_t offset, uint64_t bytes);
/*
 * 0, or what it is done with. The write pointer has moved by then: the data are to be written, wherever the pointer is by the time they
 * are. `append`: *offset is where a zone begins, and becomes where its data go.
 */
int zones_write(struct zones *zones, uint64_t *offset, uint64_t bytes, bool append);
/* DISK_ZONE_RESET_ALL: `offset` is not looked at. Who keeps the data in memory has zeroed them before a reset. */
int zones_act(struct zones *zones, enum disk_zone_act act, uint64_t offset);
/* Is the zone in which the byte is written anywhere? */
bool zones_is_conventional(const struct zones *zones, uint64_t offset);
/* Would it be refused, whatever the zone's state? 0 or -EBADRQC. */
int zones_act_problem(const struct zones *zones, enum disk_zone_act act, uint64_t offset);

/* Of the zone in which the byte is, which is on the disk. */
void zones_get(struct zones *zones, uint64_t offset, struct disk_zone *ret_zone);

/* ---- zones that somebody else keeps, as those of a device are ---- */

/*
 * The zone that begins at zone->start_bytes is as it says. `first`: no request has been made yet, and what it holds has been found there;
 * only then may its capacity, and whether it is conventional, be another one.
 */
void zones_put(struct zones *zones, const struct disk_zone *zone, bool first);
/* Up to which byte the zone that has `offset` was written when it was found; 0: it has been written to or reset since. */
uint64_t zones_found(struct zones *zones, uint64_t offset);

#endif
