/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_SAMPLES_H
#define SWITCH_SAMPLES_H

/*
 * How long frames stay in the switch, and how many come at once: of one burst in SW_SAMPLED_BURSTS or so. The clock is read for that one alone, so
 * others pay for a counter that is counted down. The dice make sure that no queue is passed over because it is served at each so many-th place.
 */

#include "base/util.h"
#include "switch/port.h"

/* A worker's. */
struct sampling {
	uint32_t left; /* queues are asked so many times until one is timed */
	uint32_t dice;
};

void sampling_init(struct sampling *sampling, unsigned seed);
uint64_t sampling_turn(struct sampling *sampling); /* now, in ns, which is never 0 */
/* `count` frames from a queue that was asked at that time have been forwarded. */
void sampling_done(struct sw_port_samples *samples, uint64_t asked_ns, unsigned count);

/* A queue is about to be asked: 0, or when, if what it brings is to be timed. */
static inline uint64_t sampling_asked(struct sampling *sampling)
{
	return likely(--sampling->left) ? 0 : sampling_turn(sampling);
}

#endif
