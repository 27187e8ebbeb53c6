/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A port without a limit costs one test a burst: sw_port.limited. With one, a burst looks at the clock once, asks the buckets what they
 * hold, lets frames pass until one is empty, and takes what has passed from all of them in the end. Several workers that serve one port
 * may each find the same tokens: it has a burst more then, once, and pays for it.
 *
 * What is beyond a limit is dropped and counted (policing). The switch keeps no frames: they lie in their senders' memory until they are
 * copied into the receiver's, so a queue in between would be a copy more, and memory that a guest can fill.
 *
 * A frame that is to be cut counts as what it is cut into: nobody gets round a limit of frames by large ones. Bytes are those of the
 * frame, without check sequence, preamble and gap.
 */

#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/mirror_internal.h"
#include <string.h>

#define BURST_PART       10u    /* of a second's tokens, where no burst is given */
#define BURST_BYTES_MIN  65536u /* a frame of the longest, as hosts make them */
#define BURST_FRAMES_MIN 16u

static bool set(struct bucket *bucket, const struct sw_limit *to, uint64_t least)
{
	uint64_t burst = to->burst ? to->burst : max_u64(to->per_second / BURST_PART, least);

	bucket_fill(bucket, to->per_second, burst);
	return to->per_second;
}

unsigned limits_set(struct port_limits *limits, const struct sw_limits *to)
{
	unsigned limited = 0;

	limited |= set(&limits->in.bytes, &to->bytes_in, BURST_BYTES_MIN) ? LIMITED_IN : 0;
	limited |= set(&limits->in.frames, &to->frames_in, BURST_FRAMES_MIN) ? LIMITED_IN : 0;
	limited |= set(&limits->out.bytes, &to->bytes_out, BURST_BYTES_MIN) ? LIMITED_OUT : 0;
	limited |= set(&limits->out.frames, &to->frames_out, BURST_FRAMES_MIN) ? LIMITED_OUT : 0;
	limited |= set(&limits->storm[STORM_BROADCAST], &to->broadcast, BURST_FRAMES_MIN) ? LIMITED_STORM : 0;
	limited |= set(&limits->storm[STORM_MULTICAST], &to->multicast, BURST_FRAMES_MIN) ? LIMITED_STORM : 0;
	limited |= set(&limits->storm[STORM_UNICAST], &to->unknown, BURST_FRAMES_MIN) ? LIMITED_STORM : 0;
	limited |= to->priority != SW_PRIORITY_OFF ? LIMITED_PRIORITY : 0;
	__atomic_store_n(&limits->priority, (uint8_t)to->priority, __ATOMIC_RELAXED);
	return limited;
}

static struct port_counters *counters_of(const struct forwarder *forwarder, const struct sw_port *port)
{
	return &port->counters[forwarder->worker.index];
}

static uint64_t frames_of(const struct vireo_frame *frame)
{
	if (likely(frame->offload.gso == VIREO_GSO_NONE))
		return 1;
	return 1 + (frame->len_bytes - 1) / frame->offload.segment_bytes;
}

/* What the buckets of a direction hold during a burst, and what of it is used. */
struct purse {
	struct limit_pair *pair;
	uint64_t now_ns;
	int64_t bytes_left, frames_left;
	uint64_t bytes, frames;
};

static void purse_open(struct purse *purse, struct forwarder *forwarder, struct limit_pair *pair)
{
	worker_clock_read(&forwarder->worker);
	*purse = (struct purse){
		.pair = pair,
		.now_ns = forwarder->worker.now_ns,
		.bytes_left = bucket_left(&pair->bytes, forwarder->worker.now_ns),
		.frames_left = bucket_left(&pair->frames, forwarder->worker.now_ns),
	};
}

__attribute__((always_inline)) static inline bool purse_pay(struct purse *purse, const struct vireo_frame *frame)
{
	if (purse->bytes_left <= bucket_cost(&purse->pair->bytes, purse->bytes) ||
	    purse->frames_left <= bucket_cost(&purse->pair->frames, purse->frames))
		return false;
	purse->bytes += frame->len_bytes;
	purse->frames += frames_of(frame);
	return true;
}

static void purse_close(const struct purse *purse)
{
	bucket_draw(&purse->pair->bytes, purse->bytes, purse->now_ns, BUCKET_DEBT_MAX);
	bucket_draw(&purse->pair->frames, purse->frames, purse->now_ns, BUCKET_DEBT_MAX);
}

static __attribute__((noinline)) void refused_in(struct forwarder *forwarder, const struct sw_port *from, struct vireo_frame *frame)
{
	dropped(forwarder, from, &counters_of(forwarder, from)->rx_rate_limit, frame);
}

unsigned limits_in(struct forwarder *forwarder, struct burst *burst)
{
	struct vireo_frame *frames = burst->frames;
	unsigned left = 0, count = burst->count;
	struct purse purse;

	purse_open(&purse, forwarder, &burst->from->limits.in);
	for (unsigned i = 0; i < count; i++) {
		if (!purse_pay(&purse, &frames[i])) {
			refused_in(forwarder, burst->from, &frames[i]);
			continue;
		}
		if (left != i)
			frames[left] = frames[i];
		left++;
	}
	purse_close(&purse);
	burst->count = left;
	if (left < count)
		counter_add(&counters_of(forwarder, burst->from)->rx_rate_limit, count - left);
	return left;
}

/* To a port, before the list that goes there: whoever mirrors the port sees that, too. */
static __attribute__((noinline)) void refused_out(struct forwarder *forwarder, struct sw_port *to, const uint64_t *counter,
						  struct vireo_frame *frame)
{
	dropped(forwarder, to, counter, frame);
	if (unlikely(__atomic_load_n(&to->limited, __ATOMIC_RELAXED) & PORT_MIRRORED))
		mirror_out_dropped(forwarder, to, counter, frame);
}

unsigned limits_out(struct forwarder *forwarder, struct sw_port *to, struct vireo_frame **frames, unsigned count)
{
	unsigned left = 0;
	struct purse purse;

	purse_open(&purse, forwarder, &to->limits.out);
	for (unsigned i = 0; i < count; i++) {
		if (purse_pay(&purse, frames[i]))
			frames[left++] = frames[i];
		else
			refused_out(forwarder, to, &counters_of(forwarder, to)->tx_rate_limit, frames[i]);
	}
	purse_close(&purse);
	if (left < count)
		counter_add(&counters_of(forwarder, to)->tx_rate_limit, count - left);
	return left;
}

static int64_t kept(const struct bucket *bucket, unsigned leaves)
{
	return bucket_limits(bucket) ? (int64_t)parts_left(__atomic_load_n(&bucket->full, __ATOMIC_RELAXED), leaves) : 0;
}

/* What a class leaves is taken out of the purse, and looked at again for what finds nothing in it. */
unsigned limits_out_of_class(struct forwarder *forwarder, struct sw_port *to, struct vireo_frame **frames, unsigned count)
{
	struct port_counters *counters = counters_of(forwarder, to);
	struct limit_pair *pair = &to->limits.out;
	unsigned left = 0, less_urgent = 0;
	int64_t bytes_kept = kept(&pair->bytes, forwarder->urgency.leaves), frames_kept = kept(&pair->frames, forwarder->urgency.leaves);
	struct purse purse;

	purse_open(&purse, forwarder, pair);
	purse.bytes_left -= bytes_kept;
	purse.frames_left -= frames_kept;
	for (unsigned i = 0; i < count; i++) {
		bool pays = purse_pay(&purse, frames[i]), yields;

		yields = !pays && forwarder->urgency.leaves && purse.bytes_left + bytes_kept > bucket_cost(&pair->bytes, purse.bytes) &&
			 purse.frames_left + frames_kept > bucket_cost(&pair->frames, purse.frames);
		less_urgent += yields;
		if (pays)
			frames[left++] = frames[i];
		else
			refused_out(forwarder, to, yields ? &counters->tx_less_urgent : &counters->tx_rate_limit, frames[i]);
	}
	purse_close(&purse);
	counter_add(&counters->tx_rate_limit, count - left - less_urgent);
	counter_add(&counters->tx_less_urgent, less_urgent);
	return left;
}

static enum storm storm_of(const struct vireo_frame *frame)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!(frame->head[0] & 1))
		return STORM_UNICAST;
	return memcmp(frame->head, broadcast, sizeof(broadcast)) == 0 ? STORM_BROADCAST : STORM_MULTICAST;
}

static uint64_t *storm_counter(struct port_counters *counters, enum storm storm)
{
	if (storm == STORM_BROADCAST)
		return &counters->rx_storm_broadcast;
	return storm == STORM_MULTICAST ? &counters->rx_storm_multicast : &counters->rx_storm_unicast;
}

static void refuse_storm(struct forwarder *forwarder, const struct burst *burst, enum storm storm, uint64_t frame)
{
	uint64_t *counter = storm_counter(counters_of(forwarder, burst->from), storm);

	counter_add(counter, 1);
	dropped_set(forwarder, burst, counter, frame);
}

uint64_t limits_storm(struct forwarder *forwarder, const struct burst *burst, uint64_t flooded)
{
	struct bucket *storms = burst->from->limits.storm;
	int64_t left[STORM_KINDS] = {0};
	uint64_t taken[STORM_KINDS] = {0}, passed = flooded;

	worker_clock_read(&forwarder->worker);
	for (unsigned i = 0; i < STORM_KINDS; i++)
		left[i] = bucket_left(&storms[i], forwarder->worker.now_ns);
	for (; flooded; flooded &= flooded - 1) {
		const struct vireo_frame *frame = &burst->frames[__builtin_ctzll(flooded)];
		enum storm storm = storm_of(frame);

		if (left[storm] > bucket_cost(&storms[storm], taken[storm])) {
			taken[storm] += frames_of(frame);
		} else {
			passed &= ~(flooded & -flooded);
			refuse_storm(forwarder, burst, storm, flooded & -flooded);
		}
	}
	for (unsigned i = 0; i < STORM_KINDS; i++)
		bucket_draw(&storms[i], taken[i], forwarder->worker.now_ns, BUCKET_DEBT_MAX);
	return passed;
}
