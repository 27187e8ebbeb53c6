/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The split ring's positions: from any state that their invariant permits, with a driver that writes anything at any moment, each call but
 * pop keeps to the three areas, ends, and leaves a state that the invariant permits: what is available is never more than the ring holds,
 * nothing is shown that has not been popped, and used entries that the driver does not know of yet are not written over. And an entry of an
 * indirect table that lies in many regions is read inside them.
 * Bounds: rings of up to SIZE_MAX_ descriptors; POP chains a call. Not IN_ORDER. The walk through a driver's chains is not among
 * what is proved: fuzz_split and fuzz_packed walk them.
 */

#include "ring.h"

#define SIZE_MAX_ 4u
#define POP	  2u

void prove_table_read(void)
{
	struct ring ring = { 0 };
	struct ring_desc desc;
	int r;

	any_memory(&ring);
	ring.lazy = nondet_bool();
	stretches_left = 2 * sizeof(struct split_desc);
	map_offered = true;
	r = ring_table_read(&ring, nondet_u64(), nondet_u32(), &desc);
	assert(r == 0 || r == -EPROTO || r == -EFAULT);
}

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

void prove_split_complete(void)
{
	struct ring *ring = any_ring();
	struct vireo_chain chains[POP];
	uint32_t written[POP];
	unsigned count = nondet_u32();

	assume(count <= POP && count <= ring->outstanding);
	for (unsigned i = 0; i < POP; i++) {
		chains[i].id = nondet_u16();
		chains[i].writable_bytes = nondet_u32();
		written[i] = nondet_u32();
		assume(written[i] <= chains[i].writable_bytes);
	}
	ring->outstanding -= count; /* as ring_push() and ring_unpop() do */
	if (nondet_bool())
		split_push(ring, chains, nondet_bool() ? written : NULL, count);
	else
		split_unpop(ring, count);
	assert(holds(ring));
	split_publish(ring);
	assert(holds(ring) && ring->split.published == ring->split.next_used);
}

void prove_split_kicks(void)
{
	struct ring *ring = any_ring();

	split_kick_enable(ring, nondet_bool());
	assert(holds(ring));
	split_available(ring);
	assert(holds(ring));
}
