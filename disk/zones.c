/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of a zone:
 *
 *                 a write             DISK_ZONE_OPEN       DISK_ZONE_CLOSE           DISK_ZONE_FINISH   DISK_ZONE_RESET
 *   empty         opened by itself    opened by command    refused                   full               empty
 *   opened ...    as it is            opened by command    closed; without data:     full               empty
 *                                                          empty
 *   closed        opened by itself    opened by command    closed                    full               empty
 *   full          refused             refused              refused                   full               empty
 *
 * Whatever is written up to its capacity is full. An open zone takes up one of the open zones there may be, and an open or closed one
 * takes up one of the active ones. If there is no open one left, one that was opened by itself is closed for it. That is why a closed
 * zone can be finished: its driver may not know that it was closed. Where a device has worn out (read-only, offline) all of that is refused.
 */
#include "disk/zones.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct zone {
	/* Constant once there are requests. */
	uint64_t capacity;
	bool conventional;
	/* Under the lock. */
	bool found;	  /* what it holds was there at the beginning */
	uint8_t state;	  /* enum disk_zone_state */
	uint64_t written; /* bytes from its beginning to the write pointer */
	struct zone *next, *prev; /* of those that were opened by a write */
};

struct zones {
	struct zones_setup setup;
	uint32_t count;
	pthread_mutex_t lock; /* of what follows */
	uint32_t open, active;
	struct zone *first, *last; /* opened by a write, in that order */
	struct zone zone[];
};

static uint32_t index_of(const struct zones *zones, uint64_t offset)
{
	return (uint32_t)(offset / zones->setup.zone_bytes);
}

static uint64_t start_of(const struct zones *zones, uint32_t index)
{
	return index * zones->setup.zone_bytes;
}

static uint64_t length_of(const struct zones *zones, uint32_t index)
{
	return min_u64(zones->setup.zone_bytes, zones->setup.disk_bytes - start_of(zones, index));
}

static bool is_worn_out(uint8_t state)
{
	return state == DISK_ZONE_READ_ONLY || state == DISK_ZONE_OFFLINE;
}

static bool is_open(uint8_t state)
{
	return state == DISK_ZONE_OPENED_BY_WRITE || state == DISK_ZONE_OPENED;
}

static bool is_active(uint8_t state)
{
	return is_open(state) || state == DISK_ZONE_CLOSED;
}

/* ---- under the lock ---- */

static void row_leave(struct zones *zones, struct zone *zone)
{
	if (zone->prev)
		zone->prev->next = zone->next;
	else
		zones->first = zone->next;
	if (zone->next)
		zone->next->prev = zone->prev;
	else
		zones->last = zone->prev;
}

static void row_join(struct zones *zones, struct zone *zone)
{
	zone->next = NULL;
	zone->prev = zones->last;
	if (zones->last)
		zones->last->next = zone;
	else
		zones->first = zone;
	zones->last = zone;
}

static void state_set(struct zones *zones, struct zone *zone, uint8_t state)
{
	if (zone->state == DISK_ZONE_OPENED_BY_WRITE)
		row_leave(zones, zone);
	if (state == DISK_ZONE_OPENED_BY_WRITE)
		row_join(zones, zone);
	zones->open += is_open(state);
	zones->open -= is_open(zone->state);
	zones->active += is_active(state);
	zones->active -= is_active(zone->state);
	zone->state = state;
}

/* The one that was opened first. False: all that are open were opened by command. */
static bool one_closed(struct zones *zones)
{
	if (!zones->first)
		return false;
	state_set(zones, zones->first, DISK_ZONE_CLOSED);
	return true;
}

/* Is there room for one more? Whoever lacks both is told of the active ones. */
static int open_problem(struct zones *zones, const struct zone *zone)
{
	const struct zones_setup *setup = &zones->setup;

	if (is_open(zone->state))
		return 0;
	if (!is_active(zone->state) && setup->active_max && zones->active >= setup->active_max)
		return -EOVERFLOW;
	if (setup->open_max && zones->open >= setup->open_max && !one_closed(zones))
		return -ETOOMANYREFS;
	return 0;
}

static int zone_write(struct zones *zones, uint32_t index, uint64_t at, uint64_t bytes, uint64_t *ret_at)
{
	struct zone *zone = &zones->zone[index];
	uint64_t capacity = zone->capacity;
	int err;

	if (zone->state == DISK_ZONE_FULL || is_worn_out(zone->state))
		return -EBADRQC;
	if (at != zone->written)
		return -EILSEQ;
	if (bytes > capacity - zone->written)
		return -EBADRQC;
	err = open_problem(zones, zone);
	if (err)
		return err;
	*ret_at = zone->written;
	zone->written += bytes;
	zone->found = false;
	if (zone->written == capacity)
		state_set(zones, zone, DISK_ZONE_FULL);
	else if (!is_open(zone->state))
		state_set(zones, zone, DISK_ZONE_OPENED_BY_WRITE);
	return 0;
}

static int zone_open(struct zones *zones, struct zone *zone)
{
	int err = zone->state == DISK_ZONE_FULL ? -EBADRQC : open_problem(zones, zone);

	if (!err)
		state_set(zones, zone, DISK_ZONE_OPENED);
	return err;
}

static int zone_close(struct zones *zones, struct zone *zone)
{
	if (!is_active(zone->state))
		return -EBADRQC;
	state_set(zones, zone, zone->written ? DISK_ZONE_CLOSED : DISK_ZONE_EMPTY);
	return 0;
}

static void zone_reset(struct zones *zones, struct zone *zone)
{
	zone->written = 0;
	zone->found = false;
	state_set(zones, zone, DISK_ZONE_EMPTY);
}

static void zone_reset_of_all(struct zones *zones, struct zone *zone)
{
	if (!zone->conventional && !is_worn_out(zone->state))
		zone_reset(zones, zone);
}

static int zone_act(struct zones *zones, struct zone *zone, enum disk_zone_act act)
{
	if (is_worn_out(zone->state))
		return -EBADRQC;
	switch (act) {
	case DISK_ZONE_OPEN:
		return zone_open(zones, zone);
	case DISK_ZONE_CLOSE:
		return zone_close(zones, zone);
	case DISK_ZONE_FINISH:
		zone->found = false;
		state_set(zones, zone, DISK_ZONE_FULL);
		return 0;
	default:
		zone_reset(zones, zone);
		return 0;
	}
}

/* ---- requests ---- */

/* Conventional zones in a row are one stretch; nothing crosses from them to others, or from one of the others to the next. */
static bool crosses(const struct zones *zones, uint64_t offset, uint64_t bytes)
{
	uint32_t first = index_of(zones, offset), last = index_of(zones, offset + bytes - 1);

	for (uint32_t i = first; first != last && i <= last; i++)
		if (!zones->zone[i].conventional)
			return true;
	return false;
}

bool zones_is_conventional(const struct zones *zones, uint64_t offset)
{
	return zones->zone[index_of(zones, offset)].conventional;
}

int zones_read(const struct zones *zones, uint64_t offset, uint64_t bytes)
{
	return !zones_is_conventional(zones, offset) && crosses(zones, offset, bytes) ? -EBADRQC : 0;
}

int zones_write(struct zones *zones, uint64_t *offset, uint64_t bytes, bool append)
{
	uint32_t index = index_of(zones, *offset);
	uint64_t start = start_of(zones, index), at = *offset - start;
	int err;

	if (zones->zone[index].conventional)
		return append || crosses(zones, *offset, bytes) ? -EBADRQC : 0;
	if (append ? at != 0 : crosses(zones, *offset, bytes))
		return -EBADRQC;
	pthread_mutex_lock(&zones->lock);
	if (append)
		at = zones->zone[index].written;
	err = zone_write(zones, index, at, bytes, &at);
	pthread_mutex_unlock(&zones->lock);
	if (!err)
		*offset = start + at;
	return err;
}

int zones_act_problem(const struct zones *zones, enum disk_zone_act act, uint64_t offset)
{
	if (act == DISK_ZONE_RESET_ALL)
		return 0;
	if (act > DISK_ZONE_RESET_ALL || offset >= zones->setup.disk_bytes || offset % zones->setup.zone_bytes)
		return -EBADRQC;
	return zones->zone[index_of(zones, offset)].conventional ? -EBADRQC : 0;
}

int zones_act(struct zones *zones, enum disk_zone_act act, uint64_t offset)
{
	int err = zones_act_problem(zones, act, offset);

	if (err)
		return err;
	pthread_mutex_lock(&zones->lock);
	if (act == DISK_ZONE_RESET_ALL)
		for (uint32_t i = 0; i < zones->count; i++)
			zone_reset_of_all(zones, &zones->zone[i]);
	else
		err = zone_act(zones, &zones->zone[index_of(zones, offset)], act);
	pthread_mutex_unlock(&zones->lock);
	return err;
}

void zones_get(struct zones *zones, uint64_t offset, struct disk_zone *ret_zone)
{
	uint32_t index = index_of(zones, offset);
	struct zone zone;

	pthread_mutex_lock(&zones->lock);
	zone = zones->zone[index];
	pthread_mutex_unlock(&zones->lock);
	*ret_zone = (struct disk_zone){
		.start_bytes = start_of(zones, index),
		.length_bytes = length_of(zones, index),
		.capacity_bytes = zone.capacity,
		.pointer_bytes = start_of(zones, index) + zone.written,
		.state = zone.state,
	};
}

/* ---- zones that somebody else keeps ---- */

void zones_put(struct zones *zones, const struct disk_zone *as, bool first)
{
	struct zone *zone = &zones->zone[index_of(zones, as->start_bytes)];

	pthread_mutex_lock(&zones->lock);
	if (first) {
		zone->capacity = as->capacity_bytes;
		zone->conventional = as->state == DISK_ZONE_CONVENTIONAL;
	}
	zone->found = first && as->pointer_bytes > as->start_bytes;
	zone->written = as->pointer_bytes - as->start_bytes;
	state_set(zones, zone, (uint8_t)as->state);
	pthread_mutex_unlock(&zones->lock);
}

uint64_t zones_found(struct zones *zones, uint64_t offset)
{
	const struct zone *zone = &zones->zone[index_of(zones, offset)];
	uint64_t to;

	pthread_mutex_lock(&zones->lock);
	to = zone->found ? start_of(zones, index_of(zones, offset)) + zone->written : 0;
	pthread_mutex_unlock(&zones->lock);
	return to;
}

/* ---- as the user writes it ---- */

int zones_setup_of(const struct disk_spec *spec, uint64_t disk_bytes, struct zones_setup *ret_setup, char *why)
{
	const char *problem;

	*ret_setup = (struct zones_setup){
		.disk_bytes = disk_bytes,
		.zone_bytes = disk_spec_number(spec, ZONES_KEY_SIZE, 0),
		.capacity_bytes = disk_spec_number(spec, ZONES_KEY_CAPACITY, 0),
		.conventional = (uint32_t)disk_spec_number(spec, ZONES_KEY_CONVENTIONAL, 0),
		.open_max = (uint32_t)disk_spec_number(spec, ZONES_KEY_OPEN, 0),
		.active_max = (uint32_t)disk_spec_number(spec, ZONES_KEY_ACTIVE, 0),
	};
	if (ret_setup->zone_bytes)
		problem = zones_problem(ret_setup);
	else if (ret_setup->capacity_bytes || ret_setup->conventional || ret_setup->open_max || ret_setup->active_max)
		problem = "zone-size: expected with the other keys of zones: give it, or leave them out";
	else
		problem = NULL;
	if (!problem)
		return 0;
	snprintf(why, DISK_WHY_BYTES, "%s", problem);
	return -EINVAL;
}

/* ---- life ---- */

const char *zones_problem(const struct zones_setup *setup)
{
	uint64_t count = (setup->disk_bytes + setup->zone_bytes - 1) / setup->zone_bytes;

	if (setup->zone_bytes & (setup->zone_bytes - 1))
		return "zone-size: expected a power of two, for Linux takes nothing else";
	if (setup->capacity_bytes > setup->zone_bytes || setup->capacity_bytes % DISK_SECTOR_BYTES)
		return "zone-capacity: expected whole sectors of 512 bytes, and no more than zone-size";
	if (count > ZONES_MAX)
		return "zone-size: there are to be 65536 zones at most: make them larger";
	if (setup->conventional >= count)
		return "zone-conventional: expected fewer than there are zones";
	if (setup->active_max && setup->open_max > setup->active_max)
		return "zone-max-open: expected no more than zone-max-active, for an open zone is active";
	return NULL;
}

int zones_new(const struct zones_setup *setup, struct zones **ret_zones)
{
	uint32_t count = (uint32_t)((setup->disk_bytes + setup->zone_bytes - 1) / setup->zone_bytes);
	struct zones *zones = calloc(1, sizeof(*zones) + count * sizeof(zones->zone[0]));

	if (!zones)
		return -ENOMEM;
	zones->setup = *setup;
	if (!zones->setup.capacity_bytes)
		zones->setup.capacity_bytes = setup->zone_bytes;
	zones->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct zone *zone = &zones->zone[i];
		uint64_t length = length_of(zones, i);

		zone->conventional = i < setup->conventional;
		zone->state = zone->conventional ? DISK_ZONE_CONVENTIONAL : DISK_ZONE_EMPTY;
		zone->capacity = zone->conventional ? length : min_u64(zones->setup.capacity_bytes, length);
	}
	pthread_mutex_init(&zones->lock, NULL);
	*ret_zones = zones;
	return 0;
}

void zones_free(struct zones *zones)
{
	if (!zones)
		return;
	pthread_mutex_destroy(&zones->lock);
	free(zones);
}
