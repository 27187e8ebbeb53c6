/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The packed virtqueue, device side: what the device makes used (2.8.6, 2.8.7), whether the driver wants a signal for it, and
 * whether we want a kick (2.8.10). Entries of a burst are written as they are pushed but for the first, which shows them all.
 */

#include "ring/order.h"
#include "ring/ring_internal.h"

typedef uint32_t event_word __attribute__((may_alias));

/* Length, id and flags of an entry that the driver does not look at before publish, in one store. */
static inline void packed_write_used(struct packed_desc *desc, uint16_t id, uint32_t written_bytes, unsigned flags)
{
	uint64_t word = written_bytes | (uint64_t)id << 32 | (uint64_t)flags << 48;

	__atomic_store_n((packed_word *)&desc->len, le64(word), __ATOMIC_RELAXED);
}

/* The first entry of a burst: publish writes it. Until then a successor finds the driver's descriptor as it was. */
static inline void packed_write_first(struct packed_state *s, uint16_t id, uint32_t written_bytes, unsigned flags)
{
	s->first_word = written_bytes | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/* IN_ORDER: as long as a burst is read-only, one entry stands for all of it. */
static void packed_push_in_order(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
				 unsigned count)
{
	struct packed_state *s = &ring->packed;

	for (unsigned i = 0; i < count; i++) {
		uint32_t written = ring_written(chains, written_bytes, i);

		assert(ring->order[s->used.pos] == chains[i].id);
		if (ring->merge || !s->staged_span)
			packed_write_first(s, chains[i].id, written, packed_used_flags(s->first.wrap, written));
		else
			packed_write_used(&s->desc[s->used.pos], chains[i].id, written,
					  packed_used_flags(s->used.wrap, written));
		s->used = place_forward(s->used, chains[i].span, ring->size);
		s->staged_span += chains[i].span;
		ring->merge = ring->merge && !chains[i].writable_bytes;
	}
}

/* Where the next used entry goes, and the flags of this lap. */
struct packed_used_at {
	struct packed_desc *desc;
	int left; /* descriptors from there to the ring's end */
	unsigned lap;
	bool wrap;
};

__attribute__((always_inline)) static inline void packed_used_skip(struct packed_used_at *at, unsigned span, unsigned size)
{
	at->left -= (int)span;
	if (likely(at->left > 0)) {
		at->desc += span;
		return;
	}
	at->left += (int)size;
	at->desc -= size - span;
	at->wrap = !at->wrap;
	at->lap = packed_used_flags(at->wrap, 0);
}

/*
 * Used entries go to the used position in the order of completion, however the chains were popped; the
 * position then skips what the completed chain took (2.8.6). Made twice, with and without lengths.
 */
__attribute__((always_inline)) static inline void packed_push_free(struct ring *ring, const struct vireo_chain *chains,
								   const uint32_t *written_bytes, unsigned count)
{
	struct packed_state *s = &ring->packed;
	unsigned size = ring->size, i = 0;
	struct packed_used_at at = { &s->desc[s->used.pos], (int)size - s->used.pos, packed_used_flags(s->used.wrap, 0), s->used.wrap };
	uint32_t span = s->staged_span;

	if (!span && count) {
		uint32_t written = ring_written(chains, written_bytes, 0);

		packed_write_first(s, chains[0].id, written, at.lap | (written ? DESC_F_WRITE : 0));
		span = chains[0].span;
		packed_used_skip(&at, span, size);
		i = 1;
	}
	for (; i < count; i++) {
		uint32_t written = ring_written(chains, written_bytes, i);

		packed_write_used(at.desc, chains[i].id, written, at.lap | (written ? DESC_F_WRITE : 0));
		span += chains[i].span;
		packed_used_skip(&at, chains[i].span, size);
	}
	s->used = (struct packed_place){ .pos = (uint16_t)(at.desc - s->desc), .wrap = at.wrap };
	s->staged_span = span;
}

void packed_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count)
{
	if (ring->in_order)
		packed_push_in_order(ring, chains, written_bytes, count);
	else if (written_bytes)
		packed_push_free(ring, chains, written_bytes, count);
	else
		packed_push_free(ring, chains, NULL, count);
}

/*
 * Does the driver want to hear of the `span` descriptors that end before `end`? `off` is so many descriptors
 * behind `end`, counted on the line: one lap more if the wrap counters differ. An offset outside the ring,
 * the reserved value and DESC without EVENT_IDX are lies; a signal too many is the harmless answer.
 */
static bool packed_wants_signal(const struct ring *ring, uint32_t event, struct packed_place end,
				uint32_t span)
{
	unsigned flags = event >> 16 & PACKED_EVENT_FLAGS_MASK;
	uint32_t off = event & PACKED_EVENT_OFFSET_MASK;
	bool wrap = event & PACKED_EVENT_WRAP_MASK;
	int32_t behind;

	if (flags != PACKED_EVENT_DESC || !ring->event_idx)
		return flags != PACKED_EVENT_DISABLE;
	if (off >= ring->size)
		return true;
	behind = (int32_t)end.pos - (int32_t)off + (wrap == end.wrap ? 0 : (int32_t)ring->size);
	return behind >= 1 && behind <= (int32_t)span;
}

/* Is `to` not behind `from`, on the line? */
static inline bool place_ahead(struct packed_place to, struct packed_place from, uint32_t size)
{
	uint32_t there = to.pos + (to.wrap == from.wrap ? 0 : size);

	return there >= from.pos && there - from.pos <= size;
}

/*
 * With DESC its offset is the place for which a kick is wanted; else it is our mark, for place.c. They are the same when nothing
 * is in flight, but for what has been given back unused after a kick was asked for.
 */
static inline void packed_mark(struct packed_state *s, uint32_t size)
{
	bool desc = s->event_flags == PACKED_EVENT_DESC;
	uint32_t event = place_lifted(s->first, desc ? 0 : place_mark_lift(size)) | (uint32_t)s->event_flags << 16;

	if (desc && (!place_equal(s->first, s->avail) || !place_ahead(s->first, s->armed, size)))
		return;
	if (desc)
		s->armed = s->first;
	__atomic_store_n((event_word *)s->device, le32(event), __ATOMIC_RELAXED);
}

/* In one store: a successor finds the driver's descriptor, or all of the used entry. */
static inline void packed_show_first(const struct packed_state *s)
{
	struct packed_desc *desc = &s->desc[s->first.pos];

	if (!RING_TSAN) {
		__atomic_store_n((packed_word *)&desc->len, le64(s->first_word), __ATOMIC_RELEASE); /* pair USED */
		return;
	}
	/* ThreadSanitizer knows a pair by its address, and drivers look at the flags. */
	__atomic_store_n(&desc->len, le32((uint32_t)s->first_word), __ATOMIC_RELAXED);
	__atomic_store_n(&desc->id, le16((uint16_t)(s->first_word >> 32)), __ATOMIC_RELAXED);
	__atomic_store_n(&desc->flags, le16((uint16_t)(s->first_word >> 48)), __ATOMIC_RELEASE);
}

static inline bool packed_event_wants(const struct ring *ring, uint32_t span)
{
	const struct packed_state *s = &ring->packed;
	uint32_t event = le32(__atomic_load_n((const event_word *)s->driver, __ATOMIC_RELAXED));

	return packed_wants_signal(ring, event, s->used, span);
}

bool packed_asks_signal(const struct ring *ring, uint32_t span)
{
	return packed_event_wants(ring, span);
}

bool packed_awaits_signal(const struct ring *ring)
{
	const struct packed_state *s = &ring->packed;
	uint32_t event = le32(__atomic_load_n((const event_word *)s->driver, __ATOMIC_RELAXED));
	unsigned flags = event >> 16 & PACKED_EVENT_FLAGS_MASK;

	if (flags != PACKED_EVENT_DESC || !ring->event_idx)
		return flags != PACKED_EVENT_DISABLE;
	return (event & UINT16_MAX) == place_encode(s->first);
}

enum ring_signal packed_publish(struct ring *ring)
{
	struct packed_state *s = &ring->packed;
	uint32_t span = s->staged_span;

	packed_show_first(s);
	s->first = s->used;
	__atomic_store_n(&s->shown, place_encode(s->first), __ATOMIC_RELAXED);
	packed_mark(s, ring->size);
	s->staged_span = 0;
	s->in_flight -= span;
	ring_fence(); /* pair SIGNAL */
	return packed_event_wants(ring, span) ? RING_SIGNAL : RING_QUIET;
}

/* The event goes out in one store: the driver never sees half of it. */
bool packed_kick_enable(struct ring *ring, bool on)
{
	struct packed_state *s = &ring->packed;
	uint32_t event = place_encode(s->avail) | (uint32_t)PACKED_EVENT_DESC << 16;

	s->armed = s->avail;
	s->event_flags = !on ? PACKED_EVENT_DISABLE : ring->event_idx ? PACKED_EVENT_DESC : PACKED_EVENT_ENABLE;
	if (s->event_flags == PACKED_EVENT_DESC)
		__atomic_store_n((event_word *)s->device, le32(event), __ATOMIC_RELAXED);
	else
		packed_mark(s, ring->size);
	if (!on)
		return false;
	ring_fence(); /* pair KICK */
	return packed_available(ring) != 0;
}
