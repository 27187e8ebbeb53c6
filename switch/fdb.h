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
	uint32_t capacity, age_s;
	uint32_t ports_max;
	uint64_t seed;

	pthread_mutex_t lock __attribute__((aligned(64))); /* innermost: nothing else is taken inside */
	uint32_t *owned;   /* entries of each port; under lock */
	uint32_t sweep_at; /* next bucket to sweep; control thread */
	struct sw_fdb_stats stats; /* written under lock, read by anybody */
};

int fdb_new(uint32_t capacity, uint32_t age_s, uint32_t ports_max, struct fdb **ret_fdb); /* -ENOMEM */
void fdb_free(struct fdb *fdb); /* takes NULL */

/* Any worker. The slow half of fdb_saw(): inserts or moves. True: the table was empty before. */
bool fdb_learn(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s);

/* Control thread. */
void fdb_sweep(struct fdb *fdb, uint32_t now_s, uint32_t buckets_max); /* forgets what is too old */
void fdb_flush(struct fdb *fdb, int port); /* -1: all */
typedef void fdb_fn(void *opaque, uint64_t mac, uint16_t port, uint32_t age_s);
void fdb_each(const struct fdb *fdb, uint32_t now_s, fdb_fn *fn, void *opaque);
uint32_t fdb_owned(struct fdb *fdb, uint16_t port); /* any thread */
void fdb_stats(const struct fdb *fdb, struct sw_fdb_stats *ret_stats); /* any thread */

static inline uint64_t fdb_hash(const struct fdb *fdb, uint64_t mac)
{
	uint64_t h = (mac ^ fdb->seed) * 0x9e3779b97f4a7c15u;

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
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

static inline void fdb_prefetch(const struct fdb *fdb, uint64_t mac)
{
	__builtin_prefetch(fdb_first(fdb, fdb_hash(fdb, mac)));
}

/* Looks at all places, since which one matches cannot be predicted: selecting is cheaper than jumping. */
static inline uint64_t fdb_bucket_find(const struct fdb_bucket *bucket, uint64_t mac, unsigned *ret_way)
{
	uint64_t found = 0;
	unsigned found_way = 0;

#pragma GCC unroll 5
	for (unsigned way = 0; way < FDB_WAYS; way++) {
		uint64_t key = __atomic_load_n(&bucket->key[way], __ATOMIC_RELAXED);
		bool match = key >> 16 == mac; /* a free place matches address 0, and is 0 */

		found = match ? key : found;
		found_way = match ? way : found_way;
	}
	*ret_way = found_way;
	return found;
}

/* The key found for an address, and its place; 0: none. */
static inline uint64_t fdb_find(const struct fdb *fdb, uint64_t mac, struct fdb_bucket **ret_bucket,
				unsigned *ret_way)
{
	uint64_t hash = fdb_hash(fdb, mac);
	struct fdb_bucket *bucket = fdb_first(fdb, hash);
	uint64_t key = fdb_bucket_find(bucket, mac, ret_way);

	if (unlikely(!key)) {
		bucket = fdb_second(fdb, hash);
		key = fdb_bucket_find(bucket, mac, ret_way);
	}
	if (likely(key))
		*ret_bucket = bucket;
	return key;
}

/* The port behind an address, or -1. Any thread. */
static inline int fdb_lookup(const struct fdb *fdb, uint64_t mac)
{
	struct fdb_bucket *bucket;
	unsigned way;
	uint64_t key = fdb_find(fdb, mac, &bucket, &way);

	return likely(key) ? (int)(key & UINT16_MAX) : -1;
}

/*
 * An address was seen on a port. False: that is news, call fdb_learn(). At most one store a second and
 * address; should the place change hands in between, then its new entry merely lives a little longer.
 */
static inline bool fdb_saw(struct fdb *fdb, uint64_t mac, uint16_t port, uint32_t now_s)
{
	struct fdb_bucket *bucket;
	unsigned way;
	uint64_t key = fdb_find(fdb, mac, &bucket, &way);

	if (unlikely(key != (mac << 16 | port)))
		return false;
	if (unlikely(__atomic_load_n(&bucket->seen_s[way], __ATOMIC_RELAXED) != now_s))
		__atomic_store_n(&bucket->seen_s[way], now_s, __ATOMIC_RELAXED);
	return true;
}

#endif
