/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Fairness: room for a newcomer is made at the expense of whoever owns most, and never of a port that owns
 * no more than the newcomer's own port does. A port that sends from a million addresses thus
 * pushes out its own entries only, whatever it does to the hash. All of it is done under the database's lock.
 */

#include "switch/fdb_place.h"

#define FREE_ENOUGH 3u

static struct place place_free(struct fdb_bucket *bucket, unsigned *ret_count)
{
	struct place found = {0};

	*ret_count = 0;
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		struct place place = {bucket, way};

		if (key_at(place))
			continue;
		found = place;
		++*ret_count;
	}
	return found;
}

/* In the first bucket, where it is found at one look, unless that is about to fill up and the second is emptier. */
static struct place place_choose(struct fdb_bucket *first, struct fdb_bucket *second)
{
	unsigned free_first, free_second;
	struct place in_first = place_free(first, &free_first);
	struct place in_second = place_free(second, &free_second);

	return free_first >= FREE_ENOUGH || free_first >= free_second ? in_first : in_second;
}

/* Who goes first? Too old before others, then the port that owns more, then the newcomer's own, then the older. */
static bool goes_before(const struct fdb *fdb, struct place a, struct place b, uint16_t port, uint32_t now_s)
{
	uint16_t port_a = port_at(a), port_b = port_at(b);
	bool old_a = too_old(fdb, seen_at(a), now_s), old_b = too_old(fdb, seen_at(b), now_s);

	if (old_a != old_b)
		return old_a;
	if (fdb->owned[port_a] != fdb->owned[port_b])
		return fdb->owned[port_a] > fdb->owned[port_b];
	if ((port_a == port) != (port_b == port))
		return port_a == port;
	return (int32_t)(seen_at(a) - seen_at(b)) < 0;
}

static bool may_evict(const struct fdb *fdb, struct place place, uint16_t port, uint32_t now_s)
{
	uint16_t owner = port_at(place);

	if (place_fixed(fdb, place))
		return false;
	return owner == port || fdb->owned[owner] > fdb->owned[port] || too_old(fdb, seen_at(place), now_s);
}

/* Keys stand still. Most buckets of a table with few entries are. */
static bool bucket_empty(const struct fdb_bucket *bucket)
{
	uint64_t any = 0;

	for (unsigned way = 0; way < FDB_WAYS; way++)
		any |= bucket->key[way];
	return !any;
}

/* The better victim of `best` and what the bucket has. */
static struct place victim_in(const struct fdb *fdb, struct fdb_bucket *bucket, struct place best, uint16_t port,
			      uint32_t now_s)
{
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		struct place place = {bucket, way};

		if (!key_at(place) || !may_evict(fdb, place, port, now_s))
			continue;
		if (!best.bucket || goes_before(fdb, place, best, port, now_s))
			best = place;
	}
	return best;
}

/* Is it sure that the port owns most, so that nobody else is to blame? */
static bool owns_most(const struct fdb *fdb, uint16_t port)
{
	return fdb->owned[port] > fdb->stats.entries / 2;
}

/*
 * The table is full, and the candidate buckets have room but nobody else to blame: look at their neighbours. Who owns
 * most is satisfied with the first that is found.
 */
static struct place victim_near(const struct fdb *fdb, const struct fdb_bucket *start, struct place best, uint16_t port,
				uint32_t now_s)
{
	uint32_t at = (uint32_t)(start - fdb->buckets);
	bool first_will_do = owns_most(fdb, port);

	for (uint32_t i = 0; i < fdb->scan_buckets && !(first_will_do && best.bucket); i++) {
		struct fdb_bucket *bucket = &fdb->buckets[(at + i) % fdb->bucket_count];

		if (!bucket_empty(bucket))
			best = victim_in(fdb, bucket, best, port, now_s);
	}
	return best;
}

struct place fdb_make_room(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct fdb_bucket *first = address->first, *second = fdb_second(fdb, address);
	struct place free_place = place_choose(first, second), victim = {0};

	if (free_place.bucket && fdb_learned(fdb) < fdb->capacity)
		return free_place;
	victim = victim_in(fdb, first, victim, port, now_s);
	victim = victim_in(fdb, second, victim, port, now_s);
	if (free_place.bucket && (!victim.bucket || port_at(victim) == port))
		victim = victim_near(fdb, first, victim, port, now_s);
	if (!victim.bucket)
		return victim;
	fdb_drop(fdb, victim);
	counter_add(&fdb->stats.evicted, 1);
	return free_place.bucket ? free_place : victim;
}

struct place fdb_room_to_fix(struct fdb *fdb, const struct fdb_address *address)
{
	struct fdb_bucket *const buckets[] = {address->first, fdb_second(fdb, address)};
	struct place found = place_choose(buckets[0], buckets[1]);

	for (unsigned i = 0; i < ARRAY_SIZE(buckets) && !found.bucket; i++) {
		for (unsigned way = 0; way < FDB_WAYS && !found.bucket; way++) {
			struct place place = {buckets[i], way};

			if (place_fixed(fdb, place))
				continue;
			fdb_drop(fdb, place);
			counter_add(&fdb->stats.evicted, 1);
			found = place;
		}
	}
	return found;
}
