/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FDB_PLACE_H
#define SWITCH_FDB_PLACE_H

/* A place of the forwarding database's table, and what lies in it: for fdb.c and fdb_room.c, which share its lock. */

#include "switch/fdb.h"

struct place {
	struct fdb_bucket *bucket; /* NULL: none */
	unsigned way;
};

static inline uint64_t key_at(struct place place)
{
	return __atomic_load_n(&place.bucket->key[place.way], __ATOMIC_RELAXED);
}

static inline uint16_t port_at(struct place place)
{
	return key_at(place) & FDB_PORT_MASK;
}

static inline uint32_t seen_at(struct place place)
{
	return __atomic_load_n(&place.bucket->seen_s[place.way], __ATOMIC_RELAXED);
}

static inline bool port_fixed(const struct fdb *fdb, uint16_t port)
{
	return __atomic_load_n(&fdb->fixed[port], __ATOMIC_RELAXED);
}

static inline bool place_held(struct place place)
{
	return __atomic_load_n(&place.bucket->held, __ATOMIC_RELAXED) >> place.way & 1;
}

/* There is an entry. */
static inline bool place_fixed(const struct fdb *fdb, struct place place)
{
	return port_fixed(fdb, port_at(place)) || place_held(place);
}

static inline bool too_old(const struct fdb *fdb, uint32_t seen_s, uint32_t now_s)
{
	return (int32_t)(now_s - seen_s) > (int32_t)fdb->age_s;
}

static inline uint64_t fdb_learned(const struct fdb *fdb)
{
	return counter_read(&fdb->stats.entries) - __atomic_load_n(&fdb->fixed_entries, __ATOMIC_RELAXED);
}

/* The entry of an address on any port; none if there is no bucket. Without the lock it may be another's by now. */
struct place fdb_find(const struct fdb *fdb, const struct fdb_address *address);

/* Under lock. */
void fdb_drop(struct fdb *fdb, struct place place);
void fdb_put(struct fdb *fdb, struct place place, const struct fdb_address *address, uint16_t port, uint32_t now_s);

/* Drops what `which` says yes to, taking the lock for each. */
typedef bool fdb_which_fn(const struct fdb *fdb, struct place place, int port);
void fdb_drop_each(struct fdb *fdb, fdb_which_fn *which, int port);

/* ---- fdb_hold.c ---- */

uint32_t fdb_held_max(uint32_t capacity);

/* ---- fdb_room.c ---- */

/* Under lock: a free place for a newcomer of `port`, or none. */
struct place fdb_make_room(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s);
/* Under lock: a place for a fixed address, that nobody has, or that somebody had who has learned it; or none. */
struct place fdb_room_to_fix(struct fdb *fdb, const struct fdb_address *address);

#endif
