/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The dirty log of a ring: which pages of guest memory the device side has written to, for a front end that is copying them to
 * another machine (vhost-user: "Migration"). It is no witness (witness.h): it comes and goes while the ring runs, and nothing is held
 * back for it; a ring may have both.
 *
 * What is written, and when it is logged:
 *
 *	data of a chain		by whoever popped it, before ring_push(): logged there, as much as is said to be written
 *	used entries, index	by ring_push(), ring_publish(): logged when the burst has been shown, from where it begins
 *	event words		by ring_kick_enable(), by a pop that finds nothing, by ring_publish(): logged after it
 *	the mark of rest	by ring_rest(): logged after it. What a start takes away of one is its first log's, which has all of the areas
 *
 * Each is logged after it was written, behind a full barrier (see mem/dirty.h). What a chain holds beyond the bytes that it is said to
 * hold, or if it is given back, no driver may look at (virtio 1.3, 2.7.8.2, 2.8.21.2): that is not logged.
 *
 * Offered by the control thread, taken by the worker that owns the ring at its next call, whatever that is (ring_log_take()):
 *
 *	control thread			worker
 *	log_offered, special		...
 *	a barrier in every thread	writes data; ring_push(): is the ring special?
 *	answers the front end
 *
 * Is it not special yet, then the barrier comes after the look, and what was written before the look is there before the
 * answer: the front end copies it, as it copies all memory from now on. If it is, it is logged. What has been written to the ring's
 * areas between the answer and the moment of taking is logged then: a log that is taken has all of the areas marked. A ring that is
 * stopped meanwhile takes it at the end (ring_log_settle()), as a ring that starts takes it after all that ring_new() wrote.
 */

#include "ring/log.h"
#include "ring/order.h"
#include "ring/ring_internal.h"
#include <stdlib.h>

struct ring_log *ring_log_new(struct dirty_log *dirty, struct map *memory)
{
	struct ring_log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	if (dirty) {
		log->dirty = dirty_log_ref(dirty);
		log->memory = map_ref(memory);
	}
	return log;
}

void ring_log_free(struct ring_log *log)
{
	if (!log)
		return;
	dirty_log_unref(log->dirty);
	map_unref(log->memory);
	free(log->desc.gpas);
	free(log->device.gpas);
	free(log);
}

int ring_log_area_new(struct ring_log_area *area, uint64_t start, uint64_t bytes)
{
	uint64_t into = start % DIRTY_PAGE_BYTES;
	unsigned pages = (unsigned)((into + bytes + DIRTY_PAGE_BYTES - 1) / DIRTY_PAGE_BYTES);
	uint64_t *gpas = calloc(pages, sizeof(*gpas));

	if (!gpas)
		return -ENOMEM;
	*area = (struct ring_log_area){ .into = into, .pages = pages, .gpas = gpas };
	return 0;
}

/* ---- marks ---- */

/* Pieces of neighbouring regions may have been joined. */
static void mark_data(struct ring *ring, const void *start, uint64_t bytes)
{
	const uint8_t *host = start;

	while (bytes) {
		uint64_t gpa, usable, here;

		if (unlikely(!map_host(ring->log->memory, &ring->log_buffers, host, &gpa, &usable))) {
			ring_break(ring, "what was written lies outside the memory that is logged");
			return;
		}
		here = min_u64(bytes, usable);
		dirty_log_mark(ring->log->dirty, gpa, here);
		host += here;
		bytes -= here;
	}
}

static void mark_area(const struct ring *ring, const struct ring_log_area *area, uint64_t offset, uint64_t bytes)
{
	uint64_t at = area->into + offset;

	while (bytes) {
		uint64_t in_page = at % DIRTY_PAGE_BYTES, here = min_u64(bytes, DIRTY_PAGE_BYTES - in_page);

		assert(at / DIRTY_PAGE_BYTES < area->pages);
		dirty_log_mark(ring->log->dirty, area->gpas[at / DIRTY_PAGE_BYTES] + in_page, here);
		at += here;
		bytes -= here;
	}
}

static void mark_event(const struct ring *ring)
{
	const struct ring_log_area *device = &ring->log->device;

	if (ring->is_packed) {
		mark_area(ring, device, 0, sizeof(struct packed_event));
		return;
	}
	mark_area(ring, device, 0, offsetof(struct split_used, ring)); /* flags and index */
	if (ring->event_idx)
		mark_area(ring, device, split_used_bytes(ring->size) - sizeof(uint16_t), sizeof(uint16_t));
}

static void mark_slots(const struct ring *ring, uint64_t from, uint64_t count)
{
	if (ring->is_packed)
		mark_area(ring, &ring->log->desc, from * sizeof(struct packed_desc), count * sizeof(struct packed_desc));
	else
		mark_area(ring, &ring->log->device, offsetof(struct split_used, ring) + from * sizeof(struct split_used_elem),
			  count * sizeof(struct split_used_elem));
}

/* `count` used entries from slot `from` on, once round the ring at most. */
static void mark_entries(const struct ring *ring, uint32_t from, uint32_t count)
{
	uint32_t first = min_u32(count, ring->size - from);

	mark_slots(ring, from, first);
	mark_slots(ring, 0, count - first);
}

/* ---- offer, take ---- */

struct ring_log *ring_log_offer(struct ring *ring, struct ring_log *log)
{
	struct ring_log *untaken = __atomic_exchange_n(&ring->log_offered, log, __ATOMIC_SEQ_CST);

	ring_special_set(ring, RING_LOGGED);
	return untaken;
}

/* What is offered meanwhile is found by the second look. */
static void log_end(struct ring *ring)
{
	ring->log = NULL;
	__atomic_fetch_and(&ring->special, (uint8_t)~RING_LOGGED, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->log_offered, __ATOMIC_SEQ_CST))
		ring_special_set(ring, RING_LOGGED);
}

__cold static void log_begin(struct ring *ring, struct ring_log *log)
{
	ring->log = log;
	if (!log->device.pages)
		return;
	ring_fence();
	mark_event(ring);
	mark_entries(ring, 0, ring->size);
}

void ring_log_take(struct ring *ring)
{
	struct ring_log *log;

	if (likely(!__atomic_load_n(&ring->log_offered, __ATOMIC_RELAXED)))
		return;
	log = __atomic_exchange_n(&ring->log_offered, NULL, __ATOMIC_SEQ_CST);
	if (log && log->dirty)
		log_begin(ring, log);
	else if (log)
		log_end(ring);
}

void ring_log_settle(struct ring *ring)
{
	if (!ring->error)
		ring_log_take(ring);
}

/* ---- what the ring's calls have written ---- */

static void data_mark(struct ring *ring, const struct vireo_chain *chain, uint64_t written_bytes)
{
	for (uint32_t i = chain->readable_count; written_bytes; i++) {
		uint64_t bytes = min_u64(written_bytes, chain->iov[i].iov_len);

		mark_data(ring, chain->iov[i].iov_base, bytes);
		written_bytes -= bytes;
	}
}

void log_pushed(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count)
{
	if (!written_bytes)
		return;
	ring_fence();
	for (unsigned i = 0; i < count; i++)
		data_mark(ring, &chains[i], ring_written(chains, written_bytes, i));
}

uint32_t log_place(const struct ring *ring)
{
	return ring->is_packed ? place_encode(ring->packed.first) : ring->split.published;
}

void log_shown(struct ring *ring, uint32_t from)
{
	uint32_t first = ring->is_packed ? place_decode(from).pos : from & (ring->size - 1);

	if (!ring->log->device.pages)
		return;
	ring_fence();
	mark_entries(ring, first, ring_slots_since(ring, from));
	mark_event(ring);
}

uint32_t log_armed(const struct ring *ring)
{
	return ring->is_packed ? place_encode(ring->packed.armed) : ring->split.armed;
}

/* Behind a barrier. */
void log_rested(struct ring *ring)
{
	if (!ring->log->device.pages)
		return;
	mark_event(ring);
	if (!ring->is_packed)
		mark_slots(ring, ring->split.published & (ring->size - 1), 1);
}

void log_kick_enabled(struct ring *ring)
{
	if (!ring->log->device.pages)
		return;
	ring_fence();
	mark_event(ring);
}
