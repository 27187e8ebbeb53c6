/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The mark of rest: word in the ring itself that nothing was in flight when it was stopped where it stands.
 *
 * Of a device that completes chains in any order, a ring in which chains wait looks the same whether they have never been popped, or were in
 * flight when their process was killed. A front end that keeps memory for what is in flight (ledger.c) has the answer; one that does not, and
 * moves its guest, gives a ring to a successor who would have to guess. So whoever stops the ring in order says so, before the base is
 * told. It lies in the device's own part of the ring's memory, where it goes along with the guest, and in no place that a driver looks at:
 *
 *	split	while chains wait, the used entry that comes next: no driver reads it before the index says so (virtio 1.3, 2.7.8). Its id
 *		is none of a descriptor, its length is made of the index. Fewer than all are used then and not taken by the driver, and
 *		the next entry is none of those
 *	split	where nothing waits, and that entry may be the oldest that the driver has not taken: the flags of the used ring. NO_NOTIFY is
 *		not set, the other bits, which are reserved, are made of the index. A driver looks at NO_NOTIFY alone, and reads "kick
 *		me". Nothing is in doubt as long as nothing waits; but the driver may run on, and make chains available before its next
 *		back end looks
 *	packed	the device event area: ENABLE, with bits set that are reserved (2.8.14), and the place as in any mark of ours (place.c). A
 *		driver that compares what is there with DISABLE and with DESC, as all known ones do, reads "kick me"
 *
 *	stop in order		ring_rest(): the mark is there
 *	start			ring_new() takes it away before anything is popped (rest_end()): a process that is killed later leaves none
 *	given up, unused	ring_unused(): it is there again
 *	somebody else starts	he writes his first used entry, or his event area, over it. One who does neither and is killed has
 *				completed nothing since: what he popped is popped again, as what is in flight always is
 *
 * A start leaves no mark in a split ring, of whatever index: a driver that sets its ring up anew need not clear used entries, and one from the
 * ring's former life would be found where the index has not come again. The flags are written when kicks are turned on or off; not by
 * another program where EVENT_IDX is: its ring would have to be left 32767 chains further, or a multiple of it, to be mistaken.
 *
 * A driver that makes a mark itself has what it had in flight popped once more: it lies to its own device about its own requests.
 */

#include "ring/order.h"
#include "ring/ring_internal.h"

#define SPLIT_REST_ID 0x54534552u /* no descriptor's: those are below 32768 */

typedef uint32_t event_word __attribute__((may_alias));

static inline uint32_t split_rest_len(uint16_t idx)
{
	return (uint32_t)(uint16_t)~idx << 16 | idx;
}

/* Never what a device in use writes: 0, or NO_NOTIFY. */
static inline uint16_t split_rest_flags(uint16_t idx)
{
	return (uint16_t)((idx % 0x7fffu + 1) << 1);
}

static inline uint32_t packed_rest_event(struct packed_place place, uint32_t size)
{
	return place_lifted(place, place_mark_lift(size)) | (uint32_t)PACKED_EVENT_REST << 16;
}

static bool packed_rests(const struct ring_setup *setup, uint32_t place)
{
	const event_word *device = setup->device;
	uint32_t event = le32(__atomic_load_n(device, __ATOMIC_RELAXED));

	return event == packed_rest_event(place_decode(place), setup->size);
}

static bool split_rests(const struct ring_setup *setup, uint16_t idx)
{
	const struct split_used *used = setup->device;
	const struct split_used_elem *elem = &used->ring[idx & (setup->size - 1)];

	if (le16(__atomic_load_n(&used->flags, __ATOMIC_RELAXED)) == split_rest_flags(idx))
		return true;
	return le32(__atomic_load_n(&elem->id, __ATOMIC_RELAXED)) == SPLIT_REST_ID &&
	       le32(__atomic_load_n(&elem->len, __ATOMIC_RELAXED)) == split_rest_len(idx);
}

bool rest_found(const struct ring_setup *setup, uint32_t place)
{
	return setup->packed ? packed_rests(setup, place) : split_rests(setup, (uint16_t)place);
}

static void split_marks_clear(const struct ring *ring)
{
	struct split_used_elem *elems = ring->split.used->ring;

	for (uint32_t i = 0; i < ring->size; i++)
		if (le32(__atomic_load_n(&elems[i].id, __ATOMIC_RELAXED)) == SPLIT_REST_ID)
			__atomic_store_n(&elems[i].id, 0, __ATOMIC_RELAXED);
}

/* ring_begin() asks for kicks next: that writes over a packed ring's and over flags, and has a full barrier behind it. */
void rest_end(struct ring *ring, const struct ring_setup *setup)
{
	ring->keeps_order = setup->keeps_order;
	if (setup->keeps_order)
		return;
	ring->rested = rest_found(setup, ring_shown(ring));
	if (!setup->packed)
		split_marks_clear(ring);
}

static void packed_rest(const struct ring *ring)
{
	const struct packed_state *s = &ring->packed;

	__atomic_store_n((event_word *)s->device, le32(packed_rest_event(s->first, ring->size)), __ATOMIC_RELAXED);
}

static void split_rest(const struct ring *ring)
{
	const struct split_state *s = &ring->split;
	struct split_used_elem *elem = &s->used->ring[s->published & (ring->size - 1)];
	uint16_t waiting = (uint16_t)(le16(__atomic_load_n(&s->avail->idx, __ATOMIC_RELAXED)) - s->published);

	if (waiting > ring->size)
		return;
	if (!waiting) {
		__atomic_store_n(&s->used->flags, le16(split_rest_flags(s->published)), __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(&elem->len, le32(split_rest_len(s->published)), __ATOMIC_RELAXED);
	__atomic_store_n(&elem->id, le32(SPLIT_REST_ID), __ATOMIC_RELAXED);
}

/* Where the driver has been shown that its chains are used. */
static void rest_write(struct ring *ring)
{
	if (ring->is_packed)
		packed_rest(ring);
	else
		split_rest(ring);
	ring_fence(); /* before the base is told, and before anything is logged */
	if (ring->log)
		log_rested(ring);
}

void ring_rest(struct ring *ring)
{
	if (ring->error || ring->keeps_order || ring->outstanding || ring->staged || witness_owes(ring))
		return;
	ring_log_take(ring);
	rest_write(ring);
}

void ring_unused(struct ring *ring)
{
	if (ring->rested && !ring->error && !ring->carried)
		rest_write(ring);
}
