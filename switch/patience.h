/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PATIENCE_H
#define SWITCH_PATIENCE_H

/*
 * How long an adaptive worker polls a queue that has run dry before it has itself be kicked.
 *
 * Being woken costs the next frame tens of microseconds; polling costs the CPU. A queue whose frames come at gaps
 * that are usually short is polled for twice such a gap: then the next frame is there. One whose gaps are long, or
 * that has just begun, is polled for the least time only. So a thousand frames a second find the worker awake, and a
 * guest that says something once a second costs next to nothing.
 */

#include "base/util.h"
#include <stdint.h>

#define PATIENCE_WEIGHT 8u /* of so many gaps the newest is one */

/* Nanoseconds between running dry and the next frames, smoothed. No gap counts for more than max_ns. */
static inline uint64_t patience_learn(uint64_t usual_ns, uint64_t gap_ns, uint64_t max_ns)
{
	return usual_ns - usual_ns / PATIENCE_WEIGHT + min_u64(gap_ns, max_ns) / PATIENCE_WEIGHT;
}

static inline uint64_t patience_ns(uint64_t usual_ns, uint64_t min_ns, uint64_t max_ns)
{
	uint64_t twice_ns = 2 * usual_ns;

	return twice_ns < min_ns || twice_ns > max_ns ? min_ns : twice_ns;
}

#endif
