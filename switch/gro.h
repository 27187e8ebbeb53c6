/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_GRO_H
#define SWITCH_GRO_H

/* gro.c: TCP segments of a burst that follow one another become one large frame, which can be cut into them again. */

#include "switch/groups.h"
#include "vireo/frame.h"

#define GRO_HEADER_BYTES 128u /* link, IP and TCP header of a segment, at most */
#define GRO_PIECES_MAX   4u   /* of memory, in which a segment lies */

/* A worker's scratch: what merged frames are made of, until the burst is over. */
struct gro_room {
	uint8_t headers[BURST_FRAMES][GRO_HEADER_BYTES];
	struct iovec pieces[BURST_FRAMES * GRO_PIECES_MAX + BURST_FRAMES];
};

/* Returns how many frames are left, at most BURST_FRAMES, in their order. */
unsigned gro_merge(struct gro_room *room, struct vireo_frame *frames, unsigned count);

#endif
