/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The ring's side of witness.h: what a ring that has a witness does beside split.c and packed.c, for both formats.
 *
 *	held back	completions that were pushed, until publish writes them into the ring: `staged` of them, `span` descriptors
 *	owed		chains that `begin` has named. The ring counts them as popped from the beginning, and hands them out
 *			before any other; its place for available chains is behind them. What is given back is what was
 *			popped last: others first, of which no more than the ring's length can be out
 */

#include "ring/ring_internal.h"
#include "base/util.h"
#include <stdlib.h>

#define WRITE_STEP	 32u
#define PACKED_USED_MASK (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK)

/* ---- calls to the witness ---- */

static void tell_popped(struct ring *ring, uint32_t place, const struct vireo_chain *chains, unsigned count)
{
	const struct ring_witness *w = &ring->witness;

	if (w->ops->popped)
		w->ops->popped(w->self, ring, place, chains, count);
	witness_order();
}

static void tell_showing(struct ring *ring, const struct ring_burst *burst)
{
	const struct ring_witness *w = &ring->witness;

	witness_order();
	if (w->ops->showing)
		w->ops->showing(w->self, ring, burst);
	witness_order();
}

static void tell_shown(struct ring *ring, const struct ring_burst *burst)
{
	const struct ring_witness *w = &ring->witness;

	witness_order();
	if (w->ops->shown)
		w->ops->shown(w->self, ring, burst);
}

/* ---- places ---- */

static uint32_t avail_place(const struct ring *ring)
{
	return ring->is_packed ? place_encode(ring->packed.avail) : ring->split.next_avail;
}

static uint32_t used_place(const struct ring *ring)
{
	return ring->is_packed ? place_encode(ring->packed.used) : ring->split.next_used;
}

static struct ring_burst burst_of(const struct ring *ring, const struct ring_completion *completions, unsigned count)
{
	struct ring_burst burst = { .completions = completions, .count = count };
	uint32_t span = 0;

	if (!ring->is_packed) {
		burst.place = ring->split.next_used;
		burst.place_after = (uint16_t)(burst.place + count);
		return burst;
	}
	for (unsigned i = 0; i < count; i++)
		span += completions[i].span;
	burst.place = place_encode(ring->packed.used);
	burst.place_after = place_encode(place_forward(ring->packed.used, span, ring->size));
	return burst;
}

/* A chain that a predecessor popped is in flight: as if it had been popped here. */
static void avail_pass(struct ring *ring, uint16_t id, uint32_t span)
{
	struct packed_state *p = &ring->packed;
	struct split_state *s = &ring->split;

	if (ring->in_order)
		ring->order[ring->is_packed ? p->avail.pos : s->next_avail & (ring->size - 1)] = id;
	if (ring->is_packed) {
		p->in_flight += span;
		p->avail = place_forward(p->avail, span, ring->size);
		assert(p->in_flight <= ring->size);
	} else {
		s->next_avail = s->avail_seen = s->fetched = (uint16_t)(s->next_avail + 1);
	}
}

/* ---- held back ---- */

static void completions_write(struct ring *ring, const struct ring_completion *completions, unsigned count)
{
	for (unsigned done = 0, step; done < count; done += step) {
		struct vireo_chain chains[WRITE_STEP];
		uint32_t written[WRITE_STEP];

		step = min_u32(count - done, WRITE_STEP);
		for (unsigned i = 0; i < step; i++) {
			const struct ring_completion *c = &completions[done + i];

			written[i] = c->written_bytes;
			chains[i] = (struct vireo_chain){
				.id = c->id, .span = c->span, .writable_bytes = c->writable ? UINT32_MAX : 0
			};
		}
		if (ring->is_packed)
			packed_push(ring, chains, written, step);
		else
			split_push(ring, chains, written, step);
	}
}

static bool burst_show(struct ring *ring, const struct ring_burst *burst)
{
	bool passed;

	completions_write(ring, burst->completions, burst->count);
	passed = (ring->is_packed ? packed_publish(ring) : split_publish(ring)) == RING_SIGNAL;
	ring->merge = ring->in_order;
	tell_shown(ring, burst);
	return passed;
}

void witness_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count)
{
	const struct ring_witness *w = &ring->witness;
	struct ring_completion *held = ring->held + ring->staged;

	assert(ring->staged + count <= ring->size);
	if (w->ops->pushed)
		w->ops->pushed(w->self, ring, chains, written_bytes, count);
	for (unsigned i = 0; i < count; i++)
		held[i] = (struct ring_completion){
			.written_bytes = ring_written(chains, written_bytes, i),
			.id = chains[i].id,
			.span = chains[i].span,
			.writable = chains[i].writable_bytes != 0,
		};
	ring->staged += count;
}

bool witness_publish(struct ring *ring)
{
	struct ring_burst burst = burst_of(ring, ring->held, ring->staged);
	bool passed;

	tell_showing(ring, &burst);
	passed = burst_show(ring, &burst);
	ring->staged = 0;
	return passed;
}

/* ---- pop ---- */

static int owed_lay(struct ring *ring, const struct ring_owed *owed, struct vireo_chain *chain, struct iovec *iov,
		    unsigned room)
{
	return ring->is_packed ? packed_chain_owed(ring, ring->owed_descs + owed->first, owed, chain, iov, room)
			       : split_chain_owed(ring, owed->id, chain, iov, room);
}

static int owed_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov, unsigned iov_max)
{
	unsigned done = 0;

	while (done < max && ring->owed_next < ring->owed_count) {
		unsigned pieces;
		int err = owed_lay(ring, &ring->owed[ring->owed_next], &chains[done], iov, iov_max);

		if (err)
			return done ? (int)done : err;
		pieces = chains[done].readable_count + chains[done].writable_count;
		iov += pieces;
		iov_max -= pieces;
		ring->owed_next++;
		ring->outstanding++;
		done++;
	}
	return (int)done;
}

int witness_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov, unsigned iov_max)
{
	uint32_t place = avail_place(ring);
	int done;

	if (witness_owes(ring))
		return owed_pop(ring, chains, max, iov, iov_max);
	done = ring->is_packed ? packed_pop(ring, chains, max, iov, iov_max) : split_pop(ring, chains, max, iov, iov_max);
	if (done <= 0)
		return done;
	if (ring->owed_next)
		ring->popped_since = min_u32(ring->popped_since + (unsigned)done, ring->size);
	tell_popped(ring, place, chains, (unsigned)done);
	return done;
}

unsigned witness_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	const struct ring_witness *w = &ring->witness;
	unsigned back = 0;

	if (ring->owed_next) { /* the last ones popped */
		back = count - min_u32(count, ring->popped_since);
		assert(back <= ring->owed_next);
		ring->owed_next -= back;
		ring->popped_since -= count - back;
	}
	if (w->ops->unpopped && count > back)
		w->ops->unpopped(w->self, ring, chains + back, count - back);
	return back;
}

/* ---- the beginning ---- */

const char *witness_begin(const struct ring_setup *setup, struct ring_stand *stand)
{
	const struct ring_witness *w = &setup->witness;

	return w->ops && w->ops->begin ? w->ops->begin(w->self, setup, stand) : NULL;
}

/* It has been told that the burst will be shown. */
static void burst_redo(struct ring *ring, const struct ring_completion *completions, unsigned count)
{
	struct ring_burst burst = burst_of(ring, completions, count);

	for (unsigned i = 0; i < count; i++)
		avail_pass(ring, completions[i].id, completions[i].span);
	burst_show(ring, &burst);
}

static void tell_stands(struct ring *ring)
{
	const struct ring_witness *w = &ring->witness;

	if (w->ops && w->ops->stands)
		w->ops->stands(w->self, ring, used_place(ring));
	witness_order();
}

/*
 * A burst that was not shown may have been written all the same, but for its first entry. The driver would find the others behind
 * the first burst that is shown now.
 */
static void unshown_take_back(struct ring *ring)
{
	struct packed_place at = ring->packed.used;

	for (uint32_t i = 1; i < ring->packed.in_flight; i++) {
		uint16_t *flags;

		at = place_forward(at, 1, ring->size);
		flags = &ring->packed.desc[at.pos].flags;
		if ((le16(__atomic_load_n(flags, __ATOMIC_RELAXED)) & PACKED_USED_MASK) == packed_used_flags(at.wrap, 0))
			__atomic_store_n(flags, le16(at.wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK), __ATOMIC_RELAXED);
	}
}

void witness_start(struct ring *ring, const struct ring_stand *stand)
{
	tell_stands(ring);
	ring->owed = stand->owed;
	ring->owed_descs = stand->owed_descs;
	ring->owed_count = stand->owed_count;
	if (stand->redo_count)
		burst_redo(ring, stand->redo, stand->redo_count);
	for (unsigned i = 0; i < ring->owed_count; i++)
		avail_pass(ring, ring->owed[i].id, ring->owed[i].span);
	if (ring->is_packed && ring->owed_count)
		unshown_take_back(ring);
}
