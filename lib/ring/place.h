/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_PLACE_H
#define RING_PLACE_H

/* Places in the packed ring, and what a descriptor's flags say in the lap of one (virtio 1.3, 2.8.1). */

#include "wire/virtio_ring.h"
#include <stdbool.h>
#include <stdint.h>

/* A place in the packed ring: the line (wrap, pos) on which everything is ordered (2.8.1). */
struct packed_place {
	uint16_t pos;
	bool wrap;
};

static inline struct packed_place place_forward(struct packed_place place, uint32_t descs, uint32_t size)
{
	uint32_t pos = place.pos + descs;
	bool over = pos >= size;

	return (struct packed_place){ .pos = (uint16_t)(over ? pos - size : pos), .wrap = place.wrap ^ over };
}

static inline struct packed_place place_back(struct packed_place place, uint32_t descs, uint32_t size)
{
	bool under = place.pos < descs;

	return (struct packed_place){
		.pos = (uint16_t)(under ? place.pos + size - descs : place.pos - descs),
		.wrap = place.wrap ^ under,
	};
}

/* 2.8.1: AVAIL equal to the lap's wrap counter, USED not. */
static inline bool packed_is_available(uint16_t flags, bool wrap)
{
	unsigned wanted = wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;

	return (flags & (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK)) == wanted;
}

static inline unsigned packed_used_flags(bool wrap, uint32_t written_bytes)
{
	return (wrap ? PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK : 0) | (written_bytes ? DESC_F_WRITE : 0);
}

/* A half of what ring_base() returns. */
static inline uint32_t place_encode(struct packed_place place)
{
	return (uint32_t)place.pos | (uint32_t)place.wrap << 15;
}

static inline struct packed_place place_decode(uint32_t half)
{
	return (struct packed_place){ .pos = half & 0x7fff, .wrap = half >> 15 & 1 };
}

/*
 * What our mark in the device event area has more than the place, while no kick is asked for: no offset for which one could have been.
 * Rings of more descriptors have only the 1 to spare, by which such a mark differs from none at all.
 */
static inline uint32_t place_mark_lift(uint32_t size)
{
	return size <= 0x4000 ? 0x4000 : 1;
}

/* A place as the device event area holds it, so much further: by place_mark_lift() in a mark, by nothing where it is the place of a kick. */
static inline uint32_t place_lifted(struct packed_place place, uint32_t lift)
{
	return ((place.pos + lift) & PACKED_EVENT_OFFSET_MASK) | (uint32_t)place.wrap << PACKED_EVENT_WRAP_BIT;
}

/* What the flags of the device event area are while the ring is at rest (rest.c): to a driver ENABLE, and no word that a device in use writes. */
#define PACKED_EVENT_REST (PACKED_EVENT_ENABLE | 0x5e50u)

static inline bool place_equal(struct packed_place a, struct packed_place b)
{
	return a.pos == b.pos && a.wrap == b.wrap;
}

#endif
