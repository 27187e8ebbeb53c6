/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FDB_H
#define SWITCH_FDB_H

/*
 * Forwarding database: address -> port. See fdb.c for the theory of operation.
 * Addresses are 48-bit numbers, first byte on top. Seconds are a 32-bit monotonic count, which may wrap.
 */

#include "base/util.h"
#include "switch/switch.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FDB_WAYS 5u

/* One cache line. A free place has key 0 (no address is zero). */
struct fdb_bucket {
	uint64_t key[FDB_WAYS]; /* address << 16 | port */
	uint32_t seen_s[FDB_WAYS];
	uint32_t unused;
} __attribute__((aligned(64)));

struct fdb {
	struct fdb_bucket *buckets; /* keys written under lock, read by anybody; seen_s by anybody */
	uint32_t bucket_count;
	void *map; /* where they lie in */
	size_t map_bytes;
	uint32_t capacity, age_s;
	uint32_t ports_max;
	uint64_t seed;

	pthread_mutex_t lock __attribute__((aligned(64))); /* innermost: nothing else is taken inside */
	uint32_t *owned;   /* entries of each port; under lock */
	bool *fixed;       /* of each port: its entries are fixed; written under lock, read by anybody */
	uint32_t fixed_entries; /* in all; written under lock, read by anybody */
	uint32_t sweep_at; /* next bucket to sweep; control thread */
	struct sw_fdb_stats stats; /* written under lock, read by anybody */
};

int fdb_new(uint32_t capacity, uint32_t age_s, uint32_t ports_max, struct fdb **ret_fdb); /* -ENOMEM */
void fdb_free(struct fdb *fdb); /* takes NULL */

enum fdb_news {
	FDB_LEARNED, /* or there was no room */
	FDB_FIRST,   /* learned, by a table in which nothing else is that has been learned */
	FDB_FOREIGN, /* not learned: the address is fixed to another port, or the port has fixed ones and this is none */
};

/* Any worker. The slow half of fdb_saw(): inserts or moves. */
enum fdb_news fdb_learn(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s);

/* Control thread. */
void fdb_sweep(struct fdb *fdb, uint32_t now_s, uint32_t buckets_max); /* forgets what is too old */
void fdb_flush(struct fdb *fdb, int port); /* what was learned; -1: all */
/*
 * Fixes an address to a port: until fdb_unfix() it is neither aged, evicted, moved nor flushed, and the port learns no
 * other. -EADDRINUSE: it is fixed to another port; -ENOSPC: the table has no room where it would have to be.
 */
int fdb_fix(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s);
void fdb_unfix(struct fdb *fdb, uint16_t port); /* forgets all of the port's */
bool fdb_ages(const struct fdb *fdb); /* any thread: there are entries that are not fixed */
typedef void fdb_fn(void *opaque, uint64_t mac, uint16_t port, uint32_t age_s, bool fixed);
void fdb_each(const struct fdb *fdb, uint32_t now_s, fdb_fn *fn, void *opaque);
uint32_t fdb_owned(struct fdb *fdb, uint16_t port); /* any thread */
void fdb_stats(const struct fdb *fdb, struct sw_fdb_stats *ret_stats); /* any thread */

__extension__ typedef unsigned __int128 fdb_wide;

/*
 * The first product lets each bit of the address reach all bits above it, the second, both halves of which count,
 * all of the hash. One alone leaves addresses that differ in their first bytes only in a few buckets.
 */
static inline uint64_t fdb_hash(const struct fdb *fdb, uint64_t mac)
{
	fdb_wide wide = (fdb_wide)(mac * 0xd6e8feb86659fd93u ^ fdb->seed) * 0x9e3779b97f4a7c15u;

	return (uint64_t)wide ^ (uint64_t)(wide >> 64);
}

/* The upper half of the hash names the first bucket, the lower half the second. */
static inline struct fdb_bucket *fdb_first(const struct fdb *fdb, uint64_t hash)
{
	return &fdb->buckets[(hash >> 32) * fdb->bucket_count >> 32];
}

static inline struct fdb_bucket *fdb_second(const struct fdb *fdb, uint64_t hash)
{
	return &fdb->buckets[(hash & UINT32_MAX) * fdb->bucket_count >> 32];
}

/* An address that will be looked up: its hash is worked out once. */
struct fdb_address {
	uint64_t mac, hash;
};

static inline struct fdb_address fdb_address(const struct fdb *fdb, uint64_t mac)
{
	return (struct fdb_address){.mac = mac, .hash = fdb_hash(fdb, mac)};
}

static inline void fdb_prefetch(const struct fdb *fdb, const struct fdb_address *address)
{
	__builtin_prefetch(fdb_first(fdb, address->hash));
}

/*
 * What a bucket says of an address: key and address differ in the port alone if they belong together. Looks at all
 * places, since which one matches cannot be predicted: selecting is cheaper than jumping.
 */
static inline uint64_t fdb_bucket_port(const struct fdb_bucket *bucket, uint64_t mac)
{
	uint64_t least = UINT64_MAX;

#pragma GCC unroll 5
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		uint64_t rest = __atomic_load_n(&bucket->key[way], __ATOMIC_RELAXED) ^ mac << 16;

		least = rest < least ? rest : least;
	}
	return least; /* above UINT16_MAX: not there. (A free place leaves the address, which is not zero.) */
}

/* The port behind an address, or -1. Any thread. */
static inline int fdb_lookup(const struct fdb *fdb, const struct fdb_address *address)
{
	uint64_t port = fdb_bucket_port(fdb_first(fdb, address->hash), address->mac);

	if (unlikely(port > UINT16_MAX))
		port = fdb_bucket_port(fdb_second(fdb, address->hash), address->mac);
	return likely(port <= UINT16_MAX) && likely(address->mac) ? (int)port : -1;
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
 * address; should the place change hands in between, then its new entry merely lives a little longer.
 */
static inline bool fdb_saw(struct fdb *fdb, const struct fdb_address *address, uint16_t port, uint32_t now_s)
{
	struct fdb_bucket *bucket = fdb_first(fdb, address->hash);
	uint64_t key = address->mac << 16 | port;
	unsigned way = fdb_bucket_way(bucket, key);

	if (unlikely(way == FDB_WAYS)) {
		bucket = fdb_second(fdb, address->hash);
		way = fdb_bucket_way(bucket, key);
		if (unlikely(way == FDB_WAYS))
			return false;
	}
	if (unlikely(__atomic_load_n(&bucket->seen_s[way], __ATOMIC_RELAXED) != now_s))
		__atomic_store_n(&bucket->seen_s[way], now_s, __ATOMIC_RELAXED);
	return true;
}

#endif
