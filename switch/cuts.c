/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Frames that are flooded and must be cut (or get their checksum) for some receivers: once for all of them.
 *
 * What comes out of a frame is the same for every port that does not take it whole. A flooded burst is gone through
 * in stretches: as many frames as the arena holds the pieces of are cut, each port gets the stretch, whole or in pieces, and the
 * arena is used again for the next. So the work of cutting does not grow with the number of ports, and each port
 * gets its frames in their order.
 */

#include "switch/cuts.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include <errno.h>
#include <stdlib.h>

#define CUTS_SLOTS        (OFFLOAD_SEGMENTS_MAX + 1) /* any one frame is cut, whatever it asks for */
#define CUTS_LINEAR_BYTES (16u * OFFLOAD_FRAME_BYTES)

int cuts_new(struct cuts **ret_cuts)
{
	struct cuts *cuts = calloc(1, sizeof(*cuts));
	int err;

	if (!cuts)
		return -ENOMEM;
	err = offload_arena_new(CUTS_SLOTS, CUTS_LINEAR_BYTES, &cuts->arena);
	if (err)
		free(cuts);
	else
		*ret_cuts = cuts;
	return err;
}

void cuts_free(struct cuts *cuts)
{
	if (!cuts)
		return;
	offload_arena_free(cuts->arena);
	free(cuts);
}

void cuts_reset(struct cuts *cuts)
{
	offload_reset(cuts->arena);
	cuts->frames = 0;
}

static void cut_all(struct cut *cut, struct offload_job *job)
{
	cut->state = CUT_MADE;
	cut->first = (uint16_t)job->arena->slots_used;
	while (!job->finished)
		offload_next(job);
	cut->count = (uint16_t)(job->arena->slots_used - cut->first);
}

static void over(struct forwarder *forwarder, unsigned index)
{
	uint64_t *counter = &forwarder->burst.from->counters[forwarder->worker.index].rx_segment_limit;

	counter_add(counter, 1);
	dropped_set(forwarder, &forwarder->burst, counter, 1ull << index);
}

bool cuts_add(struct forwarder *forwarder, unsigned index)
{
	struct cuts *cuts = forwarder->cuts;
	struct cut *cut = &cuts->of[index];
	struct offload_arena *arena = cuts->arena;
	uint32_t linear_used = arena->linear_used;
	struct offload_job job;
	int err = forwarder->pieces_left ? offload_begin(&job, arena, &forwarder->burst.frames[index]) : 0;

	if (err == -ENOSPC)
		return false;
	if (err) {
		cut->state = CUT_LIES;
	} else if (!forwarder->pieces_left || offload_pieces(&job) > forwarder->pieces_left) {
		cut->state = CUT_OVER;
		arena->linear_used = linear_used;
		over(forwarder, index);
	} else if (offload_pieces(&job) >= arena->slot_count - arena->slots_used) {
		arena->linear_used = linear_used;
		return false;
	} else {
		forwarder->pieces_left -= offload_pieces(&job);
		cut_all(cut, &job);
	}
	cuts->frames |= 1ull << index;
	return true;
}
