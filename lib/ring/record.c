/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a packed ring leaves to a successor, when the process that serves it is killed at any instruction.
 *
 * Used entries overwrite the driver's own descriptors, so a burst of which one half is in the ring can neither be popped
 * again nor be left as it is. Rings that have a record therefore write a burst there first, and the ring is not touched
 * until all of it is named in one word (`burst`): a log to redo it from.
 *
 *	push		the burst's entries go to the log; the ring still holds what the driver made available
 *	publish		`burst` is stored, then the entries but for the first's flags, then those flags (pair USED)
 *	a successor	finds the first descriptor of `burst` available in that lap: it has not been shown, and is written
 *			from the log once more. If it is used, or the driver's again in the next lap, it has been.
 *			Either way it goes on at the end of it
 *
 * Who is killed has carried out all stores up to some instruction, and none behind it. So it is the compiler alone that
 * must not change their order.
 */

#include "ring/ring_internal.h"
#include "base/util.h"

struct ring_record_entry {
	uint64_t word; /* length, id and flags, as they lie in the ring */
	uint64_t pos;
};

struct ring_record {
	uint64_t burst; /* from bit 0: begin, end (both as halves of ring_base()), entries: 0 before the first */
	uint64_t reserved;
	struct ring_record_entry entries[];
};

size_t ring_record_bytes(uint32_t size)
{
	size_t bytes = sizeof(struct ring_record) + size * sizeof(struct ring_record_entry);

	return (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
}

void ring_record_clear(struct ring_record *record)
{
	__atomic_store_n(&record->burst, 0, __ATOMIC_RELAXED);
}

/* ---- the ring ---- */

/* The compiler moves no store over it. */
static void stores_so_far(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* All but the flags of the first, which show them all. */
static void entries_write(struct packed_desc *descs, const struct ring_record_entry *entries, uint32_t count)
{
	uint64_t first = le64(entries[0].word);

	for (uint32_t i = 1; i < count; i++)
		__atomic_store_n((packed_word *)&descs[entries[i].pos].len, entries[i].word, __ATOMIC_RELAXED);
	__atomic_store_n(&descs[entries[0].pos].len, le32((uint32_t)first), __ATOMIC_RELAXED);
	__atomic_store_n(&descs[entries[0].pos].id, le16((uint16_t)(first >> 32)), __ATOMIC_RELAXED);
}

static uint16_t first_flags(const struct ring_record_entry *entries)
{
	return (uint16_t)(le64(entries[0].word) >> 48);
}

/* IN_ORDER: as long as a burst is read-only, one entry stands for all of it. */
void packed_push_recorded(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
			  unsigned count)
{
	struct ring_record_entry *entries = ring->record->entries;
	struct packed_state *s = &ring->packed;

	for (unsigned i = 0; i < count; i++) {
		uint32_t written = ring_written(chains, written_bytes, i);
		bool merged = ring->merge && ring->logged;
		struct packed_place at = merged ? s->first : s->used;
		uint64_t flags = packed_used_flags(at.wrap, written);

		assert(!ring->in_order || ring->order[s->used.pos] == chains[i].id);
		assert(ring->logged < ring->size);
		entries[merged ? 0 : ring->logged++] = (struct ring_record_entry){
			.word = le64(written | (uint64_t)chains[i].id << 32 | flags << 48), .pos = at.pos
		};
		s->used = place_forward(s->used, chains[i].span, ring->size);
		s->staged_span += chains[i].span;
		ring->merge = ring->merge && !chains[i].writable_bytes;
	}
}

void packed_record_publish(struct ring *ring)
{
	const struct ring_record_entry *entries = ring->record->entries;
	struct packed_state *s = &ring->packed;
	uint64_t burst = place_encode(s->first) | (uint64_t)place_encode(s->used) << 16 | (uint64_t)ring->logged << 32;

	stores_so_far();
	__atomic_store_n(&ring->record->burst, burst, __ATOMIC_RELAXED);
	stores_so_far();
	entries_write(s->desc, entries, ring->logged);
	s->first_word = le64(entries[0].word);
	ring->logged = 0;
}

/* ---- a successor ---- */

/* What lies in a record is input: places that are none are not believed. */
static bool burst_holds(const struct ring_setup *setup, uint64_t burst)
{
	uint64_t count = burst >> 32;

	return count && count <= setup->size && (burst & 0x7fff) < setup->size && (burst >> 16 & 0x7fff) < setup->size;
}

/* Only of a burst that has not been shown: after that the next one is laid over them. */
static bool entries_hold(const struct ring_setup *setup, const struct ring_record_entry *entries, uint32_t count,
			 uint16_t begin)
{
	for (uint32_t i = 0; i < count; i++)
		if (entries[i].pos >= setup->size)
			return false;
	return entries[0].pos == begin;
}

bool packed_record_recover(const struct ring_setup *setup, struct packed_place *ret_place)
{
	uint64_t burst = setup->record ? __atomic_load_n(&setup->record->burst, __ATOMIC_RELAXED) : 0;
	struct packed_place begin = place_decode((uint32_t)burst);
	const struct ring_record_entry *entries;
	struct packed_desc *descs = setup->desc;
	uint32_t count = (uint32_t)(burst >> 32);
	uint16_t flags;

	if (!burst_holds(setup, burst))
		return false;
	entries = setup->record->entries;
	flags = le16(__atomic_load_n(&descs[begin.pos].flags, __ATOMIC_ACQUIRE));
	if (packed_is_available(flags, begin.wrap)) {
		if (!entries_hold(setup, entries, count, begin.pos))
			return false;
		entries_write(descs, entries, count);
		__atomic_store_n(&descs[begin.pos].flags, le16(first_flags(entries)), __ATOMIC_RELEASE); /* pair USED */
	}
	*ret_place = place_decode((uint32_t)(burst >> 16));
	return true;
}
