/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The region of a packed ring: an entry for each descriptor, since used entries of other chains will lie where the driver's own
 * are. Entries are those of chains in flight, linked by `next`, or free, and then they are linked likewise from free_head on.
 *
 *	popped		a chain takes entries from the front of the free list; a new free_head makes them its own
 *	showing		the burst's chains are given back to the front of the list: free_head, and where the burst ends
 *			(used_idx), are new; the old ones stay
 *	shown		the old ones are new as well
 *	a successor	finds used and old different, and sees by the descriptor at old_used_idx which of the two holds. An entry
 *			that is in the list is not in flight, whatever it says; one that is neither in it nor in a chain is free
 *
 * The two words of the header that change are stored as a whole. What a process killed in the middle of a burst had written into the
 * ring, but for the first entry, lies there still, and is taken back (witness.c): a driver would find it behind the next burst.
 */

#include "ring/ledger.h"

struct free_word { /* the header's second */
	uint16_t version, desc_num, free_head, old_free_head;
};

struct place_word { /* ... and third */
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint16_t padding;
};

static void free_store(struct ring_ledger *ledger)
{
	const struct free_word word = { INFLIGHT_VERSION, (uint16_t)ledger->entries, ledger->free_head, ledger->old_free_head };

	ledger_word_store(&ledger->packed->version, &word);
}

static void place_store(struct ring_ledger *ledger, uint32_t place, uint32_t old_place)
{
	struct packed_place at = place_decode(place), old = place_decode(old_place);
	const struct place_word word = { at.pos, old.pos, at.wrap, old.wrap, 0 };

	ledger_word_store(&ledger->packed->used_idx, &word);
}

/* ---- the ring ---- */

/* To the front of the free list, but for the store that says so. */
static void flight_give_back(struct ring_ledger *ledger, const struct ledger_flight *flight)
{
	ledger->nexts[flight->last] = ledger->free_head;
	__atomic_store_n(&ledger->packed->desc[flight->last].next, ledger->free_head, __ATOMIC_RELAXED);
	ledger->free_head = flight->head;
}

static void flight_cancel(struct ring_ledger *ledger, uint16_t id)
{
	struct ledger_flight *flight = &ledger->flights[id];

	if (!flight->span)
		return;
	ledger_inflight_set(&ledger->packed->desc[flight->head].inflight, 0);
	flight_give_back(ledger, flight);
	ledger->old_free_head = ledger->free_head;
	free_store(ledger);
	flight->span = 0;
}

/* The descriptors as they lie there: input as before for who reads them again. */
static uint16_t entries_fill(struct ring_ledger *ledger, const struct ring *ring, struct packed_place at, uint16_t span)
{
	uint16_t slot = ledger->free_head, last = slot;

	for (uint16_t i = 0; i < span; i++, at = place_forward(at, 1, ring->size)) {
		struct packed_desc desc = ring->packed.desc[at.pos];
		struct inflight_packed_desc *e;

		assert(slot < ledger->entries);
		e = &ledger->packed->desc[slot];
		e->id = desc.id;
		e->flags = desc.flags;
		e->len = desc.len;
		e->addr = desc.addr;
		last = slot;
		slot = ledger->nexts[slot];
	}
	return last;
}

static void ledger_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			  unsigned count)
{
	struct packed_place at = place_decode(place);
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < count; i++) {
		struct ledger_flight *flight = &ledger->flights[chains[i].id];
		struct inflight_packed_desc *head;

		flight_cancel(ledger, chains[i].id);
		flight->head = ledger->free_head;
		flight->span = chains[i].span;
		flight->last = entries_fill(ledger, ring, at, flight->span);
		head = &ledger->packed->desc[flight->head];
		head->num = flight->span;
		head->last = flight->last;
		head->counter = ++ledger->counter;
		ledger_inflight_set(&head->inflight, 1);
		ledger->free_head = ledger->old_free_head = ledger->nexts[flight->last];
		free_store(ledger);
		at = place_forward(at, flight->span, ring->size);
	}
}

static void ledger_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	while (count--) /* the last one first: what stays is what was popped before it */
		flight_cancel(self, chains[count].id);
}

static void ledger_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < burst->count; i++) {
		struct ledger_flight *flight = &ledger->flights[burst->completions[i].id];

		if (flight->span)
			flight_give_back(ledger, flight);
		flight->span = 0;
	}
	free_store(ledger);
	place_store(ledger, burst->place_after, burst->place);
}

static void ledger_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < burst->count; i++) {
		struct ledger_flight *flight = &ledger->flights[burst->completions[i].id];

		if (flight->head != LEDGER_NO_ENTRY)
			ledger_inflight_set(&ledger->packed->desc[flight->head].inflight, 0);
		flight->head = LEDGER_NO_ENTRY;
	}
	ledger->old_free_head = ledger->free_head;
	free_store(ledger);
	place_store(ledger, burst->place_after, burst->place_after);
}

/* ---- a successor ---- */

static bool place_is_one(const struct ledger_reading *r, uint16_t idx, uint8_t wrap)
{
	return idx < r->setup->size && wrap <= 1;
}

/* Whether the driver sees the last burst, which began there. */
static bool burst_seen(const struct ledger_reading *r, struct packed_place begin)
{
	const struct packed_desc *descs = r->setup->desc;

	return !packed_is_available(le16(__atomic_load_n(&descs[begin.pos].flags, __ATOMIC_ACQUIRE)), begin.wrap);
}

static void list_read(struct ledger_reading *r, uint16_t slot)
{
	for (; slot < r->ledger->entries && !r->over[slot]; slot = r->packed->desc[slot].next)
		r->over[slot] = true;
}

/* Each entry is of one chain, and of none that is free. */
static bool chain_read(struct ledger_reading *r, uint16_t head)
{
	const struct inflight_packed_desc *descs = r->packed->desc;
	uint16_t span = descs[head].num, slot = head, last = head;

	if (!span || span > r->setup->size - r->span)
		return false;
	for (uint16_t i = 0; i < span; i++, slot = descs[slot].next) {
		if (slot >= r->ledger->entries || r->over[slot] || r->taken[slot])
			return false;
		r->taken[slot] = true;
		last = slot;
	}
	return last == descs[head].last &&
	       ledger_chain_add(r, (struct ledger_chain){ descs[head].counter, le16(descs[last].id), head, span });
}

bool ledger_packed_read(struct ledger_reading *r)
{
	const struct inflight_packed *copy = r->packed;
	struct packed_place used = { copy->used_idx, copy->used_wrap_counter == 1 };
	struct packed_place old = { copy->old_used_idx, copy->old_used_wrap_counter == 1 };
	bool done;

	if (!place_is_one(r, copy->used_idx, copy->used_wrap_counter) ||
	    !place_is_one(r, copy->old_used_idx, copy->old_used_wrap_counter))
		return false;
	done = !place_equal(used, old) && burst_seen(r, old);
	r->known = true;
	r->place = place_encode(done ? used : old);
	list_read(r, done ? copy->free_head : copy->old_free_head);
	for (uint32_t slot = 0; slot < r->ledger->entries; slot++) {
		if (copy->desc[slot].inflight > 1)
			return false;
		if (copy->desc[slot].inflight && !r->over[slot] && !chain_read(r, (uint16_t)slot))
			return false;
	}
	return true;
}

/* From the last to the first. The last one's `next` is no entry. */
static void list_lay(struct ring_ledger *ledger, const bool *taken)
{
	ledger->free_head = (uint16_t)ledger->entries;
	for (uint32_t slot = ledger->entries; slot--;) {
		if (taken && taken[slot])
			continue;
		ledger->nexts[slot] = ledger->free_head;
		ledger->packed->desc[slot].next = ledger->free_head;
		ledger->free_head = (uint16_t)slot;
	}
	ledger->old_free_head = ledger->free_head;
}

static void flights_forget(struct ring_ledger *ledger)
{
	for (uint32_t id = 0; id < ledger->entries; id++)
		ledger->flights[id] = (struct ledger_flight){ .head = LEDGER_NO_ENTRY };
}

/* What is free says so before the list is another one: who is killed here leaves the same. */
void ledger_packed_settle(struct ledger_reading *r)
{
	struct ring_ledger *ledger = r->ledger;

	for (uint32_t slot = 0; slot < ledger->entries; slot++)
		if (r->packed->desc[slot].inflight && !r->taken[slot])
			ledger_inflight_set(&ledger->packed->desc[slot].inflight, 0);
	for (uint32_t slot = 0; slot < ledger->entries; slot++)
		ledger->nexts[slot] = r->packed->desc[slot].next;
	flights_forget(ledger);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct ledger_chain *chain = &r->chains[i];

		ledger->flights[chain->id] = (struct ledger_flight){ chain->head, r->packed->desc[chain->head].last, chain->span };
	}
	list_lay(ledger, r->taken);
	free_store(ledger);
	place_store(ledger, r->place, r->place);
}

/* The version is in the last store. */
void ledger_packed_begin(struct ring_ledger *ledger, uint32_t place)
{
	for (uint32_t slot = 0; slot < ledger->entries; slot++)
		ledger->packed->desc[slot] = (struct inflight_packed_desc){ 0 };
	ledger->packed->features = 0;
	flights_forget(ledger);
	list_lay(ledger, NULL);
	place_store(ledger, place, place);
	free_store(ledger);
}

const struct ring_witness_ops ledger_packed_ops = {
	.begin = ledger_begin,
	.stands = ledger_stands,
	.popped = ledger_popped,
	.unpopped = ledger_unpopped,
	.showing = ledger_showing,
	.shown = ledger_shown,
};
