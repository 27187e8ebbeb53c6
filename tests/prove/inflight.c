/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * In-flight regions: whatever the copy of one holds, and whatever lies in the ring, a successor that reads it keeps to both, ends, and is told of
 * no chain twice and of none that the ring has no room for; what it writes down anew stays in the region.
 * Bounds: regions of four (split) and three (packed) entries, for rings that are as long, and shorter.
 * Assumed: what ledger_begin() sees to before it calls ledger_read(), which is not proved: its copy and its lists have been allocated, and
 * header_wrong() has let the region through, so it has the ring's format, and no fewer entries than the ring. What is allocated after that may fail.
 *
 * Stub: qsort() is a simple sort. The region is read once, into the copy, so what a peer writes meanwhile is no other case.
 */

#include "prove.h"
#include <errno.h>

static void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *));
#define qsort sort

/* The tool loses sight of a pointer in a union: here they are three, and all are set. */
#define union struct
#include "ring/ledger.c"
#undef union
#include "ring/ledger_packed.c"
#define ledger_popped	split_popped
#define ledger_unpopped split_unpopped
#define ledger_showing	split_showing
#define ledger_shown	split_shown
#include "ring/ledger_split.c"

static void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *))
{
	struct ledger_chain *chains = base;

	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k && by_counter(&chains[k - 1], &chains[k]) > 0; k--) {
			struct ledger_chain other = chains[k];

			chains[k] = chains[k - 1];
			chains[k - 1] = other;
		}
}

#define REGION_BYTES 128u /* of four entries, or three */

static struct ring_setup any_setup(bool packed, uint32_t size)
{
	struct ring_setup setup = { .packed = packed, .size = size };

	setup.desc = any_bytes(packed ? size * sizeof(struct packed_desc) : split_desc_bytes(size));
	setup.device = any_bytes(packed ? sizeof(struct packed_event) : split_used_bytes(size));
	return setup;
}

static bool *zeroes(uint32_t count)
{
	bool *at = calloc(count, sizeof(*at));

	assume(at != NULL);
	return at;
}

/* None twice, none beyond the ring, each with descriptors that are there. */
static void look_at_owed(const struct ring_setup *setup, const struct ring_stand *stand)
{
	uint32_t span = 0;

	assert(stand->owed_count <= setup->size);
	for (uint32_t i = 0; i < stand->owed_count; i++) {
		const struct ring_owed *owed = &stand->owed[i];

		assert(owed->id < setup->size && owed->span && owed->first == span);
		span += owed->span;
		for (uint32_t k = 0; k < i; k++)
			assert(stand->owed[k].id != owed->id);
		if (setup->packed)
			assert(__CPROVER_r_ok(stand->owed_descs + owed->first, owed->span * sizeof(struct packed_desc)));
	}
	assert(span <= setup->size);
}

static void replay(bool packed, uint32_t entries, uint32_t size)
{
	const struct ring_setup setup = any_setup(packed, size);
	static struct ring_ledger ledger;
	struct ledger_reading r = { .ledger = &ledger, .setup = &setup };
	struct ring_stand stand = { 0 };
	const char *wrong;

	assert(REGION_BYTES == ring_ledger_bytes(packed, entries));
	ledger.is_packed = packed;
	ledger.entries = entries;
	ledger.region = any_bytes(REGION_BYTES);
	ledger.packed = ledger.region;
	ledger.split = ledger.region;
	r.copy = any_bytes(REGION_BYTES);
	r.packed = r.copy;
	r.split = r.copy;
	ledger.flights = any_bytes(entries * sizeof(*ledger.flights));
	ledger.nexts = any_bytes(entries * sizeof(*ledger.nexts));
	r.chains = any_bytes(size * sizeof(*r.chains)); /* as ledger_begin() has them */
	r.over = zeroes(entries);
	r.taken = zeroes(entries);
	r.named = zeroes(size);
	wrong = ledger_read(&r, &stand);
	assert(!wrong || !stand.known);
	if (!stand.known)
		return;
	look_at_owed(&setup, &stand);
	assert(!packed || place_decode(stand.place).pos < size);
}

void prove_inflight_split(void)
{
	replay(false, 4, 4);
}

void prove_inflight_split_short(void)
{
	replay(false, 4, 2);
}

void prove_inflight_packed(void)
{
	replay(true, 3, 3);
}

void prove_inflight_packed_short(void)
{
	replay(true, 3, 2);
}
