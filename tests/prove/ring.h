/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROVE_RING_H
#define PROVE_RING_H

/*
 * A ring whose memory is its driver's: whatever is read there may be something else each time. So le16(), le32() and le64(),
 * which the sources use for all that lies there, make sure that the bytes are there, and return anything.
 *
 * Stubs:
 *	map_gpa(), map_at()	promise what map.c has proved of the real ones, and no more: memory of any length, or none, another
 *				each time; no more regions in a row than `stretches_left`
 *	map_pieces()		the same for a range: up to PIECES_AT_ONCE pieces, none of them empty
 *	ring_map_take()		finds a new map once, or not at all
 *	memcpy()		makes sure that both sides are there
 * The sources are compiled in without AVX2, whose way quad_test.c holds against the plain one.
 */

#include "prove.h"
#include <errno.h>
#include <string.h>
#include "base/util.h"
#include "mem/map.h"
#include "wire/virtio_ring.h"

#define PIECES_AT_ONCE 2u
#define USABLE_MAX     (UINT64_C(1) << 33) /* longer than any descriptor */

static bool driver_is_quiet; /* what lies there is anything, and stays: for proofs that look at what we write there */

static uint16_t driver_u16(uint16_t seen)
{
	return driver_is_quiet ? seen : nondet_u16();
}

static uint32_t driver_u32(uint32_t seen)
{
	return driver_is_quiet ? seen : nondet_u32();
}

static uint64_t driver_u64(uint64_t seen)
{
	return driver_is_quiet ? seen : nondet_u64();
}

#define le16(seen) driver_u16(seen)
#define le32(seen) driver_u32(seen)
#define le64(seen) driver_u64(seen)

static uint8_t *guest; /* USABLE_MAX bytes: what is found somewhere in it ends where it ends */
static unsigned stretches_left; /* of map_at() */
static bool map_offered; /* once */

static void *stretch_of_map(uint64_t *ret_usable)
{
	uint64_t usable = nondet_u64();

	if (nondet_bool())
		return NULL;
	assume(usable >= 1 && usable <= USABLE_MAX);
	*ret_usable = usable;
	return guest + (USABLE_MAX - usable);
}

static void *next_stretch_of_map(uint64_t *ret_usable)
{
	if (!stretches_left)
		return NULL;
	stretches_left--;
	return stretch_of_map(ret_usable);
}

static int pieces_of_map(uint32_t len_bytes, struct iovec *iov, unsigned iov_max)
{
	unsigned count = nondet_u32();

	if (nondet_bool())
		return -EFAULT;
	if (nondet_bool())
		return -ENOBUFS;
	assume(count >= 1 && count <= iov_max && count <= PIECES_AT_ONCE);
	for (unsigned i = 0; i < count; i++) {
		uint32_t bytes = i + 1 < count ? nondet_u32() : len_bytes;

		assume(bytes >= 1 && bytes <= len_bytes);
		iov[i].iov_base = guest + (USABLE_MAX - bytes);
		iov[i].iov_len = bytes;
		len_bytes -= bytes;
	}
	return (int)count;
}

static void *copy_of(void *to, const void *from, size_t bytes)
{
	assert(__CPROVER_r_ok(from, bytes) && __CPROVER_w_ok(to, bytes));
	return to;
}

#define map_gpa(map, cache, gpa, ret_usable) stretch_of_map(ret_usable)
#define map_at(map, cache, gpa, write, ret_usable) next_stretch_of_map(ret_usable)
#define map_pieces(map, cache, gpa, len, write, iov, iov_max) pieces_of_map(len, iov, iov_max)
#define memcpy(to, from, bytes) copy_of(to, from, bytes)

#undef __x86_64__

/* The tool loses sight of a pointer in a union when another member beside it is written to. A ring is of one format. */
#define union struct
#include "ring/lay.c"
#undef union

static inline struct ring_desc desc_of_driver(const void *at)
{
	assert(__CPROVER_r_ok(at, sizeof(struct split_desc)));
	return (struct ring_desc){ nondet_u64(), nondet_u32(), nondet_u16(), nondet_u16() };
}

/*
 * What lay.c's proofs have shown of ring_table_read() and ring_lay(), and no more; but the pieces are in `iov` already. Who walks through
 * chains has these in place of what lay.h has, from before its source is compiled in. Of a table there is no entry
 * to be asked for that it does not have.
 */
static inline int table_promised(struct ring *ring, uint32_t index, uint32_t count, struct ring_desc *ret)
{
	assert(index < count);
	if (nondet_bool())
		return nondet_bool() ? ring_break(ring, "any reason") : -EFAULT;
	*ret = (struct ring_desc){ nondet_u64(), nondet_u32(), nondet_u16(), nondet_u16() };
	return 0;
}

static inline int lay_promised(struct ring *ring, struct ring_pieces *p, uint32_t len, bool writable)
{
	unsigned count = nondet_u32(), *counted = writable ? &p->writable_count : &p->readable_count;
	uint64_t *bytes = writable ? &p->writable_bytes : &p->readable_bytes;

	if (nondet_bool())
		return ring_break(ring, "any reason");
	if (nondet_bool())
		return nondet_bool() ? -EFAULT : -ENOBUFS;
	assert(p->room <= p->room_start && p->readable_count + p->writable_count == p->room_start - p->room);
	assume(count <= PIECES_AT_ONCE && count <= p->room && (count > 0) == (len > 0));
	p->writable_seen = p->writable_seen || writable;
	p->iov += count;
	p->room -= count;
	*counted += count;
	*bytes += len;
	return 0;
}

/* ---- what all of them begin and end with ---- */

/* Pieces of the guest's memory. */
static inline void any_pieces(struct iovec *iov, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		iov[i] = (struct iovec){ guest + (USABLE_MAX - 1), 1 };
}

/* The guest's memory, and a map with one region, or none: where the last payload was. */
static void any_memory(struct ring *ring)
{
	static struct map map;
	struct map *all;

	guest = any_bytes(USABLE_MAX);
	all = any_bytes(sizeof(map) + sizeof(map.regions[0]));

	all->count = nondet_bool();
	all->limited = 0;
	if (all->count) {
		all->regions[0].gpa = nondet_u64();
		all->regions[0].size_bytes = nondet_u64();
		assume(all->regions[0].size_bytes <= USABLE_MAX);
		all->regions[0].host = guest + (USABLE_MAX - all->regions[0].size_bytes);
	}
	ring->map = all;
	ring->buffers.last = nondet_u8(); /* maybe of a larger map */
}

/*
 * What a pop has said: `r` of `max` chains, with pieces from `iov` on, where there was room for `room`. Each has an id of the ring and its
 * pieces, and no others, behind those of the chain before. Returns how many there are.
 */
static unsigned look_at_popped(const struct ring *ring, int r, const struct vireo_chain *chains, unsigned max, const struct iovec *iov, unsigned room)
{
	unsigned pieces = 0;

	assert(r >= 0 ? r <= (int)max : r == -EPROTO || r == -ENOBUFS || r == -EFAULT);
	for (int i = 0; i < r; i++) {
		assert(chains[i].id < ring->size && chains[i].span >= 1 && chains[i].iov == iov + pieces);
		assert(chains[i].readable_count <= room - pieces);
		assert(chains[i].writable_count <= room - pieces - chains[i].readable_count);
		pieces += chains[i].readable_count + chains[i].writable_count;
	}
	return pieces;
}

bool ring_map_take(struct ring *ring)
{
	bool taken = map_offered && nondet_bool();

	map_offered = map_offered && !taken;
	return taken;
}

int ring_break(struct ring *ring, const char *why)
{
	ring->error = why;
	return -EPROTO;
}

int ring_look_note(struct ring *ring, uint64_t gpa, uint32_t len, bool write)
{
	return nondet_bool() ? 0 : -EFAULT;
}

#endif
