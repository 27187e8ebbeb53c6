/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_LIMIT_RING_H
#define BENCH_LIMIT_RING_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A ring between one producer and one consumer, with as little in it as there can be: 16 bytes a frame, one
 * counter each way, published every RING_PUBLISH entries. Both sides keep private copies of what they may not
 * read each time.
 */

#define RING_ENTRIES 1024u
#define RING_PUBLISH 32u

struct ring_entry {
	uint64_t offset; /* of the buffer in the producer's memory */
	uint32_t bytes;
	uint32_t unused;
};

struct ring {
	struct ring_entry entries[RING_ENTRIES];
	/* Entries ever made available, by the producer, and used, by the consumer; a cache line pair each. */
	_Alignas(128) uint64_t available;
	_Alignas(128) uint64_t used;
};

static inline uint64_t ring_available(const struct ring *ring)
{
	return __atomic_load_n(&ring->available, __ATOMIC_ACQUIRE);
}

static inline uint64_t ring_used(const struct ring *ring)
{
	return __atomic_load_n(&ring->used, __ATOMIC_ACQUIRE);
}

static inline void ring_publish(struct ring *ring, uint64_t available)
{
	__atomic_store_n(&ring->available, available, __ATOMIC_RELEASE);
}

static inline void ring_complete(struct ring *ring, uint64_t used)
{
	__atomic_store_n(&ring->used, used, __ATOMIC_RELEASE);
}

static inline struct ring_entry *ring_at(struct ring *ring, uint64_t position)
{
	return &ring->entries[position % RING_ENTRIES];
}

#endif
