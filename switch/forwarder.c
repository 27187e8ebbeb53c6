/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a worker (work/worker.c) does for the switch: a round is a burst from each in queue that has frames. It asks the
 * port's ops for them, has them forwarded (forward.c), and gives them back.
 *
 * A burst is of up to BURST_FRAMES. It is the sender who says how long one takes: frames of 64 KiB, copies for fifty ports, a page
 * to be made for each frame. Others wait for that, so a queue whose turns are long gets fewer frames in the next, and by and by more
 * again. Turns come as often as before: who has large frames to send moves as many of them.
 *
 * One long turn says nothing of the sender: somebody else may have had the CPU meanwhile, another process or another machine. A second
 * one within WARY_TURNS does: a sender whose frames take long has a long turn each time. Who mixes in short ones to hide it has one long
 * turn in three.
 */

#include "switch/forwarder.h"
#include "switch/core.h"
#include "switch/cuts.h"
#include "switch/gro.h"
#include "switch/guards.h"
#include "switch/mirror_internal.h"
#include "switch/multicast.h"
#include "switch/relief.h"
#include "switch/trace_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_OF_A_STALL   80u /* a turn of 62 us is a long one */
#define WARY_TURNS         2u /* after a long one, in which the next long one is no accident */
#define ARENA_LINEAR_BYTES (128u * 1024) /* one of the longest frames, and some of others */

/* The same as without being watched, see stall.c. */
static int receive_watched(struct forwarder *forwarder, struct in_queue *in)
{
	uint64_t begun = stall_begin(forwarder);
	int count;

	count = in->ops->receive(in->opaque, in->number, forwarder->frames, in->turn_frames);
	if (count > 0)
		stall_touch(forwarder->frames, (unsigned)count);
	stall_end(forwarder, begun, in->port);
	return count;
}

static void release_watched(struct forwarder *forwarder, struct in_queue *in)
{
	uint64_t begun = stall_begin(forwarder);

	in->ops->release(in->opaque, in->number);
	stall_end(forwarder, begun, in->port);
}

/* What another CPU has written there comes while this queue is served. */
static inline void expect(struct source *next)
{
	const struct in_queue *in = container_of(next, struct in_queue, source);

	if (in->ops->expect)
		in->ops->expect(in->opaque, in->number);
}

/* A turn has been long: more frames again, and in the end it is forgotten. */
static __attribute__((noinline)) void turn_eases(struct in_queue *in)
{
	in->turn_frames = min_u32(in->turn_frames + 1 + in->turn_frames / 4, BURST_FRAMES);
	if (in->turn_frames == BURST_FRAMES)
		in->wary_turns--;
}

/* One burst of one queue. Returns the frames, or what receive said. */
static int serve(struct worker *worker, struct source *source, struct source *next)
{
	struct forwarder *forwarder = container_of(worker, struct forwarder, worker);
	struct in_queue *in = container_of(source, struct in_queue, source);
	struct burst *burst = &forwarder->burst;
	uint64_t asked_ns;
	int count;

	if (unlikely(in->pace.serial) && !forwarder->stands_in)
		return 0;
	forwarder->pacer.on = unlikely(patience_yields(&worker->patience, worker->now_ns)) && pace_begin(forwarder);
	if (next)
		expect(next);
	asked_ns = sampling_asked(&forwarder->sampling);
	count = likely(!forwarder->stall.alert)
			? in->ops->receive(in->opaque, in->number, forwarder->frames, in->turn_frames)
			: receive_watched(forwarder, in);
	if (count <= 0)
		return count;
	if (unlikely(in->wary_turns))
		turn_eases(in);
	if (unlikely(forwarder->samples) && in->ops->peer_memory)
		__atomic_store_n(&in->sample, forwarder->frames[0].iov[0].iov_base, __ATOMIC_RELAXED);
	burst->topology = topology_of(worker->table);
	burst->from = in->port;
	burst->rules = &topology_port(burst->topology, in->port->id)->rules;
	burst->frames = forwarder->frames;
	burst->count = (unsigned)count;
	burst->queue = (uint16_t)in->number;
	forward_burst(forwarder, burst);
	if (unlikely(forwarder->pacer.on))
		pace_end(forwarder, in);
	if (likely(!forwarder->stall.alert))
		in->ops->release(in->opaque, in->number);
	else
		release_watched(forwarder, in);
	if (unlikely(signals_held(in->port)))
		signals_in(forwarder, in);
	if (unlikely(asked_ns))
		sampling_done(&in->port->counters[worker->index].samples, asked_ns, (unsigned)count);
	return count;
}

int forwarder_serve(struct forwarder *forwarder, struct in_queue *in)
{
	return serve(&forwarder->worker, &in->source, NULL);
}

/* What waits for its receiver needs no kick: pace_due() comes back to it. One that comes from another worker may bring a signal that is held back. */
static bool arm(struct source *source, bool on)
{
	struct in_queue *in = container_of(source, struct in_queue, source);

	if (unlikely(on && in->pace.serial))
		return false;
	if (unlikely(signals_held(in->port)))
		signals_in(container_of(source->worker, struct forwarder, worker), in);
	return in->ops->kick_enable(in->opaque, in->number, on);
}

static const struct source_ops in_queue_source_ops = {.serve = serve, .arm = arm};

static uint64_t turn_cycles(const struct sw *sw)
{
	return sw->stall_cycles < UINT64_MAX ? sw->stall_cycles / TURNS_OF_A_STALL : UINT64_MAX;
}

static void took_long(struct worker *worker, struct source *source, uint64_t cycles)
{
	struct forwarder *forwarder = container_of(worker, struct forwarder, worker);
	struct in_queue *in = container_of(source, struct in_queue, source);
	uint64_t frames = in->turn_frames * turn_cycles(forwarder->sw) / cycles;

	relief_end(forwarder);
	if (in->wary_turns)
		in->turn_frames = frames ? (unsigned)frames : 1;
	in->wary_turns = WARY_TURNS + 1; /* each of them eases before it can be long */
	if (cycles > forwarder->sw->stall_cycles)
		stall_suspect(&forwarder->stall);
}

static void due(struct worker *worker)
{
	struct forwarder *forwarder = container_of(worker, struct forwarder, worker);

	retry_due(forwarder);
	signals_due(forwarder);
	pace_due(forwarder);
}

/* ---- control thread ---- */

void forwarder_source_init(struct in_queue *in)
{
	in->turn_frames = BURST_FRAMES;
	source_init(&in->source, &in_queue_source_ops,
		    in->ops->kick_fd ? in->ops->kick_fd(in->opaque, in->number) : -1);
}

static int forwarder_init(struct forwarder *forwarder, struct sw *sw, unsigned index, int cpu)
{
	char name[16];
	struct worker_config config = {
		.name = name,
		.index = index,
		.cpu = cpu,
		.poll = sw->mode == SW_POLL,
		.spin_us = sw->spin_us,
		.spin_percent = sw->spin_percent,
		.published = &sw->published,
		.rcu_key = &sw->rcu_key,
		.long_cycles = turn_cycles(sw),
		.took_long = took_long,
		.due = due,
		.watch = relief_watch(sw->relief),
	};
	int err;

	snprintf(name, sizeof(name), "sw-worker-%u", index % 10000);
	forwarder->sw = sw;
	forwarder->fdb = sw->fdb;
	forwarder->multicast = sw->multicast;
	forwarder->stands_in = index == sw->worker_count;
	forwarder->alone = sw->worker_count == 1 && !forwarder->stands_in;
	pthread_mutex_init(&forwarder->relief_lock, NULL);
	forwarder->samples = sw->samples;
	sampling_init(&forwarder->sampling, index);
	err = worker_init(&forwarder->worker, &config);
	forwarder->guard_room = malloc(sizeof(*forwarder->guard_room)); /* pages that no guard needs are never touched */
	forwarder->gro_room = malloc(sizeof(*forwarder->gro_room));
	forwarder->mirror_room = malloc(sizeof(*forwarder->mirror_room));
	forwarder->trace_room = malloc(sizeof(*forwarder->trace_room));
	if (sw->multicast)
		forwarder->multicast_room = malloc(sizeof(*forwarder->multicast_room));
	if (!err && (!forwarder->guard_room || !forwarder->gro_room || !forwarder->mirror_room || !forwarder->trace_room || (sw->multicast && !forwarder->multicast_room)))
		err = -ENOMEM;
	if (!err)
		err = cuts_new(&forwarder->cuts);
	return err ? err : offload_arena_new(BURST_FRAMES, ARENA_LINEAR_BYTES, &forwarder->arena);
}

int forwarder_new(struct sw *sw, unsigned index, int cpu, struct forwarder **ret_forwarder)
{
	struct forwarder *forwarder = aligned_alloc(CACHE_LINE_BYTES, sizeof(*forwarder));
	int err;

	if (!forwarder)
		return -ENOMEM;
	memset(forwarder, 0, sizeof(*forwarder));
	err = forwarder_init(forwarder, sw, index, cpu);
	if (err)
		forwarder_free(forwarder);
	else
		*ret_forwarder = forwarder;
	return err;
}

void forwarder_free(struct forwarder *forwarder)
{
	if (!forwarder)
		return;
	worker_fini(&forwarder->worker);
	offload_arena_free(forwarder->arena);
	cuts_free(forwarder->cuts);
	retry_list_free(&forwarder->retries);
	signal_list_free(&forwarder->signals);
	free(forwarder->guard_room);
	free(forwarder->gro_room);
	free(forwarder->multicast_room);
	free(forwarder->mirror_room);
	free(forwarder->trace_room);
	pthread_mutex_destroy(&forwarder->relief_lock);
	free(forwarder);
}
