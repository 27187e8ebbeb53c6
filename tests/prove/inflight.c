/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * In-flight regions: whatever the copy of one holds, and whatever lies in the ring, a successor that reads it keeps to both, ends, and is told of
 * no chain twice and of none that the ring has no room for; what it writes down anew stays in the region.
 * Bounds: regions of four (split) and three (packed) entries, for rings that are as long, and shorter.
 * Assumed: what ledger_begin() sees to before it calls ledger_read(), which is not proved: its copy and its lists have been allocated, and
 * header_wrong() has let the region through, so it has the ring's format, and no fewer entries than the ring. What is allocated after that may fail.
 * The region is read once, into the copy, so what a peer writes meanwhile is no other case.
 */

#include "ledger.h"

#define REGION_BYTES 128u /* of four entries, or three */

static struct ring_setup any_setup(bool packed, uint32_t size)
{
	struct ring_setup setup = { .packed = packed, .size = size };

	setup.desc = any_bytes(packed ? size * sizeof(struct packed_desc) : split_desc_bytes(size));
	setup.device = any_bytes(packed ? sizeof(struct packed_event) : split_used_bytes(size));
	return setup;
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
	lists_for(&r);
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
