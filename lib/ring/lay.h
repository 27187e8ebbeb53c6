/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_LAY_H
#define RING_LAY_H

/* The reading of descriptors, and the laying of a chain's pieces: the usual way; the slow one is in lay.c. */

#include "ring/ring_internal.h"

/* A descriptor as it was read: 16 bytes, two loads, each done once. Fields in host order. */
struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t mid; /* split: flags; packed: id */
	uint16_t tail; /* split: next; packed: flags */
};

/* The pieces of one chain while it is being laid out. */
struct ring_pieces {
	struct iovec *iov; /* where the next piece goes */
	unsigned room; /* pieces that still fit */
	unsigned room_start;
	unsigned readable_count, writable_count;
	uint64_t readable_bytes, writable_bytes;
	unsigned empty_count; /* descriptors of length 0: no piece, but work */
	bool writable_seen;
};

/* lay.c: the slow parts. */

/* A descriptor that is empty, or does not lie in one region. 0, -EPROTO, -ENOBUFS, -EFAULT. */
int ring_lay_slowly(struct ring *ring, struct ring_pieces *p, uint64_t addr, uint32_t len, bool writable);
int ring_no_room(struct ring *ring, const struct ring_pieces *p);

/* Entry `index` of an indirect table that does not lie in one region. 0, -EPROTO, -EFAULT. */
int ring_table_read(struct ring *ring, uint64_t table, uint32_t index, struct ring_desc *ret);

/* Checks the descriptor that names an indirect table: 0 and how many entries it has, or -EPROTO. */
int ring_table_check(struct ring *ring, uint32_t len_bytes, uint32_t *ret_count);

/*
 * The volatile accesses make the compiler load each half exactly once; what is checked later is this copy.
 * Tables may lie at any address, hence the unaligned type.
 */
typedef uint64_t ring_u64_unaligned __attribute__((aligned(1), may_alias));

static inline struct ring_desc ring_desc_read(const void *at)
{
	const volatile ring_u64_unaligned *words = at;
	uint64_t addr = le64(words[0]), rest = le64(words[1]);

	return (struct ring_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.mid = (uint16_t)(rest >> 32),
		.tail = (uint16_t)(rest >> 48),
	};
}

/* It may lie behind the region's end: an address, and no pointer. */
static inline const void *ring_next_line(const void *at)
{
	return (const void *)((uintptr_t)at + CACHE_LINE_BYTES);
}

/*
 * A chain's first lines: whoever popped it looks at its header, or writes one. Asked for as early as the address is
 * known, so that those of a burst come in together.
 */
static inline void ring_fetch_start(const void *start, bool writable, bool is_packed)
{
	if (writable) {
		prefetch_write(start);
		if (!is_packed) /* there it costs more than it brings: measured */
			prefetch_write(ring_next_line(start));
	} else {
		__builtin_prefetch(start);
		__builtin_prefetch(ring_next_line(start));
	}
}

/* A region that something was found in last, in registers for as long as a burst lasts. Empty if there is none. */
struct ring_window {
	uint64_t gpa, size_bytes;
	uint8_t *host;
	bool is_packed;
};

static inline struct ring_window ring_window_at(const struct ring *ring, const struct map_cache *cache)
{
	const struct map_region *r = ring->map->regions;

	if (unlikely(cache->last >= ring->map->count))
		return (struct ring_window){0};
	r += cache->last;
	return (struct ring_window){
		.gpa = r->gpa, .size_bytes = r->size_bytes, .host = r->host, .is_packed = ring->is_packed
	};
}

/* Payload's. The ring's own cache goes on from it: take it anew after whatever may have moved that. */
static inline struct ring_window ring_window_of(const struct ring *ring)
{
	return ring_window_at(ring, &ring->buffers);
}

/* Indirect tables that are asked for before the first is read: see ring_table_fetch(). */
#define TABLES_FETCH_MAX 32u

/*
 * Asks for the first line of an indirect table, if it lies in the region that one was found in last. Those of a burst are asked for before the
 * first is read, so that they come in together: each has been written by another CPU. What the ring and its descriptors say is only a
 * hint then, and is read again. But the driver chooses the address: what is not its memory is not touched even by that.
 */
static inline void ring_table_fetch(const struct ring_window *tables, uint64_t gpa)
{
	uint64_t offset = gpa - tables->gpa;

	if (likely(offset < tables->size_bytes))
		__builtin_prefetch(tables->host + offset);
}

/* Two neighbouring words of 32 bits, zero but for one of them, in one store and without a jump. */
static inline void ring_store_one_of_two(uint32_t *first, bool second, uint32_t value)
{
	bool high = second == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
	uint64_t both = (uint64_t)value << (high ? 32 : 0);

	__builtin_memcpy(first, &both, sizeof(both));
}

_Static_assert(offsetof(struct vireo_chain, writable_count) == offsetof(struct vireo_chain, readable_count) + 4 &&
		       offsetof(struct vireo_chain, writable_bytes) == offsetof(struct vireo_chain, readable_bytes) + 4,
	       "ring_store_one_of_two() writes both");

/*
 * The usual chain: one direct descriptor that lies in the window. True: laid. False: nothing has been done, take
 * the long way, which also says what is wrong if something is.
 */
static inline bool ring_lay_single(const struct ring_window *window, uint64_t addr, uint32_t len, bool writable,
				   uint16_t id, struct vireo_chain *chain, struct iovec *iov)
{
	uint64_t offset = addr - window->gpa;

	/* An empty one has no last byte: it is huge here. */
	if (unlikely(offset >= window->size_bytes || (uint64_t)len - 1 >= window->size_bytes - offset))
		return false;
	*iov = (struct iovec){ .iov_base = window->host + offset, .iov_len = len };
	ring_fetch_start(window->host + offset, writable, window->is_packed);
	chain->iov = iov;
	ring_store_one_of_two(&chain->readable_count, writable, 1);
	ring_store_one_of_two(&chain->readable_bytes, writable, len);
	chain->id = id;
	chain->span = 1;
	return true;
}

static inline struct ring_pieces ring_pieces_of(struct iovec *iov, unsigned room)
{
	return (struct ring_pieces){ .iov = iov, .room = room, .room_start = room };
}

/* Lays one buffer descriptor. 0, -EPROTO (the ring is broken now), -ENOBUFS, -EFAULT (see ring_setup.lazy). */
static inline int ring_lay(struct ring *ring, struct ring_pieces *p, uint64_t addr, uint32_t len,
			   bool writable)
{
	uint64_t usable;
	void *host;

	if (writable)
		p->writable_seen = true;
	else if (unlikely(p->writable_seen))
		return ring_break(ring, "readable descriptor after a writable one");
	host = map_gpa(ring->map, &ring->buffers, addr, &usable);
	if (unlikely(!host || usable < len || !len))
		return ring_lay_slowly(ring, p, addr, len, writable);
	if (unlikely(!p->room))
		return ring_no_room(ring, p);
	p->room--;
	*p->iov++ = (struct iovec){ .iov_base = host, .iov_len = len };
	if (writable) {
		p->writable_count++;
		p->writable_bytes += len;
	} else {
		p->readable_count++;
		p->readable_bytes += len;
	}
	return 0;
}

/* All pieces are laid: fills in the chain, or -EPROTO. */
static inline int ring_pieces_finish(struct ring *ring, const struct ring_pieces *p, struct iovec *iov,
				     struct vireo_chain *chain)
{
	if (unlikely(p->readable_bytes + p->writable_bytes > UINT32_MAX))
		return ring_break(ring, "chain longer than 2^32 - 1 bytes");
	chain->iov = iov;
	chain->readable_count = p->readable_count;
	chain->writable_count = p->writable_count;
	chain->readable_bytes = (uint32_t)p->readable_bytes;
	chain->writable_bytes = (uint32_t)p->writable_bytes;
	if (likely(p->room < p->room_start))
		ring_fetch_start(iov->iov_base, !p->readable_count, ring->is_packed);
	return 0;
}

#endif
