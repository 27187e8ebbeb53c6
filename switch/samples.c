/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/samples.h"
#include "switch/core.h"
#include <string.h>
#include <time.h>

#define NS_PER_S   1000000000u
#define DICE_SHIFT 26u /* leaves 0 to 63 */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Half of SW_SAMPLED_BURSTS to one and a half. */
static void throw_dice(struct sampling *sampling)
{
	sampling->dice = sampling->dice * 1664525u + 1013904223u;
	sampling->left = SW_SAMPLED_BURSTS / 2 + 1 + (sampling->dice >> DICE_SHIFT);
}

void sampling_init(struct sampling *sampling, unsigned seed)
{
	sampling->dice = seed;
	throw_dice(sampling);
}

__attribute__((noinline)) uint64_t sampling_turn(struct sampling *sampling)
{
	throw_dice(sampling);
	return clock_ns();
}

/* The first bucket, of those whose upper bounds are `min`, twice that and so on, that has room for the value; the one behind them: none. */
static unsigned bucket_of(uint64_t value, uint64_t min, unsigned buckets)
{
	unsigned bucket = 0;

	while (bucket < buckets && value > min << bucket)
		bucket++;
	return bucket;
}

__attribute__((noinline)) void sampling_done(struct sw_port_samples *samples, uint64_t asked_ns, unsigned count)
{
	uint64_t stayed_ns = clock_ns() - asked_ns;

	counter_add(&samples->stay[bucket_of(stayed_ns, SW_STAY_NS_MIN, SW_STAY_BUCKETS)], count);
	counter_add(&samples->stay_ns, stayed_ns * count);
	counter_add(&samples->burst[bucket_of(count, 1, SW_BURST_BUCKETS - 1)], 1);
	counter_add(&samples->burst_frames, count);
}

/* ---- control thread ---- */

static void add(struct sw_port_samples *sum, const struct sw_port_samples *from)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sum->stay); i++)
		sum->stay[i] += counter_read(&from->stay[i]);
	sum->stay_ns += counter_read(&from->stay_ns);
	for (unsigned i = 0; i < ARRAY_SIZE(sum->burst); i++)
		sum->burst[i] += counter_read(&from->burst[i]);
	sum->burst_frames += counter_read(&from->burst_frames);
}

void sw_port_samples(const struct sw_port *port, struct sw_port_samples *ret_samples)
{
	struct sw_port_samples sum = {0};

	for (unsigned i = 0; i < switch_forwarders(port->sw); i++)
		add(&sum, &port->counters[i].samples);
	*ret_samples = sum;
}
