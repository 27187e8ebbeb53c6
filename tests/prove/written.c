/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a ledger writes down: a process that serves an honest driver's ring is killed at any moment, and its successor reads the region. It
 * finds nothing there that cannot be, and is owed each chain that had been handed out and not been shown, and none that had been shown, nor
 * one that nobody has made available: so each is completed once, whoever does it. Of a chain that is just being handed out, or taken back,
 * it may be told or not.
 * Bounds: a ring of SIZE descriptors and its region; three calls, which each proof names: pops of up to BURST chains (packed: of one descriptor or two), the
 * unpop of the last one, and bursts of up to BURST chains in any order that are shown; killed before, between or after all stores that the
 * ledger orders (witness_order()), or at the store that shows a burst. Positions begin anywhere.
 */

#include "prove.h"
#include "ring/witness.h"

static void moment(void); /* at which the process may be killed */

#define witness_order() moment()
#include "ledger.h"

#define SIZE  3u
#define BURST 2u

enum fate {
	NOBODYS, /* the driver's: not made available, or shown */
	MOVING,	 /* being handed out, or taken back */
	FLYING,	 /* handed out, and not shown */
};

/* All that outlives the process, and what is true then. */
struct world {
	uint8_t region[128];
	struct packed_desc descs[SIZE];
	uint16_t used_idx;
	enum fate fate[SIZE];
};

static struct world now, then;
static bool begun, killed; /* before it has begun nothing is handed out, and the region says so */
static struct ring_ledger ledger;
static struct ring ring;
static uint16_t span_of[SIZE], last_popped;
static struct packed_place avail, used;
static uint32_t in_flight; /* descriptors, or heads */

static void moment(void)
{
	if (!begun || killed || nondet_bool())
		return;
	killed = true;
	then = now;
}

static uint32_t place_of(bool packed, struct packed_place place)
{
	return packed ? place_encode(place) : place.pos;
}

/* Split: an index that runs freely. */
static struct packed_place on(bool packed, struct packed_place place, uint32_t count)
{
	return packed ? place_forward(place, count, SIZE) : (struct packed_place){ (uint16_t)(place.pos + count), false };
}

static uint16_t id_with(enum fate fate)
{
	uint16_t id = nondet_u16();

	assume(id < SIZE && now.fate[id] == fate);
	return id;
}

/* The driver has made a chain available there: its id is in its last descriptor. */
static void driver_lays(struct packed_place at, uint16_t id, uint16_t span)
{
	for (uint16_t i = 0; i < span; i++, at = place_forward(at, 1, SIZE)) {
		now.descs[at.pos].id = id;
		now.descs[at.pos].flags = (uint16_t)(at.wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK);
	}
}

static void pop(bool packed)
{
	unsigned count = nondet_u32();
	struct vireo_chain chains[BURST];
	struct packed_place from = avail;

	assume(count >= 1 && count <= BURST);
	for (unsigned i = 0; i < count; i++) {
		uint16_t id = id_with(NOBODYS), span = packed ? nondet_u16() : 1;

		assume(span >= 1 && span <= 2 && in_flight + span <= SIZE);
		now.fate[id] = MOVING;
		span_of[id] = span;
		chains[i].id = last_popped = id;
		chains[i].span = span;
		if (packed)
			driver_lays(avail, id, span);
		avail = on(packed, avail, span);
		in_flight += span;
	}
	if (packed)
		ledger_popped(&ledger, &ring, place_encode(from), chains, count);
	else
		split_popped(&ledger, &ring, from.pos, chains, count);
	for (unsigned i = 0; i < count; i++)
		now.fate[chains[i].id] = FLYING;
}

static void unpop(bool packed)
{
	struct vireo_chain chain = { .id = last_popped, .span = span_of[last_popped] };

	assume(now.fate[last_popped] == FLYING);
	now.fate[last_popped] = MOVING;
	if (packed)
		ledger_unpopped(&ledger, &ring, &chain, 1);
	else
		split_unpopped(&ledger, &ring, &chain, 1);
	now.fate[last_popped] = NOBODYS;
	in_flight -= chain.span;
	avail = packed ? place_back(avail, chain.span, SIZE) : (struct packed_place){ (uint16_t)(avail.pos - 1), false };
}

/* The store that shows it: at once all of its chains are the driver's. */
static void driver_sees(bool packed, const struct ring_burst *burst)
{
	now.used_idx = (uint16_t)burst->place_after;
	if (packed)
		now.descs[used.pos].flags = (uint16_t)packed_used_flags(used.wrap, 0);
	for (unsigned i = 0; i < burst->count; i++)
		now.fate[burst->completions[i].id] = NOBODYS;
}

static void show(bool packed)
{
	struct ring_completion completions[BURST];
	struct ring_burst burst = { completions, nondet_u32(), place_of(packed, used), 0 };
	struct packed_place after = used;

	assume(burst.count >= 1 && burst.count <= BURST);
	for (unsigned i = 0; i < burst.count; i++) {
		uint16_t id = id_with(FLYING);

		assume(!i || id != completions[0].id);
		completions[i].id = id;
		completions[i].span = span_of[id];
		after = on(packed, after, span_of[id]);
	}
	burst.place_after = place_of(packed, after);
	if (packed)
		ledger_showing(&ledger, &ring, &burst);
	else
		split_showing(&ledger, &ring, &burst);
	moment();
	driver_sees(packed, &burst);
	moment();
	if (packed)
		ledger_shown(&ledger, &ring, &burst);
	else
		split_shown(&ledger, &ring, &burst);
	for (unsigned i = 0; i < burst.count; i++)
		in_flight -= completions[i].span;
	used = after;
}

static void begin(bool packed)
{
	void *region = now.region;

	ring.size = SIZE;
	ring.is_packed = packed;
	ring.packed.desc = now.descs;
	ledger.is_packed = packed;
	ledger.entries = SIZE;
	ledger.region = region;
	ledger.packed = region;
	ledger.split = region;
	ledger.flights = any_bytes(SIZE * sizeof(*ledger.flights));
	ledger.nexts = any_bytes(SIZE * sizeof(*ledger.nexts));
	avail = (struct packed_place){ nondet_u16(), packed && nondet_bool() };
	assume(!packed || avail.pos < SIZE);
	used = avail;
	now.used_idx = used.pos;
	if (packed)
		ledger_packed_begin(&ledger, place_encode(used));
	else
		ledger_split_begin(&ledger, used.pos);
	begun = true;
}

/* The successor of one that has been killed by now. */
static void succeed(bool packed)
{
	static struct ring_ledger next;
	struct split_used *device = any_bytes(split_used_bytes(SIZE));
	const struct ring_setup setup = { .packed = packed, .size = SIZE, .desc = then.descs, .device = device };
	struct ledger_reading r = { .ledger = &next, .setup = &setup };
	struct ring_stand stand = { 0 };
	bool owed[SIZE] = { false };
	void *region = now.region; /* nobody looks there any more */

	moment();
	assume(killed);
	device->idx = then.used_idx;
	next.is_packed = packed;
	next.entries = SIZE;
	next.region = region;
	next.packed = region;
	next.split = region;
	next.flights = any_bytes(SIZE * sizeof(*next.flights));
	next.nexts = any_bytes(SIZE * sizeof(*next.nexts));
	r.copy = then.region;
	r.packed = r.copy;
	r.split = r.copy;
	lists_for(&r);
	assume(ledger_read(&r, &stand) != NO_MEMORY);
	assert(stand.known);
	look_at_owed(&setup, &stand);
	for (uint32_t i = 0; i < stand.owed_count; i++)
		owed[stand.owed[i].id] = true;
	for (unsigned id = 0; id < SIZE; id++)
		assert(then.fate[id] == MOVING || owed[id] == (then.fate[id] == FLYING));
}

void prove_written_split(void)
{
	begin(false);
	pop(false);
	show(false);
	pop(false);
	succeed(false);
}

void prove_written_split_unpop(void)
{
	begin(false);
	pop(false);
	unpop(false);
	pop(false);
	succeed(false);
}

void prove_written_split_bursts(void)
{
	begin(false);
	pop(false);
	show(false);
	show(false);
	succeed(false);
}

void prove_written_packed(void)
{
	begin(true);
	pop(true);
	show(true);
	pop(true);
	succeed(true);
}

void prove_written_packed_unpop(void)
{
	begin(true);
	pop(true);
	unpop(true);
	pop(true);
	succeed(true);
}

void prove_written_packed_bursts(void)
{
	begin(true);
	pop(true);
	show(true);
	show(true);
	succeed(true);
}
