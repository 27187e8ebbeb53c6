/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Signals that are decided on later than at the publish that they are for: who uses the ring holds them back (device/coalesce.c).
 *
 * A publish then does not ask the driver whether it wants to be signalled, and what it has shown is remembered: from where on, and how
 * much. When the time has come, ring_wants_signal() asks, as if all of it had been one burst that has just been shown: what the driver has said
 * of its events by then holds. A driver that has looked at the ring meanwhile, as one that polls does, has moved its event on, and is not
 * woken; one that has found everything and sleeps wants the next, and is not woken either (2.7.10, 2.8.10).
 *
 * The event's place is told modulo 65536 entries, or two laps of a packed ring. So what is remembered is to stay below the ring's size: the
 * user asks by then. A burst more, of up to as many again, is still told apart.
 */

#include "ring/order.h"
#include "ring/ring_internal.h"

uint32_t ring_slots_since(const struct ring *ring, uint32_t from)
{
	struct packed_place first = place_decode(from), used = ring->packed.used;

	if (!ring->is_packed)
		return (uint16_t)(ring->split.next_used - from);
	return used.pos + (used.wrap == first.wrap ? 0 : ring->size) - first.pos;
}

void ring_signals_later(struct ring *ring)
{
	if (!(ring_special(ring) & RING_LATER))
		ring_special_set(ring, RING_LATER);
}

/* The driver's event state may be older than the ring: such a signal is wanted, whatever it says. */
void later_shown(struct ring *ring, uint32_t from, bool first)
{
	if (!ring->unsignalled)
		ring->unsignalled_from = from;
	ring->unsignalled += ring_slots_since(ring, from);
	ring->signal_next |= first;
}

bool ring_wants_signal(struct ring *ring)
{
	uint32_t shown = ring->unsignalled;
	bool first = ring->signal_next && ring->carried;

	if (!shown || ring->error)
		return false;
	ring->unsignalled = 0;
	ring->signal_next = ring->signal_next && !first;
	ring_fence(); /* pair SIGNAL */
	if (ring->is_packed)
		return packed_asks_signal(ring, shown) || first;
	return split_wants_signal(ring, (uint16_t)ring->unsignalled_from) || first;
}

uint32_t ring_unsignalled(const struct ring *ring)
{
	return ring->unsignalled;
}
