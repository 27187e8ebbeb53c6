/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The packed ring: from any state that the invariant of its places permits, with a driver that writes anything at any moment, the walk through
 * a chain, what gives one back, and what asks for kicks keep to the ring and to the indirect tables, end, and leave a state that the invariant
 * permits: no more descriptors are in flight than the ring has. A chain that is walked through has an id of the ring, no more descriptors
 * than are not in flight, and no more pieces than there is room for.
 * Bounds: rings of 1 to SIZE_MAX_ descriptors and indirect tables as long; ROOM pieces. Not IN_ORDER. Pops and pushes of several chains at
 * once are not among what is proved: fuzz_packed carries them out.
 */

#include "ring.h"

#define SIZE_MAX_ 4u
#define ROOM	  3u

#define ring_desc_read(at) desc_of_driver(at)
#define ring_table_read(ring, table, index, ret) table_promised(ring, ret)
#define ring_lay(ring, pieces, addr, len, writable) lay_promised(ring, pieces, len, writable)

#include "ring/packed.c"
#include "ring/packed_used.c"

/* From `from` on to `to`, as far as one lap goes. */
static uint32_t ahead(struct packed_place from, struct packed_place to, uint32_t size)
{
	return to.pos + (to.wrap == from.wrap ? 0 : size) - from.pos;
}

/* first <= used <= avail <= first + size, on a circle of two laps. */
static bool holds(const struct ring *ring)
{
	const struct packed_state *s = &ring->packed;

	return s->avail.pos < ring->size && s->used.pos < ring->size && s->first.pos < ring->size && s->in_flight <= ring->size &&
	       s->staged_span <= s->in_flight && ahead(s->first, s->used, ring->size) == s->staged_span &&
	       ahead(s->first, s->avail, ring->size) == s->in_flight;
}

static struct packed_place any_place(void)
{
	return (struct packed_place){ nondet_u16(), nondet_bool() };
}

static struct ring *any_ring(void)
{
	static struct ring one, *ring = &one;
	uint32_t size = nondet_u32();

	assume(size >= 1 && size <= SIZE_MAX_);
	ring->size = size;
	ring->is_packed = true;
	ring->indirect = nondet_bool();
	ring->event_idx = nondet_bool();
	ring->lazy = nondet_bool();
	ring->kick_on = nondet_bool();
	ring->buffers_writable = nondet_bool();
	ring->packed.desc = any_bytes(size * sizeof(struct packed_desc));
	ring->packed.driver = any_bytes(sizeof(struct packed_event));
	ring->packed.device = any_bytes(sizeof(struct packed_event));
	ring->packed.avail = any_place();
	ring->packed.used = any_place();
	ring->packed.first = any_place();
	ring->packed.armed = any_place();
	ring->packed.in_flight = nondet_u32();
	ring->packed.staged_span = nondet_u32();
	ring->packed.event_flags = nondet_u16();
	ring->outstanding = nondet_u32();
	assume(ring->outstanding <= size && holds(ring));
	any_memory(ring);
	stretches_left = 2;
	map_offered = true;
	return ring;
}

void prove_packed_chain(void)
{
	struct ring *ring = any_ring();
	struct vireo_chain chain;
	struct iovec iov[ROOM];
	unsigned room = nondet_u32();
	int r;

	assume(room <= ROOM);
	any_pieces(iov, ROOM);
	r = packed_chain(ring, &chain, iov, room);
	assert(r == 0 || r == 1 || r == -EPROTO || r == -ENOBUFS || r == -EFAULT);
	assert(r != -EPROTO || ring->error);
	assert(holds(ring));
	if (r != 1)
		return;
	assert(chain.id < ring->size && chain.span >= 1 && chain.span <= ring->size - ring->packed.in_flight && chain.iov == iov);
	assert(chain.readable_count <= room && chain.writable_count <= room - chain.readable_count);
	assert((uint64_t)chain.readable_bytes + chain.writable_bytes <= UINT32_MAX);
}

/* What a witness has copied: so many descriptors, and an indirect table only alone. */
void prove_packed_chain_owed(void)
{
	struct ring *ring = any_ring();
	struct ring_owed owed = { nondet_u16(), nondet_u16(), 0 };
	struct vireo_chain chain;
	struct iovec iov[ROOM];
	unsigned room = nondet_u32();

	assume(room <= ROOM && owed.id < ring->size && owed.span >= 1 && owed.span <= ring->size);
	any_pieces(iov, ROOM);
	if (packed_chain_owed(ring, any_bytes(owed.span * sizeof(struct packed_desc)), &owed, &chain, iov, room))
		return;
	assert(chain.id == owed.id && chain.span == owed.span);
	assert(chain.readable_count <= room && chain.writable_count <= room - chain.readable_count);
}

void prove_packed_unpop(void)
{
	struct ring *ring = any_ring();
	struct vireo_chain chain = { .span = nondet_u16() };

	assume(chain.span >= 1 && chain.span <= ring->packed.in_flight - ring->packed.staged_span);
	packed_unpop(ring, &chain, 1);
	assert(holds(ring));
}

void prove_packed_kicks(void)
{
	struct ring *ring = any_ring();

	packed_kick_enable(ring, nondet_bool());
	assert(holds(ring));
	assert(packed_available(ring) <= ring->size - ring->packed.in_flight);
}
