/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_GRO_FRAMES_H
#define SWITCH_GRO_FRAMES_H

/* For tests: a burst of frames that is joined, and cut again: each of its frames must come out as it went in, and no flow be reordered. */

#include "switch/gro.h"
#include "switch/offload.h"

#define GFRAME_BYTES 1600u

struct gframe {
	uint32_t bytes;
	uint8_t at[GFRAME_BYTES];
};

struct gburst {
	unsigned count;
	struct gframe frames[BURST_FRAMES];
	uint32_t pieces_seed; /* how they lie in memory */
};

/* Of a flow: its number-th segment, with so much payload. `flow`: bit 0: IPv6; bit 1: tagged; bit 2: TCP options; others: ports. */
void gframe_make(struct gframe *f, unsigned flow, unsigned number, uint32_t sequence, uint32_t payload);
void gframe_sum(struct gframe *f); /* checksums and lengths are right again */
uint32_t gframe_transport(const struct gframe *f); /* offset */
uint32_t gframe_draw(uint32_t *seed, uint32_t below); /* a number at random; the same seed, the same numbers */

/* Returns into how many frames the burst was joined. Aborts if what is cut out of them differs. */
unsigned gburst_check(const struct gburst *burst, struct offload_arena *arena);

#endif
