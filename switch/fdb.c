/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A hash table of cache lines. An address has two candidate buckets of five places; the table has at least twice
 * as many places as entries may exist, so both are practically never full while the table is not. An entry never
 * wanders from one place to another: its key (VLAN, address and port, one 64-bit word) appears, changes
 * its port when the address moves, and disappears, each with one store. So readers need no lock and
 * no retry: what they see is what was true a moment ago.
 *
 * How 72 bits go into 64. VLAN and address are scrambled, one to one (scramble.h). The first bits of that name the first
 * bucket. The key has all but the first ten, the tag, which also says how far it is from either bucket to the other. So
 * a key and the bucket it lies in say together, with a bit for which of the two that is, what address it has.
 *
 * Whatever changes a key happens under the lock. It is taken only for news (a new address, a move, an
 * entry too old), never for traffic between known addresses.
 *
 * Room for a newcomer is made at the expense of others (fdb_room.c). What finds no room is not learned (refused).
 *
 * Ageing is done by the sweep, from the control thread, a slice at a time.
 *
 * Who keeps a copy of the table is told which addresses have changed their place (fdb_watch.c).
 *
 * Fixed addresses. A port either learns or has fixed addresses, so a flag of the port says which of its entries are what.
 * One by one, addresses of ports that learn are held, too (fdb_hold.c): a bit of the bucket says so, which only those ask for who would
 * drop or move the entry.
 * What is fixed takes its place from whoever has learned it, and does not count towards the capacity. Since a port
 * with fixed addresses has no others in the table, fdb_saw() tells its own from foreign ones at no cost.
 */

#include "switch/fdb_place.h"
#include "switch/fdb_watch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define HUGE_PAGE_BYTES (2u << 20)
#define PAGE_BUCKETS (4096u / sizeof(struct fdb_bucket)) /* of the smallest page that there is */
#define SCAN_BUCKETS 32u /* with as many entries as a full table has that is no larger than it must be */

static size_t table_bytes(const struct fdb *fdb)
{
	return (size_t)fdb->bucket_count * sizeof(struct fdb_bucket);
}

/*
 * Fresh pages: they cost memory only once something is written to them. Look-ups go all over the table, and with
 * small pages most would wait for a page walk, too: the kernel is asked for huge ones, and may refuse.
 */
static int table_map(struct fdb *fdb)
{
	size_t bytes = table_bytes(fdb) + HUGE_PAGE_BYTES; /* room to begin where a huge page does */
	uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	fdb->map = map;
	fdb->map_bytes = bytes;
	map += -(uintptr_t)map % HUGE_PAGE_BYTES;
	madvise(map, table_bytes(fdb), MADV_HUGEPAGE);
	fdb->buckets = (struct fdb_bucket *)(void *)map;
	return 0;
}

static void size_set(struct fdb *fdb)
{
	uint64_t wanted = (uint64_t)fdb->capacity * 2 / FDB_WAYS + 1, scan;
	unsigned bits = FDB_BITS_MIN;

	while (1ull << bits < wanted)
		bits++;
	fdb->bucket_count = 1u << bits;
	fdb->shift = 64 - bits;
	scan = (uint64_t)SCAN_BUCKETS * fdb->bucket_count / wanted;
	fdb->scan_buckets = (uint32_t)min_u64(scan, fdb->bucket_count);
}

int fdb_new(uint32_t capacity, uint32_t age_s, uint32_t ports_max, struct fdb **ret_fdb)
{
	struct fdb *fdb = aligned_alloc(64, sizeof(*fdb));

	if (!fdb)
		return -ENOMEM;
	memset(fdb, 0, sizeof(*fdb));
	fdb->capacity = capacity ? capacity : 1;
	fdb->age_s = age_s < INT32_MAX ? age_s : INT32_MAX;
	fdb->ports_max = ports_max;
	size_set(fdb);
	fdb->stats.capacity = fdb->capacity;
	fdb->held_max = fdb_held_max(fdb->capacity);
	/* Short of entropy the seed is what it is: it makes attacks harder, fairness does not depend on it. */
	if (getrandom(&fdb->seed, sizeof(fdb->seed), GRND_NONBLOCK) < 0)
		fdb->seed = (uintptr_t)fdb;
	fdb->seed &= SCRAMBLE_MASK;
	fdb->owned = calloc(ports_max, sizeof(*fdb->owned));
	fdb->held_of = calloc(ports_max, sizeof(*fdb->held_of));
	fdb->fixed = calloc(ports_max, sizeof(*fdb->fixed));
	if (!fdb->owned || !fdb->held_of || !fdb->fixed || table_map(fdb) < 0) {
		free(fdb->fixed);
		free(fdb->held_of);
		free(fdb->owned);
		free(fdb);
		return -ENOMEM;
	}
	pthread_mutex_init(&fdb->lock, NULL);
	*ret_fdb = fdb;
	return 0;
}

void fdb_touch(const struct fdb *fdb)
{
	if (table_bytes(fdb) > FDB_TOUCH_BYTES_MAX)
		return;
	for (uint32_t i = 0; i < fdb->bucket_count; i += PAGE_BUCKETS)
		__atomic_fetch_or(&fdb->buckets[i].held, 0, __ATOMIC_RELAXED);
}

void fdb_free(struct fdb *fdb)
{
	if (!fdb)
		return;
	pthread_mutex_destroy(&fdb->lock);
	munmap(fdb->map, fdb->map_bytes);
	free(fdb->fixed);
	free(fdb->held_of);
	free(fdb->owned);
	free(fdb);
}

/* What a key and the bucket it lies in say together; false: that the place is free. */
static bool entry_read(const struct fdb *fdb, uint32_t bucket, uint64_t key, struct fdb_entry *ret_entry)
{
	uint64_t tag = (key & FDB_TAG_MASK) | FDB_TAKEN_MASK, first = bucket, top, number;

	if (!key)
		return false;
	if (key & FDB_SECOND_MASK)
		first = fdb_other(fdb, bucket, tag);
	top = first << fdb->shift >> (64 - FDB_BITS_MIN);
	number = unscramble(top << (64 - FDB_BITS_MIN) | (key & FDB_TAG_MASK) >> FDB_BITS_MIN, fdb->seed);
	*ret_entry = (struct fdb_entry){
		.mac = number >> 16, .vlan = number >> 4 & 0xfff, .port = key & FDB_PORT_MASK};
	return true;
}

/* Under lock. Who watches is to look at the place's address again. */
static void place_changes(struct fdb *fdb, struct place place)
{
	struct fdb_entry entry;

	if (likely(!fdb->watches) || !entry_read(fdb, (uint32_t)(place.bucket - fdb->buckets), key_at(place), &entry))
		return;
	fdb_watches_tell(fdb, (struct fdb_change){.mac = entry.mac, .vlan = entry.vlan});
}

void fdb_put(struct fdb *fdb, struct place place, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	uint64_t which = place.bucket == address->first ? 0 : FDB_SECOND_MASK;

	__atomic_store_n(&place.bucket->seen_s[place.way], now_s, __ATOMIC_RELAXED);
	__atomic_store_n(&place.bucket->key[place.way], address->tag | which | port, __ATOMIC_RELAXED);
	fdb->owned[port]++;
	counter_add(&fdb->stats.entries, 1);
	place_changes(fdb, place);
}

void fdb_drop(struct fdb *fdb, struct place place)
{
	bool held = place_held(place);

	place_changes(fdb, place);
	if (place_fixed(fdb, place))
		__atomic_store_n(&fdb->fixed_entries, fdb->fixed_entries - 1, __ATOMIC_RELAXED);
	fdb->held_entries -= held;
	fdb->held_of[port_at(place)] -= held;
	fdb->owned[port_at(place)]--;
	__atomic_store_n(&place.bucket->key[place.way], 0, __ATOMIC_RELAXED);
	if (held)
		__atomic_store_n(&place.bucket->held, place.bucket->held & ~(1u << place.way), __ATOMIC_RELAXED);
	counter_add(&fdb->stats.entries, (uint64_t)-1);
}

bool fdb_ages(const struct fdb *fdb)
{
	return fdb_learned(fdb) != 0;
}

struct place fdb_find(const struct fdb *fdb, const struct fdb_address *address)
{
	struct fdb_bucket *const buckets[] = {address->first, fdb_second(fdb, address)};
	uint64_t tag = address->tag;

	for (unsigned i = 0; i < ARRAY_SIZE(buckets); i++, tag |= FDB_SECOND_MASK) {
		uint64_t port = fdb_bucket_port(buckets[i], tag);

		if (port <= FDB_PORT_MASK)
			return (struct place){buckets[i], fdb_bucket_way(buckets[i], tag | port)};
	}
	return (struct place){0};
}

static void entry_move(struct fdb *fdb, struct place place, uint16_t port, uint32_t now_s)
{
	uint64_t key = key_at(place);
	uint16_t old_port = key & FDB_PORT_MASK;

	__atomic_store_n(&place.bucket->seen_s[place.way], now_s, __ATOMIC_RELAXED);
	if (old_port == port)
		return;
	fdb->owned[old_port]--;
	fdb->owned[port]++;
	__atomic_store_n(&place.bucket->key[place.way], (key ^ old_port) | port, __ATOMIC_RELAXED);
	counter_add(&fdb->stats.moved, 1);
	place_changes(fdb, place);
}

static bool entry_insert(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct place place = fdb_make_room(fdb, address, port, now_s);

	if (!place.bucket) {
		counter_add(&fdb->stats.refused, 1);
		return false;
	}
	fdb_put(fdb, place, address, port, now_s);
	counter_add(&fdb->stats.learned, 1);
	return fdb_learned(fdb) == 1;
}

/* Who says that an address is his, which is another's, is not to hold the lock up, so this is found out without. */
static bool is_foreign(const struct fdb *fdb, const struct fdb_address *address, uint16_t port)
{
	int owner = fdb_lookup(fdb, address);

	return port_fixed(fdb, port) || (owner >= 0 && port_fixed(fdb, (uint16_t)owner));
}

/* So is this: what is held moves for nobody. Without the lock the place may have no entry by now, and none is to be looked at. */
static bool is_held(const struct fdb *fdb, const struct fdb_address *address)
{
	struct place place = fdb_find(fdb, address);

	return place.bucket && place.way < FDB_WAYS && place_held(place);
}

bool fdb_is_fixed(const struct fdb *fdb, const struct fdb_address *address)
{
	int owner = fdb_lookup(fdb, address);

	return owner >= 0 && (port_fixed(fdb, (uint16_t)owner) || is_held(fdb, address));
}

enum fdb_news fdb_learn(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct place place;
	enum fdb_news news = FDB_LEARNED;

	if (is_foreign(fdb, address, port))
		return FDB_FOREIGN;
	if (unlikely(is_held(fdb, address)))
		return FDB_LEARNED;
	pthread_mutex_lock(&fdb->lock);
	place = fdb_find(fdb, address);
	if (is_foreign(fdb, address, port)) /* by now */
		news = FDB_FOREIGN;
	else if (place.bucket && place_held(place))
		news = FDB_LEARNED; /* by now */
	else if (place.bucket)
		entry_move(fdb, place, port, now_s);
	else if (entry_insert(fdb, address, port, now_s))
		news = FDB_FIRST;
	pthread_mutex_unlock(&fdb->lock);
	return news;
}

/* Under lock. What is held is fixed anyway. */
static void port_fixed_set(struct fdb *fdb, uint16_t port, bool fixed)
{
	uint32_t others = fdb->owned[port] - fdb->held_of[port];

	if (fdb->fixed[port] == fixed)
		return;
	__atomic_store_n(&fdb->fixed[port], fixed, __ATOMIC_RELAXED);
	__atomic_store_n(&fdb->fixed_entries, fdb->fixed_entries + (fixed ? others : 0 - others), __ATOMIC_RELAXED);
}

void fdb_port_fixed_set(struct fdb *fdb, uint16_t port, bool fixed)
{
	pthread_mutex_lock(&fdb->lock);
	port_fixed_set(fdb, port, fixed);
	pthread_mutex_unlock(&fdb->lock);
}

/* Under lock. */
static int entry_fix(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct place place = fdb_find(fdb, address);

	if (place.bucket && port_at(place) == port) {
		port_fixed_set(fdb, port, true);
		return 0;
	}
	if (place.bucket && place_fixed(fdb, place))
		return -EADDRINUSE;
	if (place.bucket)
		fdb_drop(fdb, place); /* whoever has said it first */
	else
		place = fdb_room_to_fix(fdb, address);
	if (!place.bucket)
		return -ENOSPC;
	fdb_put(fdb, place, address, port, now_s); /* before others are refused: one that the port sends from meanwhile is none of those */
	if (port_fixed(fdb, port))
		__atomic_store_n(&fdb->fixed_entries, fdb->fixed_entries + 1, __ATOMIC_RELAXED);
	port_fixed_set(fdb, port, true);
	return 0;
}

int fdb_fix(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	int err;

	pthread_mutex_lock(&fdb->lock);
	err = entry_fix(fdb, address, port, now_s);
	pthread_mutex_unlock(&fdb->lock);
	return err;
}

static bool is_of(const struct fdb *fdb, struct place place, int port)
{
	return key_at(place) && port_at(place) == port;
}

/* Entries first: as long as they are there, they are fixed. */
void fdb_unfix(struct fdb *fdb, uint16_t port)
{
	if (fdb_owned(fdb, port))
		fdb_drop_each(fdb, is_of, port);
	pthread_mutex_lock(&fdb->lock);
	__atomic_store_n(&fdb->fixed[port], false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&fdb->lock);
}

void fdb_unfix_one(struct fdb *fdb, const struct fdb_address *address, uint16_t port)
{
	struct place place;

	pthread_mutex_lock(&fdb->lock);
	place = fdb_find(fdb, address);
	if (place.bucket && port_at(place) == port && port_fixed(fdb, port) && !place_held(place))
		fdb_drop(fdb, place);
	pthread_mutex_unlock(&fdb->lock);
}

static bool may_age(const struct fdb *fdb, struct place place, uint32_t now_s)
{
	return key_at(place) && too_old(fdb, seen_at(place), now_s) && !place_fixed(fdb, place);
}

/* Looks without the lock, and once more with it: most entries are young. */
static void sweep_bucket(struct fdb *fdb, struct fdb_bucket *bucket, uint32_t now_s)
{
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		struct place place = {bucket, way};

		if (likely(!may_age(fdb, place, now_s)))
			continue;
		pthread_mutex_lock(&fdb->lock);
		if (may_age(fdb, place, now_s)) {
			fdb_drop(fdb, place);
			counter_add(&fdb->stats.aged, 1);
		}
		pthread_mutex_unlock(&fdb->lock);
	}
}

void fdb_sweep(struct fdb *fdb, uint32_t now_s, uint32_t buckets_max)
{
	uint32_t count = min_u32(buckets_max, fdb->bucket_count);

	while (count-- > 0) {
		sweep_bucket(fdb, &fdb->buckets[fdb->sweep_at], now_s);
		if (++fdb->sweep_at == fdb->bucket_count)
			fdb->sweep_at = 0;
	}
}

static void drop_in(struct fdb *fdb, struct place place, fdb_which_fn *which, int port)
{
	if (!which(fdb, place, port))
		return;
	pthread_mutex_lock(&fdb->lock);
	if (which(fdb, place, port))
		fdb_drop(fdb, place);
	pthread_mutex_unlock(&fdb->lock);
}

void fdb_drop_each(struct fdb *fdb, fdb_which_fn *which, int port)
{
	for (uint32_t i = 0; i < fdb->bucket_count; i++) {
		for (unsigned way = 0; way < FDB_WAYS; way++)
			drop_in(fdb, (struct place){&fdb->buckets[i], way}, which, port);
	}
}

static bool is_learned(const struct fdb *fdb, struct place place, int port)
{
	return key_at(place) && (port < 0 || port_at(place) == port) && !place_fixed(fdb, place);
}

void fdb_flush(struct fdb *fdb, int port)
{
	if (port < 0 || fdb_owned(fdb, (uint16_t)port))
		fdb_drop_each(fdb, is_learned, port);
}

void fdb_each(const struct fdb *fdb, uint32_t now_s, fdb_fn *fn, void *opaque)
{
	struct fdb_entry entry;

	for (uint32_t i = 0; i < fdb->bucket_count; i++) {
		for (unsigned way = 0; way < FDB_WAYS; way++) {
			struct place place = {&fdb->buckets[i], way};
			int32_t age_s;

			if (!entry_read(fdb, i, key_at(place), &entry))
				continue;
			entry.held = place_held(place);
			entry.fixed = entry.held || port_fixed(fdb, entry.port);
			age_s = (int32_t)(now_s - seen_at(place));
			entry.age_s = entry.fixed || age_s < 0 ? 0 : (uint32_t)age_s;
			if (entry.age_s <= fdb->age_s)
				fn(opaque, &entry);
		}
	}
}

/* Without the lock the entry may be another one by now: what is said then was so a moment ago, or will be. */
int fdb_owner(const struct fdb *fdb, const struct fdb_address *address, uint32_t now_s, uint32_t recent_s, bool *ret_sure)
{
	struct place place = fdb_find(fdb, address);
	uint64_t key = place.bucket && place.way < FDB_WAYS ? key_at(place) : 0;

	if (!key)
		return -1;
	*ret_sure = place_held(place) || port_fixed(fdb, key & FDB_PORT_MASK) || now_s - seen_at(place) <= recent_s;
	return (int)(key & FDB_PORT_MASK);
}

uint32_t fdb_owned(struct fdb *fdb, uint16_t port)
{
	uint32_t owned;

	pthread_mutex_lock(&fdb->lock);
	owned = fdb->owned[port];
	pthread_mutex_unlock(&fdb->lock);
	return owned;
}

void fdb_stats(const struct fdb *fdb, struct sw_fdb_stats *ret_stats)
{
	const struct sw_fdb_stats *from = &fdb->stats;

	*ret_stats = (struct sw_fdb_stats){
		.entries = counter_read(&from->entries),
		.fixed = __atomic_load_n(&fdb->fixed_entries, __ATOMIC_RELAXED),
		.capacity = from->capacity,
		.learned = counter_read(&from->learned),
		.moved = counter_read(&from->moved),
		.aged = counter_read(&from->aged),
		.evicted = counter_read(&from->evicted),
		.refused = counter_read(&from->refused),
	};
}
