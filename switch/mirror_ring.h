/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MIRROR_RING_H
#define SWITCH_MIRROR_RING_H

/*
 * Copies of frames on their way from a worker to the thread that writes them, in order: one puts, one takes. What does not fit does not
 * come in. A ring takes MIRROR_RING_BYTES of address space, and as much memory as has been used of that.
 */

#include "vireo/frame.h"
#include <stdbool.h>
#include <stdint.h>

#define MIRROR_RING_BYTES (8u << 20)
#define MIRROR_NAME_BYTES 64u

/* What is known of a frame beside its bytes. */
struct mirror_record {
	uint32_t bytes;       /* that are kept of it; the first, for a gap may have no more than its 4 bytes and 4 more */
	uint32_t frame_bytes; /* that it had */
	uint64_t ns;          /* of the system's clock, since 1970 */
	uint16_t reason;      /* why it was dropped: see reasons.h; 0: it was not */
	uint8_t out;          /* it went to the port, and did not come from it */
	uint8_t at_bytes;     /* of the name of the port that dropped it, behind the frame's bytes */
};

struct mirror_ring {
	uint8_t *bytes; /* MIRROR_RING_BYTES; constant. Positions below count on for ever. */
	/* Who puts. */
	uint32_t put __attribute__((aligned(64))); /* not yet shown */
	uint32_t shown;                            /* read by who takes */
	/* Who takes. */
	uint32_t taken __attribute__((aligned(64))); /* read by who puts */
};

int mirror_ring_init(struct mirror_ring *ring); /* -ENOMEM */
void mirror_ring_fini(struct mirror_ring *ring); /* takes one that is all zeroes */

/* Who puts: record->bytes of the frame with its edit, and the name `at` (NULL: none). False: there is no room. Not shown yet. */
bool mirror_ring_put(struct mirror_ring *ring, const struct mirror_record *record, const struct vireo_frame *frame, const char *at);
void mirror_ring_show(struct mirror_ring *ring);

/* Who takes: the oldest record and its bytes, until it is dropped. NULL: there is none. */
const struct mirror_record *mirror_ring_first(struct mirror_ring *ring, const uint8_t **ret_bytes);
void mirror_ring_drop(struct mirror_ring *ring);

#endif
