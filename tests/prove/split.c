/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The split ring: from any state that the invariant of its positions permits, with a driver that writes anything at any moment, each call
 * keeps to the three areas and to the indirect tables, ends, and leaves a state that the invariant permits: what is available is never more
 * than the ring holds, nothing is shown that has not been popped, and used entries that the driver does not know of yet are not written over.
 * A chain that is popped names a descriptor of the ring and has its pieces, and no others, behind those of the chain before; one that is
 * completed has one used entry, and no other entry changes.
 * Bounds: rings of up to SIZE_MAX_ descriptors and indirect tables as long; POP chains a call; ROOM pieces. Not IN_ORDER, and not a ring that merely looks
 * ahead (`look`, absent.c).
 */

#include "ring.h"

#define SIZE_MAX_ 4u
#define POP	  2u
#define ROOM	  3u

#define ring_desc_read(at) desc_of_driver(at)
#define ring_table_read(ring, table, index, ret) table_promised(ring, index, count, ret) /* `count`: of the walk */
#define ring_lay(ring, pieces, addr, len, writable) lay_promised(ring, pieces, len, writable)

#include "ring/split.c"

/* published <= next_used <= next_avail <= fetched, avail_seen <= published + size, all on a circle. */
static bool holds(const struct ring *ring)
{
	const struct split_state *s = &ring->split;
	uint16_t used = (uint16_t)(s->next_used - s->published), avail = (uint16_t)(s->next_avail - s->published);
	uint16_t fetched = (uint16_t)(s->fetched - s->published), seen = (uint16_t)(s->avail_seen - s->published);

	return used <= avail && avail <= fetched && avail <= seen && fetched <= ring->size && seen <= ring->size &&
	       ring->outstanding == (uint32_t)(avail - used);
}

static struct ring *any_ring(void)
{
	static struct ring one, *ring = &one;
	uint32_t size = 1u << (nondet_u8() & 3);

	assume(size <= SIZE_MAX_);
	ring->size = size;
	ring->indirect = nondet_bool();
	ring->event_idx = nondet_bool();
	ring->lazy = nondet_bool();
	ring->kick_on = nondet_bool();
	ring->buffers_writable = nondet_bool();
	ring->split.desc = any_bytes(split_desc_bytes(size));
	ring->split.avail = any_bytes(split_avail_bytes(size));
	ring->split.used = any_bytes(split_used_bytes(size));
	ring->split.next_avail = nondet_u16();
	ring->split.avail_seen = nondet_u16();
	ring->split.fetched = nondet_u16();
	ring->split.next_used = nondet_u16();
	ring->split.published = nondet_u16();
	ring->split.armed = nondet_u16();
	ring->outstanding = nondet_u32();
	assume(holds(ring));
	any_memory(ring);
	stretches_left = 2;
	map_offered = true;
	return ring;
}

/* Any head, or one that a witness has seen. */
void prove_split_chain(void)
{
	struct ring *ring = any_ring();
	struct iovec iov[ROOM];
	struct vireo_chain chain;
	unsigned room = nondet_u32();
	uint16_t head = nondet_u16();
	int r;

	assume(room <= ROOM && head < ring->size);
	any_pieces(iov, ROOM);
	r = split_chain_at(ring, head, &chain, iov, room);
	assert(r == 0 || r == -EPROTO || r == -ENOBUFS || r == -EFAULT);
	assert(r != -EPROTO || ring->error);
	if (r)
		return;
	assert(chain.id == head && chain.span == 1 && chain.iov == iov);
	assert(chain.readable_count <= room && chain.writable_count <= room - chain.readable_count);
	assert((uint64_t)chain.readable_bytes + chain.writable_bytes <= UINT32_MAX);
	assert(holds(ring));
}

void prove_split_pop(void)
{
	struct ring *ring = any_ring();
	unsigned max = nondet_u32(), room = nondet_u32(), pieces;
	uint16_t next_avail = ring->split.next_avail;
	uint32_t outstanding = ring->outstanding;
	struct vireo_chain chains[POP];
	struct iovec iov[ROOM];
	int r;

	assume(max <= POP && room <= ROOM);
	any_pieces(iov, ROOM);
	r = split_pop(ring, chains, max, iov, room);
	assert(holds(ring));
	pieces = look_at_popped(ring, r, chains, max, iov, room);
	assert(ring->split.next_avail == (uint16_t)(next_avail + (r > 0 ? r : 0)));
	assert(ring->outstanding == outstanding + (uint32_t)(r > 0 ? r : 0));
	for (int i = 0; i < r; i++)
		assert(chains[i].span == 1);
	for (unsigned i = 0; i < pieces; i++)
		assert(__CPROVER_rw_ok(iov[i].iov_base, iov[i].iov_len));
}

void prove_split_complete(void)
{
	struct ring *ring = any_ring();
	struct vireo_chain chains[POP];
	struct split_used_elem before[SIZE_MAX_], *entries = ring->split.used->ring;
	uint32_t written[POP], slot = ring->split.next_used & (ring->size - 1);
	bool with_lengths = nondet_bool(), push = nondet_bool();
	unsigned count = nondet_u32();

	assume(count <= POP && count <= ring->outstanding);
	for (unsigned i = 0; i < ring->size; i++)
		before[i] = entries[i];
	for (unsigned i = 0; i < POP; i++) {
		chains[i].id = nondet_u16();
		chains[i].writable_bytes = nondet_u32();
		written[i] = nondet_u32();
		assume(written[i] <= chains[i].writable_bytes);
	}
	driver_is_quiet = true;
	ring->outstanding -= count; /* as ring_push() and ring_unpop() do */
	if (push)
		split_push(ring, chains, with_lengths ? written : NULL, count);
	else
		split_unpop(ring, count);
	assert(holds(ring));
	split_publish(ring);
	assert(holds(ring) && ring->split.published == ring->split.next_used && ring->split.used->idx == ring->split.published);
	for (uint32_t i = 0; i < ring->size; i++) {
		uint32_t nth = (i - slot) & (ring->size - 1);

		if (push && nth < count)
			assert(entries[i].id == chains[nth].id && entries[i].len == (with_lengths ? written[nth] : 0));
		else
			assert(entries[i].id == before[i].id && entries[i].len == before[i].len);
	}
}

void prove_split_kicks(void)
{
	struct ring *ring = any_ring();

	split_kick_enable(ring, nondet_bool());
	assert(holds(ring));
	split_available(ring);
	assert(holds(ring));
}
