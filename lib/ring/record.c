/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a packed ring leaves to a successor, when the process that serves it is killed at any instruction: a witness (witness.h).
 *
 * Used entries overwrite the driver's own descriptors, so a burst of which one half is in the ring can neither be popped
 * again nor be left as it is. A record therefore has all of a burst before the ring is touched, named in one word (`burst`): a
 * log to redo it from.
 *
 *	push		the burst's completions are held back in the log
 *	showing		`burst` is stored
 *	a successor	finds the first descriptor of `burst` available in that lap: it has not been shown, and is written
 *			from the log once more. If it is used, or the driver's again in the next lap, it has been.
 *			Either way it goes on at the end of it
 */

#include "ring/ring_internal.h"
#include "base/util.h"

struct ring_record {
	uint64_t burst; /* from bit 0: begin, end (both as halves of ring_base()), completions: 0 before the first */
	uint64_t reserved;
	struct ring_completion completions[];
};

size_t ring_record_bytes(uint32_t size)
{
	size_t bytes = sizeof(struct ring_record) + size * sizeof(struct ring_completion);

	return (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
}

void ring_record_clear(struct ring_record *record)
{
	__atomic_store_n(&record->burst, 0, __ATOMIC_RELAXED);
}

/* ---- the ring ---- */

static void record_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_record *record = self;

	__atomic_store_n(&record->burst,
			 burst->place | (uint64_t)burst->place_after << 16 | (uint64_t)burst->count << 32, __ATOMIC_RELAXED);
}

/* ---- a successor ---- */

/* What lies in a record is input: places that are none are not believed. */
static bool burst_holds(const struct ring_setup *setup, uint64_t burst)
{
	uint64_t count = burst >> 32;

	return count && count <= setup->size && (burst & 0x7fff) < setup->size && (burst >> 16 & 0x7fff) < setup->size;
}

/* Only of a burst that has not been shown: after that the next one is laid over them. */
static bool completions_hold(const struct ring_setup *setup, const struct ring_completion *completions, uint32_t count,
			     uint64_t burst)
{
	struct packed_place begin = place_decode((uint32_t)burst), end = place_decode((uint32_t)(burst >> 16));
	uint32_t span = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct ring_completion *c = &completions[i];

		if (c->id >= setup->size || !c->span || c->span > setup->size - span || (c->written_bytes && !c->writable))
			return false;
		span += c->span;
	}
	return place_equal(place_forward(begin, span, setup->size), end);
}

static const char *record_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	struct ring_record *record = self;
	uint64_t burst = __atomic_load_n(&record->burst, __ATOMIC_RELAXED);
	struct packed_place begin = place_decode((uint32_t)burst);
	const struct packed_desc *descs = setup->desc;
	uint32_t count = (uint32_t)(burst >> 32);

	stand->held = record->completions;
	if (!burst_holds(setup, burst))
		return NULL;
	if (packed_is_available(le16(__atomic_load_n(&descs[begin.pos].flags, __ATOMIC_ACQUIRE)), begin.wrap)) {
		stand->known = completions_hold(setup, record->completions, count, burst);
		stand->place = (uint32_t)burst & UINT16_MAX;
		stand->redo = record->completions;
		stand->redo_count = stand->known ? count : 0;
		return NULL;
	}
	stand->known = true;
	stand->place = (uint32_t)(burst >> 16) & UINT16_MAX;
	return NULL;
}

struct ring_witness ring_record_witness(struct ring_record *record)
{
	static const struct ring_witness_ops ops = { .begin = record_begin, .showing = record_showing };

	return (struct ring_witness){ &ops, record };
}
