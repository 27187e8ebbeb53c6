/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FDB_H
#define SWITCH_FDB_H

/*
 * Forwarding database: VLAN and address -> port. See fdb.c for the theory of operation.
 * Addresses are 48-bit numbers, first byte on top. Seconds are a 32-bit monotonic count, which may wrap.
 */

#include "base/util.h"
#include "switch/scramble.h"
#include "switch/switch.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FDB_WAYS 5u
#define FDB_TOUCH_BYTES_MAX (64u << 20) /* for two million addresses */

/* An entry, in one word; a free place has 0. What is above these bits is the address's tag. */
#define FDB_PORT_MASK   0x0fffu
#define FDB_SECOND_MASK 0x1000u /* it lies in the second of its two buckets */
#define FDB_TAKEN_MASK  0x2000u
#define FDB_TAG_MASK    (~(uint64_t)0x3fff)
#define FDB_BITS_MIN    10u /* of a bucket's number: what is scrambled, 60 bits, leaves room for those above without them */

_Static_assert(SW_PORTS_MAX <= FDB_PORT_MASK + 1, "a port fits into an entry");

/* One cache line. */
struct fdb_bucket {
	uint64_t key[FDB_WAYS];
	uint32_t seen_s[FDB_WAYS];
	uint32_t held; /* places, a bit each, whose entries fdb_hold() has made; written under lock, read by anybody */
} __attribute__((aligned(64)));

struct fdb_watch;

struct fdb {
	struct fdb_bucket *buckets; /* keys written under lock, read by anybody; seen_s by anybody */
	uint32_t bucket_count; /* a power of two */
	unsigned shift; /* what is scrambled, shifted by so much, names the first bucket */
	uint32_t scan_buckets; /* how far to look for a victim when the whole table is full */
	void *map; /* where they lie in */
	size_t map_bytes;
	uint32_t capacity, age_s;
	uint32_t ports_max;
	uint64_t seed;

	pthread_mutex_t lock __attribute__((aligned(64))); /* innermost: nothing else is taken inside */
	uint32_t *owned;   /* entries of each port; under lock */
	uint32_t *held_of; /* those of them that are held; under lock */
	bool *fixed;       /* of each port: its entries are fixed; written under lock, read by anybody */
	uint32_t fixed_entries; /* in all, those that are held among them; written under lock, read by anybody */
	uint32_t held_entries, held_max; /* under lock */
	struct fdb_watch *watches; /* NULL: nobody; under lock: see fdb_watch.c */
	uint32_t sweep_at; /* next bucket to sweep; control thread */
	struct sw_fdb_stats stats; /* written under lock, read by anybody */
};

int fdb_new(uint32_t capacity, uint32_t age_s, uint32_t ports_max, struct fdb **ret_fdb); /* -ENOMEM */
/*
 * All of the table's pages are there from now on. Else each costs memory, and the kernel's time (milliseconds, for a huge one, and under the lock), when the
 * first address comes to it. A table beyond FDB_TOUCH_BYTES_MAX is left as it is. Workers may use it meanwhile.
 */
void fdb_touch(const struct fdb *fdb);
void fdb_free(struct fdb *fdb); /* takes NULL */

enum fdb_news {
	FDB_LEARNED, /* or there was no room */
	FDB_FIRST,   /* learned, by a table in which nothing else is that has been learned */
	FDB_FOREIGN, /* not learned: the address is fixed to another port, or the port has fixed ones and this is none */
};

/* An address in a VLAN that will be looked up: where it would be is worked out once. */
struct fdb_address {
	uint64_t mac;
	uint64_t tag; /* its entry in the first bucket, but for the port */
	struct fdb_bucket *first;
};

/* Any worker. The slow half of fdb_saw(): inserts or moves. */
enum fdb_news fdb_learn(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s);

/* Control thread. */
void fdb_sweep(struct fdb *fdb, uint32_t now_s, uint32_t buckets_max); /* forgets what is too old */
void fdb_flush(struct fdb *fdb, int port); /* what was learned; -1: all */
/*
 * Fixes an address to a port: until fdb_unfix() it is neither aged, evicted, moved nor flushed, and the port learns no
 * other; what it has learned by then is fixed, too. A worker may call this, and fdb_unfix_one(), as well: for the first address of a port that
 * locks it. -EADDRINUSE: it is fixed to another port; -ENOSPC: the table has no room where it would have to be.
 */
int fdb_fix(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s);
/*
 * From now on the port's addresses are fixed, and it learns none; or they are learned. What it has in the table stays there, and is of the new
 * kind: whoever calls this drops what is not to be (fdb_unfix_one()).
 */
void fdb_port_fixed_set(struct fdb *fdb, uint16_t port, bool fixed);
void fdb_unfix(struct fdb *fdb, uint16_t port); /* forgets all of the port's */
void fdb_unfix_one(struct fdb *fdb, const struct fdb_address *address, uint16_t port); /* if it is fixed to the port, and not held */
/*
 * Holds one address behind a port that learns others: until fdb_let_go() it is neither aged, evicted, moved nor flushed. What another port
 * sends from it is not learned. -EADDRINUSE: it is fixed to, or held behind, another port; -ENOBUFS: as many are held as may be;
 * -ENOSPC: the table has no room where it would have to be.
 */
int fdb_hold(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s);
int fdb_let_go(struct fdb *fdb, const struct fdb_address *address); /* -ENOENT: it is not known; -EPERM: it is not held */
void fdb_let_go_all(struct fdb *fdb, int port); /* what is held; -1: behind any */
bool fdb_is_fixed(const struct fdb *fdb, const struct fdb_address *address); /* any thread: to its port, or held there */
bool fdb_ages(const struct fdb *fdb); /* any thread: there are entries that are not fixed */

/*
 * The port behind an address, or -1; and whether that is sure: it is fixed or held there, or was seen there at most so many seconds ago.
 * Any thread.
 */
int fdb_owner(const struct fdb *fdb, const struct fdb_address *address, uint32_t now_s, uint32_t recent_s, bool *ret_sure);

struct fdb_entry {
	uint64_t mac;
	uint16_t vlan, port;
	bool fixed, held; /* what is held is fixed, too */
	uint32_t age_s; /* 0 if fixed */
};

typedef void fdb_fn(void *opaque, const struct fdb_entry *entry);
void fdb_each(const struct fdb *fdb, uint32_t now_s, fdb_fn *fn, void *opaque);
uint32_t fdb_owned(struct fdb *fdb, uint16_t port); /* any thread */
void fdb_stats(const struct fdb *fdb, struct sw_fdb_stats *ret_stats); /* any thread */

/* What addresses of a VLAN need to be worked out: a copy, which the compiler can keep in registers for a burst. */
struct fdb_vlan {
	struct fdb_bucket *buckets;
	uint64_t seed; /* with the VLAN's part of the first product */
	unsigned shift;
};

static inline struct fdb_vlan fdb_vlan(const struct fdb *fdb, uint16_t vlan)
{
	return (struct fdb_vlan){
		.buckets = fdb->buckets, .seed = fdb->seed + ((uint64_t)vlan << 4) * SCRAMBLE_FIRST, .shift = fdb->shift};
}

static inline struct fdb_address fdb_address_in(const struct fdb_vlan *vlan, uint64_t mac)
{
	uint64_t scrambled = scramble(mac << 16, vlan->seed);
	uint64_t rest = scrambled << FDB_BITS_MIN;

	return (struct fdb_address){
		.mac = mac, .tag = rest | FDB_TAKEN_MASK, .first = &vlan->buckets[scrambled >> vlan->shift]};
}

static inline struct fdb_address fdb_address(const struct fdb *fdb, uint16_t vlan, uint64_t mac)
{
	struct fdb_vlan in = fdb_vlan(fdb, vlan);

	return fdb_address_in(&in, mac);
}

static inline void fdb_prefetch(const struct fdb_address *address)
{
	__builtin_prefetch(address->first);
}

/* From the number of either bucket of an address to that of the other one. They are never the same. */
static inline uint64_t fdb_other(const struct fdb *fdb, uint64_t bucket, uint64_t tag)
{
	return bucket ^ (tag * SCRAMBLE_SECOND >> fdb->shift | 1);
}

static inline struct fdb_bucket *fdb_second(const struct fdb *fdb, const struct fdb_address *address)
{
	return &fdb->buckets[fdb_other(fdb, (uint64_t)(address->first - fdb->buckets), address->tag)];
}

/*
 * What a bucket says of a tag: an entry's word and its tag differ in the port alone. Looks at all places, since which
 * one matches cannot be predicted: selecting is cheaper than jumping.
 */
static inline uint64_t fdb_bucket_port(const struct fdb_bucket *bucket, uint64_t tag)
{
	uint64_t least = UINT64_MAX;

#pragma GCC unroll 5
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		uint64_t rest = __atomic_load_n(&bucket->key[way], __ATOMIC_RELAXED) ^ tag;

		least = rest < least ? rest : least;
	}
	return least; /* above FDB_PORT_MASK: not there; a free place leaves FDB_TAKEN_MASK */
}

/* The port behind an address, or -1. Any thread. */
static inline int fdb_lookup(const struct fdb *fdb, const struct fdb_address *address)
{
	uint64_t port = fdb_bucket_port(address->first, address->tag);

	if (unlikely(port > FDB_PORT_MASK))
		port = fdb_bucket_port(fdb_second(fdb, address), address->tag | FDB_SECOND_MASK);
	return likely(port <= FDB_PORT_MASK) ? (int)port : -1;
}

/* Where a bucket has this key; FDB_WAYS: nowhere. */
static inline unsigned fdb_bucket_way(const struct fdb_bucket *bucket, uint64_t key)
{
	unsigned found = FDB_WAYS;

#pragma GCC unroll 5
	for (unsigned way = 0; way < FDB_WAYS; way++)
		found = __atomic_load_n(&bucket->key[way], __ATOMIC_RELAXED) == key ? way : found;
	return found;
}

/*
 * An address was seen on a port. False: that is news, call fdb_learn(). At most one store a second and
 * address; should the place change hands in between, then its new entry merely lives a little longer. A time before the one that
 * is known changes nothing.
 */
static inline bool fdb_saw(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct fdb_bucket *bucket = address->first;
	uint64_t key = address->tag | port;
	unsigned way = fdb_bucket_way(bucket, key);

	if (unlikely(way == FDB_WAYS)) {
		bucket = fdb_second(fdb, address);
		way = fdb_bucket_way(bucket, key | FDB_SECOND_MASK);
		if (unlikely(way == FDB_WAYS))
			return false;
	}
	if (unlikely((int32_t)(now_s - __atomic_load_n(&bucket->seen_s[way], __ATOMIC_RELAXED)) > 0))
		__atomic_store_n(&bucket->seen_s[way], now_s, __ATOMIC_RELAXED);
	return true;
}

#endif
