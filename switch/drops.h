/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_DROPS_H
#define SWITCH_DROPS_H

/*
 * For whoever counts a frame as dropped: tells it to those who look on, if there are any. `counter` is the one that was counted, of this
 * worker's for the port. Costs a test where frames are dropped, and nothing elsewhere.
 */

#include "switch/drop_probe.h"
#include "switch/forwarder.h"

void drop_tell(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter, struct vireo_frame *frame);
void drop_tell_list(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter, struct vireo_frame *const *frames,
		    unsigned count);
void drop_tell_set(struct forwarder *forwarder, const struct burst *burst, const uint64_t *counter, uint64_t frames);

static inline void dropped(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter, struct vireo_frame *frame)
{
	if (unlikely(forwarder->mirroring))
		drop_tell(forwarder, port, counter, frame);
	if (drop_probed())
		drop_probe(port, forwarder->worker.index, counter, 1);
}

static inline void dropped_list(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter,
				struct vireo_frame *const *frames, unsigned count)
{
	if (unlikely(forwarder->mirroring))
		drop_tell_list(forwarder, port, counter, frames, count);
	if (drop_probed())
		drop_probe(port, forwarder->worker.index, counter, count);
}

/* Of the burst's frames those of the set, at the port that has sent them. */
static inline void dropped_set(struct forwarder *forwarder, const struct burst *burst, const uint64_t *counter, uint64_t frames)
{
	if (unlikely(forwarder->mirroring))
		drop_tell_set(forwarder, burst, counter, frames);
	if (drop_probed())
		drop_probe(burst->from, forwarder->worker.index, counter, (unsigned)__builtin_popcountll(frames));
}

#endif
