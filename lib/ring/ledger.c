/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a ring leaves to a successor whose device completes chains in any order: a witness (witness.h), in memory that outlives
 * the process. Each chain that was popped and not shown is written down here, by its id; the successor is owed it.
 *
 *	popped		the chain's descriptors are copied (packed: used entries of others will lie where they are); then `order`
 *			is stored, which counts pops and says that it is in flight
 *	showing		the burst's completions are in the ledger; `burst` names them
 *	shown		the burst's chains are not in flight any more; then `burst` is told to be over
 *	a successor	finds a burst that is not over, and sees by the ring whether it is shown. If it is, its chains are done;
 *			else they are shown now. What is in flight then is owed, in the order of its pops
 *
 * Whoever is killed between two chains of a pop has handed out neither, and the second will be popped as one that is new: the
 * ones written down are always the first of those made available.
 *
 * A driver that has two chains in flight with one id is a liar, and the ledger knows the second of them.
 */

#include "ring/ring_internal.h"
#include "base/util.h"
#include <stdlib.h>
#include <string.h>

#define BURST_PLACED_MASK (UINT64_C(1) << 48) /* there is a place */
#define BURST_NAMED_MASK  (UINT64_C(1) << 49) /* it is not over */
#define NO_SLOT		  UINT16_MAX

struct flight {
	uint64_t order; /* 0: not in flight */
	uint16_t span;
	uint16_t first; /* packed: of its slots */
	uint32_t reserved;
};

/* The arrays are of the ring's size, one behind the other. */
struct ring_ledger {
	uint64_t burst; /* from bit 0: place, place after it, completions, two masks */
	uint64_t order; /* of the last pop; found anew by a successor, as is what follows */
	uint32_t free; /* slots */
	uint32_t reserved[11];
	struct flight flights[]; /* by id; then the slots: descriptors; then completions; then each slot's successor */
};

static struct packed_desc *slots_of(struct ring_ledger *ledger, uint32_t size)
{
	return (struct packed_desc *)(void *)(ledger->flights + size);
}

static struct ring_completion *completions_of(struct ring_ledger *ledger, uint32_t size)
{
	return (struct ring_completion *)(void *)(slots_of(ledger, size) + size);
}

static uint16_t *nexts_of(struct ring_ledger *ledger, uint32_t size)
{
	return (uint16_t *)(void *)(completions_of(ledger, size) + size);
}

size_t ring_ledger_bytes(uint32_t size)
{
	size_t each = sizeof(struct flight) + sizeof(struct packed_desc) + sizeof(struct ring_completion) + sizeof(uint16_t);

	return (sizeof(struct ring_ledger) + size * each + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
}

void ring_ledger_clear(struct ring_ledger *ledger, uint32_t size)
{
	memset(ledger, 0, ring_ledger_bytes(size));
}

/* ---- the ring ---- */

static void burst_store(struct ring_ledger *ledger, uint64_t burst)
{
	witness_order();
	__atomic_store_n(&ledger->burst, burst, __ATOMIC_RELAXED);
	witness_order();
}

static void flight_end(struct ring_ledger *ledger, uint32_t size, uint16_t id)
{
	struct flight *f = &ledger->flights[id];
	uint16_t *nexts = nexts_of(ledger, size);

	if (!f->order)
		return;
	__atomic_store_n(&f->order, 0, __ATOMIC_RELAXED);
	witness_order();
	for (uint32_t i = 0, slot = f->first, next; slot != NO_SLOT && i < f->span; i++, slot = next) {
		next = nexts[slot];
		nexts[slot] = (uint16_t)ledger->free;
		ledger->free = slot;
	}
}

/* The descriptors of a packed ring's chain, as they lie there: input as before for who reads them again. */
static uint16_t slots_fill(struct ring_ledger *ledger, const struct ring *ring, struct packed_place at, uint16_t span)
{
	struct packed_desc *slots = slots_of(ledger, ring->size);
	uint16_t *nexts = nexts_of(ledger, ring->size), first = (uint16_t)ledger->free;

	for (uint16_t i = 0; i < span; i++, at = place_forward(at, 1, ring->size)) {
		uint32_t slot = ledger->free;

		assert(slot != NO_SLOT);
		slots[slot] = ring->packed.desc[at.pos];
		ledger->free = nexts[slot];
	}
	return first;
}

static void ledger_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			  unsigned count)
{
	struct packed_place at = place_decode(place);
	struct ring_ledger *ledger = self;

	if (!ledger->burst) /* nothing has been shown, and this is where it will begin */
		burst_store(ledger, place | (uint64_t)place << 16 | BURST_PLACED_MASK);
	for (unsigned i = 0; i < count; i++) {
		struct flight *f = &ledger->flights[chains[i].id];

		flight_end(ledger, ring->size, chains[i].id);
		f->span = chains[i].span;
		f->first = NO_SLOT;
		if (ring->is_packed)
			f->first = slots_fill(ledger, ring, at, f->span);
		witness_order();
		__atomic_store_n(&f->order, ++ledger->order, __ATOMIC_RELAXED);
		witness_order();
		at = place_forward(at, f->span, ring->size);
	}
}

static void ledger_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	while (count--) /* the last one first: what stays is what was popped before it */
		flight_end(self, ring->size, chains[count].id);
}

static void ledger_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	burst_store(self, burst->place | (uint64_t)burst->place_after << 16 | (uint64_t)burst->count << 32 | BURST_PLACED_MASK |
				  BURST_NAMED_MASK);
}

static void ledger_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < burst->count; i++)
		flight_end(ledger, ring->size, burst->completions[i].id);
	burst_store(ledger, ledger->burst & ~BURST_NAMED_MASK);
}

/* ---- a successor ---- */

static const char does_not_hold[] = "what its ledger says of chains in flight cannot be; reset the device";

/* What is being read. */
struct reading {
	struct ring_ledger *ledger;
	const struct ring_setup *setup;
	uint16_t *ids; /* in flight, in the order of their pops */
	uint32_t count, span;
	bool *taken; /* slots */
	bool *redone; /* ids */
};

static bool place_is_one(const struct ring_setup *setup, uint32_t place)
{
	return !setup->packed || (place & 0x7fff) < setup->size;
}

/* Whether the driver sees the burst. False: by its used index it sees neither that nor the one before. */
static bool burst_seen(const struct ring_setup *setup, uint32_t place, uint32_t after, bool *ret_seen)
{
	const struct packed_desc *descs = setup->desc;
	const struct split_used *used = setup->device;
	struct packed_place at = place_decode(place);
	uint16_t idx;

	if (setup->packed) {
		*ret_seen = !packed_is_available(le16(__atomic_load_n(&descs[at.pos].flags, __ATOMIC_ACQUIRE)), at.wrap);
		return true;
	}
	idx = le16(__atomic_load_n(&used->idx, __ATOMIC_RELAXED));
	*ret_seen = idx == after;
	return idx == after || idx == place;
}

/* The slots of a chain: each of them its own. Split: none. */
static bool slots_hold(struct reading *r, const struct flight *f)
{
	const uint16_t *nexts = nexts_of(r->ledger, r->setup->size);
	uint32_t slot = f->first;

	if (!r->setup->packed)
		return f->span == 1 && slot == NO_SLOT;
	for (uint32_t i = 0; i < f->span; i++, slot = nexts[slot]) {
		if (slot >= r->setup->size || r->taken[slot])
			return false;
		r->taken[slot] = true;
	}
	return true;
}

static bool flights_read(struct reading *r)
{
	uint32_t size = r->setup->size;

	for (uint32_t id = 0; id < size; id++) {
		const struct flight *f = &r->ledger->flights[id];

		if (!f->order)
			continue;
		if (!f->span || f->span > size - r->span || !slots_hold(r, f))
			return false;
		r->ledger->order = f->order > r->ledger->order ? f->order : r->ledger->order;
		r->span += f->span;
		r->ids[r->count++] = (uint16_t)id;
	}
	return true;
}

static void slots_free(struct reading *r)
{
	uint16_t *nexts = nexts_of(r->ledger, r->setup->size);

	r->ledger->free = NO_SLOT;
	for (uint32_t slot = r->setup->size; slot--;) {
		if (r->taken[slot])
			continue;
		nexts[slot] = (uint16_t)r->ledger->free;
		r->ledger->free = slot;
	}
}

static int by_order(const void *a, const void *b, void *opaque)
{
	const struct ring_ledger *ledger = opaque;
	uint64_t x = ledger->flights[*(const uint16_t *)a].order, y = ledger->flights[*(const uint16_t *)b].order;

	return (x > y) - (x < y);
}

static bool owe(struct reading *r, struct ring_stand *stand)
{
	const struct packed_desc *slots = slots_of(r->ledger, r->setup->size);
	const uint16_t *nexts = nexts_of(r->ledger, r->setup->size);
	uint32_t first = 0;

	stand->owed = calloc(r->count + 1, sizeof(*stand->owed));
	stand->owed_descs = calloc(r->span + 1, sizeof(*stand->owed_descs));
	if (!stand->owed || !stand->owed_descs)
		return false;
	qsort_r(r->ids, r->count, sizeof(*r->ids), by_order, r->ledger);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct flight *f = &r->ledger->flights[r->ids[i]];

		if (r->redone[r->ids[i]])
			continue;
		stand->owed[stand->owed_count++] = (struct ring_owed){ r->ids[i], f->span, first };
		for (uint32_t j = 0, slot = f->first; r->setup->packed && j < f->span; j++, slot = nexts[slot])
			stand->owed_descs[first++] = slots[slot];
	}
	return true;
}

/* The burst is of chains that are in flight, each once, and ends where it says. */
static bool burst_holds(struct reading *r, const struct ring_completion *completions, uint32_t count, uint64_t burst)
{
	struct packed_place begin = place_decode((uint32_t)burst), end = place_decode((uint32_t)(burst >> 16));
	uint32_t span = 0, size = r->setup->size;

	for (uint32_t i = 0; i < count; i++) {
		const struct ring_completion *c = &completions[i];

		if (c->id >= size || r->redone[c->id] || !r->ledger->flights[c->id].order ||
		    c->span != r->ledger->flights[c->id].span || (c->written_bytes && !c->writable))
			return false;
		r->redone[c->id] = true;
		span += c->span;
	}
	return r->setup->packed ? place_equal(place_forward(begin, span, size), end)
				: (uint16_t)((uint16_t)burst + count) == (uint16_t)(burst >> 16);
}

/* False: it does not hold. A burst that is not over is over now, or to be shown. */
static bool burst_read(struct reading *r, struct ring_stand *stand)
{
	uint64_t burst = r->ledger->burst;
	uint32_t place = burst & UINT16_MAX, after = burst >> 16 & UINT16_MAX, count = burst >> 32 & UINT16_MAX;
	struct ring_completion *completions = completions_of(r->ledger, r->setup->size);
	bool seen;

	if (!place_is_one(r->setup, place) || !place_is_one(r->setup, after) || count > r->setup->size)
		return false;
	stand->known = true;
	stand->place = after;
	if (!burst_seen(r->setup, burst & BURST_NAMED_MASK ? place : after, after, &seen))
		return false;
	if (!(burst & BURST_NAMED_MASK))
		return true;
	if (seen) {
		for (uint32_t i = 0; i < count; i++)
			if (completions[i].id < r->setup->size)
				__atomic_store_n(&r->ledger->flights[completions[i].id].order, 0, __ATOMIC_RELAXED);
		burst_store(r->ledger, burst & ~BURST_NAMED_MASK);
		return true;
	}
	stand->place = place;
	stand->redo = completions;
	stand->redo_count = count;
	return true;
}

/* One that owes nothing says nothing against what is found in memory. */
static const char *ledger_read(struct reading *r, struct ring_stand *stand)
{
	struct ring_ledger *ledger = r->ledger;
	bool told = ledger->burst && burst_read(r, stand);

	ledger->order = 0;
	if (!flights_read(r) || (r->count && !told))
		return does_not_hold;
	if (!told) {
		*stand = (struct ring_stand){ 0 };
		burst_store(ledger, 0);
	}
	if (stand->redo_count && !burst_holds(r, stand->redo, stand->redo_count, ledger->burst))
		return does_not_hold;
	slots_free(r);
	return owe(r, stand) ? NULL : "no memory for what is in flight";
}

static const char *ledger_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	struct reading r = { .ledger = self, .setup = setup };
	const char *wrong = "no memory for what is in flight";

	r.ids = calloc(setup->size, sizeof(*r.ids));
	r.taken = calloc(setup->size, sizeof(*r.taken));
	r.redone = calloc(setup->size, sizeof(*r.redone));
	if (r.ids && r.taken && r.redone)
		wrong = ledger_read(&r, stand);
	stand->held = completions_of(r.ledger, setup->size);
	free(r.ids);
	free(r.taken);
	free(r.redone);
	return wrong;
}

struct ring_witness ring_ledger_witness(struct ring_ledger *ledger)
{
	static const struct ring_witness_ops ops = {
		.begin = ledger_begin,
		.popped = ledger_popped,
		.unpopped = ledger_unpopped,
		.showing = ledger_showing,
		.shown = ledger_shown,
	};

	return (struct ring_witness){ &ops, ledger };
}
