/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Addresses that an operator holds behind a port, one by one, whatever that port learns beside them. They count as fixed, and so not
 * towards the capacity; what keeps them from filling the table is a limit of their own.
 */

#include "switch/fdb_place.h"
#include <errno.h>

#define HELD_PART 4u	 /* of the capacity */
#define HELD_LEAST 1024u /* the smallest table has five times as many places */

uint32_t fdb_held_max(uint32_t capacity)
{
	return (uint32_t)max_u64(capacity / HELD_PART, HELD_LEAST);
}

/* Under lock. */
static int hold(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct place place = fdb_find(fdb, address);

	if (place.bucket && place_fixed(fdb, place))
		return port_at(place) == port ? 0 : -EADDRINUSE;
	if (fdb->held_entries >= fdb->held_max)
		return -ENOBUFS;
	if (place.bucket)
		fdb_drop(fdb, place); /* wherever it was seen last */
	else
		place = fdb_room_to_fix(fdb, address);
	if (!place.bucket)
		return -ENOSPC;
	__atomic_store_n(&place.bucket->held, place.bucket->held | 1u << place.way, __ATOMIC_RELAXED);
	fdb_put(fdb, place, address, port, now_s);
	fdb->held_entries++;
	fdb->held_of[port]++;
	__atomic_store_n(&fdb->fixed_entries, fdb->fixed_entries + 1, __ATOMIC_RELAXED);
	return 0;
}

int fdb_hold(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	int err;

	pthread_mutex_lock(&fdb->lock);
	err = hold(fdb, address, port, now_s);
	pthread_mutex_unlock(&fdb->lock);
	return err;
}

int fdb_let_go(struct fdb *fdb, const struct fdb_address *address)
{
	struct place place;
	int err = 0;

	pthread_mutex_lock(&fdb->lock);
	place = fdb_find(fdb, address);
	if (!place.bucket)
		err = -ENOENT;
	else if (!place_held(place))
		err = -EPERM;
	else
		fdb_drop(fdb, place);
	pthread_mutex_unlock(&fdb->lock);
	return err;
}

static bool is_held_behind(const struct fdb *fdb, struct place place, int port)
{
	return place_held(place) && key_at(place) && (port < 0 || port_at(place) == port);
}

void fdb_let_go_all(struct fdb *fdb, int port)
{
	fdb_drop_each(fdb, is_held_behind, port);
}
