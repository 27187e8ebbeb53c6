/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_OFFLOAD_H
#define SWITCH_OFFLOAD_H

/*
 * Offloads in software: does to a frame what its receiver will not. See offload.c.
 * Everything here belongs to one worker.
 */

#include "base/util.h"
#include "switch/headers.h"
#include "vireo/frame.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OFFLOAD_HEADER_BYTES 256u          /* longest pile of headers that is cut; options and extensions included */
#define OFFLOAD_FRAME_BYTES  (65535u + 78u) /* longest frame that is worked on: an IPv6 packet with tags */
#define OFFLOAD_SEGMENTS_MAX 2048u         /* out of one frame; TCP's least MSS makes 1365 */

/* One frame made here. */
struct offload_slot {
	struct vireo_frame frame;
	struct iovec iov[2];
	uint8_t header[OFFLOAD_HEADER_BYTES];
};

/* Holds the frames that were made since offload_reset(). */
struct offload_arena {
	uint32_t linear_used, linear_bytes;
	unsigned slots_used, slot_count;
	uint32_t fragment_id; /* IPv6: of the next datagram */
	uint8_t *linear;      /* private copies */
	struct offload_slot slots[];
};

/* A frame on the lathe. */
struct offload_job {
	struct offload_arena *arena;
	struct vireo_frame_offload request;
	struct headers headers;
	uint8_t *bytes;         /* private copy, in the arena */
	uint32_t frame_bytes;
	uint32_t header_bytes;  /* repeated in each piece */
	uint32_t payload_bytes; /* to be cut */
	uint32_t piece_bytes;   /* payload of each but the last */
	uint32_t done_bytes;
	uint32_t piece;         /* index of the next */
	uint32_t fragment_id;
	uint32_t mark;          /* the frame's, and of all that it is cut into */
	bool finished;
	bool udp_checksum;      /* USO: the datagrams get one */
};

/* With room for so many frames that are made, and for so many bytes that they are made of. -ENOMEM. */
int offload_arena_new(unsigned slots, uint32_t linear_bytes, struct offload_arena **ret_arena);
void offload_arena_free(struct offload_arena *arena);    /* takes NULL */
void offload_reset(struct offload_arena *arena);         /* nobody uses the frames made any more */

/* Makes a private copy, with the frame's edit, and checks it. -ENOSPC: deliver what was made, reset, try again. -EINVAL: its headers lie. */
int offload_begin(struct offload_job *job, struct offload_arena *arena, const struct vireo_frame *frame);
/* Whether the arena has room for one more. */
static inline bool offload_has_slot(const struct offload_arena *arena)
{
	return arena->slots_used < arena->slot_count;
}
/* How many frames that are still to come. */
static inline uint32_t offload_pieces(const struct offload_job *job)
{
	return job->piece_bytes ? (job->payload_bytes - job->done_bytes + job->piece_bytes - 1) / job->piece_bytes
				: 1;
}
/* The next frame, which lasts until the reset; NULL: that was all. Needs a slot. */
struct vireo_frame *offload_next(struct offload_job *job);

/* All of a frame in one piece, vireo_frame_bytes() long. The head is the frame's own;
 * the rest is read from the sender's memory, once. */
void offload_linearise(uint8_t *dst, const struct vireo_frame *frame);

/* Does the frame ask for nothing? Both of its bytes are looked at at once. */
static inline bool offload_is_plain(const struct vireo_frame_offload *request)
{
	uint16_t gso_and_flags;

	_Static_assert(offsetof(struct vireo_frame_offload, gso) == 0 && offsetof(struct vireo_frame_offload, flags) == 1, "one word");
	memcpy(&gso_and_flags, request, sizeof(gso_and_flags));
	return !gso_and_flags;
}

/* What a receiver must take to get this frame as it is (VIREO_OFFLOAD_*). */
static inline unsigned offload_needs(const struct vireo_frame_offload *request)
{
	static const uint8_t gso_needs[8] = {
		[VIREO_GSO_TCP4] = VIREO_OFFLOAD_TSO4,
		[VIREO_GSO_TCP6] = VIREO_OFFLOAD_TSO6,
		[VIREO_GSO_UDP_FRAG] = VIREO_OFFLOAD_UFO,
		[VIREO_GSO_UDP4] = VIREO_OFFLOAD_USO4,
		[VIREO_GSO_UDP6] = VIREO_OFFLOAD_USO6,
	};
	unsigned needs = gso_needs[request->gso & 7];

	if (request->flags & VIREO_FRAME_NEEDS_CSUM)
		needs |= VIREO_OFFLOAD_CSUM;
	if (needs & (VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6) && request->flags & VIREO_FRAME_ECN)
		needs |= VIREO_OFFLOAD_ECN;
	return needs;
}

#endif
