/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_CUTS_H
#define SWITCH_CUTS_H

/* What frames of a flooded burst are cut into, for all receivers: see cuts.c. */

#include "switch/forward.h"
#include "switch/offload.h"

enum cut_state {
	CUT_MADE,
	CUT_LIES, /* its headers do */
	CUT_OVER, /* it would make more pieces than the burst has left; that is counted */
};

struct cut {
	enum cut_state state;
	uint16_t first, count; /* slots of the arena */
};

/* What frames of the burst in hand have been cut into, for all who need that. */
struct cuts {
	struct offload_arena *arena;
	uint64_t frames; /* bit i: frame i is in `of` */
	struct cut of[BURST_FRAMES];
};

int cuts_new(struct cuts **ret_cuts); /* -ENOMEM */
void cuts_free(struct cuts *cuts);    /* takes NULL */
/* Worker. Nobody uses the pieces any more. */
void cuts_reset(struct cuts *cuts);
/* Worker. Frame `index` of the burst is cut. False: there is no room; deliver what is there, and reset. */
bool cuts_add(struct forwarder *forwarder, unsigned index);

#endif
