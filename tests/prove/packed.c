/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The packed ring: from any state that the invariant of its places permits, with a driver that writes anything at any moment, each call keeps
 * to the ring and to the indirect tables, ends, and leaves a state that the invariant permits: no more descriptors are in flight than the ring
 * has, and no more are shown than have been pushed. A chain that is popped has an id of the ring, no more descriptors than are not in
 * flight, and its pieces, and no others, behind those of the chain before. One that is completed has one used entry, where the chain
 * completed before it ended, the first of a burst not before it is published, and no other descriptor changes.
 * Bounds: rings of 1 to SIZE_MAX_ descriptors (for what completes: 2 and 3) and indirect tables as long; POP chains a call,
 * and a burst; ROOM pieces. Not IN_ORDER, and not a ring that merely looks ahead (`look`, absent.c).
 */

#include "ring.h"

#define SIZE_MAX_ 4u
#define POP	  2u
#define ROOM	  3u

#define ring_desc_read(at) desc_of_driver(at)
#define ring_table_read(ring, table, index, ret) table_promised(ring, index, count, ret) /* `count`: of the walk */
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

static struct ring *any_ring_of(uint32_t size, struct packed_desc *descs)
{
	static struct ring one, *ring = &one;

	ring->size = size;
	ring->is_packed = true;
	ring->indirect = nondet_bool();
	ring->event_idx = nondet_bool();
	ring->lazy = nondet_bool();
	ring->kick_on = nondet_bool();
	ring->buffers_writable = nondet_bool();
	ring->packed.desc = descs ? descs : any_bytes(size * sizeof(struct packed_desc));
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

static struct ring *any_ring(void)
{
	uint32_t size = nondet_u32();

	assume(size >= 1 && size <= SIZE_MAX_);
	return any_ring_of(size, NULL);
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

void prove_packed_pop(void)
{
	struct ring *ring = any_ring();
	unsigned max = nondet_u32(), room = nondet_u32();
	uint32_t outstanding = ring->outstanding, span = 0, free_before = ring->size - ring->packed.in_flight;
	struct vireo_chain chains[POP];
	struct iovec iov[ROOM];
	int r;

	assume(max <= POP && room <= ROOM);
	any_pieces(iov, ROOM);
	r = packed_pop(ring, chains, max, iov, room);
	assert(holds(ring));
	look_at_popped(ring, r, chains, max, iov, room);
	assert(ring->outstanding == outstanding + (uint32_t)(r > 0 ? r : 0));
	for (int i = 0; i < r; i++)
		span += chains[i].span;
	assert(span == free_before - (ring->size - ring->packed.in_flight));
}

static bool entry_is(const struct packed_desc *desc, const struct vireo_chain *chain, bool wrap)
{
	return desc->id == chain->id && !packed_is_available(desc->flags, wrap) &&
	       !(desc->flags & PACKED_DESC_AVAIL_MASK) == !(desc->flags & PACKED_DESC_USED_MASK) && !(desc->flags & PACKED_DESC_USED_MASK) == !wrap;
}

/* `descs`: `size` of them, and nothing behind. */
static void complete(uint32_t size, struct packed_desc *descs)
{
	struct packed_desc before[SIZE_MAX_];
	struct ring *ring = any_ring_of(size, descs);
	struct packed_state *s = &ring->packed;
	struct packed_place at = s->used;
	struct vireo_chain chains[POP];
	uint32_t written[POP], span = 0;
	bool changed[SIZE_MAX_] = { false }, with_lengths = nondet_bool();
	unsigned count = nondet_u32(), first = nondet_u32(); /* of a burst, and of its first push */

	assume(count >= 1 && count <= POP && first >= 1 && first <= count && !s->staged_span);
	for (unsigned i = 0; i < size; i++)
		before[i] = descs[i];
	for (unsigned i = 0; i < POP; i++) {
		chains[i].id = nondet_u16();
		chains[i].span = nondet_u16();
		chains[i].writable_bytes = nondet_u32();
		written[i] = nondet_u32();
		assume(written[i] <= chains[i].writable_bytes && chains[i].span >= 1 && chains[i].span <= size);
		span += i < count ? chains[i].span : 0;
	}
	assume(span <= s->in_flight);
	driver_is_quiet = true;
	packed_push(ring, chains, with_lengths ? written : NULL, first);
	if (count > first)
		packed_push(ring, chains + first, with_lengths ? written + first : NULL, count - first);
	assert(holds(ring) && s->staged_span == span);
	assert(descs[at.pos].flags == before[at.pos].flags); /* the driver sees nothing yet */
	packed_publish(ring);
	assert(holds(ring) && !s->staged_span);
	for (unsigned i = 0; i < count; i++) {
		assert(entry_is(&descs[at.pos], &chains[i], at.wrap) && !changed[at.pos]);
		changed[at.pos] = true;
		at = place_forward(at, chains[i].span, size);
	}
	for (unsigned i = 0; i < size; i++)
		assert(changed[i] || (descs[i].id == before[i].id && descs[i].flags == before[i].flags && descs[i].len == before[i].len));
}

void prove_packed_complete(void)
{
	struct packed_desc descs[3];

	complete(ARRAY_SIZE(descs), descs);
}

void prove_packed_complete_two(void)
{
	struct packed_desc descs[2];

	complete(ARRAY_SIZE(descs), descs);
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
