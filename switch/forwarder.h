/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FORWARDER_H
#define SWITCH_FORWARDER_H

/* A worker that forwards frames: one burst of one in queue at a time. See forwarder.c; for how it polls and sleeps, work/worker.h. */

#include "switch/forward.h"
#include "switch/offload.h"
#include "switch/pace.h"
#include "switch/priority.h"
#include "switch/retry.h"
#include "switch/samples.h"
#include "switch/signals.h"
#include "switch/stall.h"
#include "work/worker.h"

struct cuts;
struct gro_room;
struct guard_room;
struct in_queue;
struct mirror_room;
struct multicast;
struct multicast_room;
struct sw;
struct trace_room;

struct forwarder {
	struct worker worker;
	/* Constant. */
	struct sw *sw;
	struct fdb *fdb;
	struct multicast *multicast; /* NULL: no snooping */
	bool stands_in; /* for a worker that stands still: see relief.c. No thread is started for its worker */
	bool samples; /* in queues are to tell where their frames lie: see spread.c */
	/* See claim.h and relief.c. */
	bool alone; /* atomic: the only one. Written by who stands in */
	bool relieved; /* atomic: somebody stands in, and holds the lock meanwhile */
	bool accused;  /* atomic: who stands in has said already who makes it wait */
	uint64_t reliefs; /* a counter, of who stands in: so often it has */
	pthread_mutex_t relief_lock;
	/* The worker's. */
	struct out_queue *at; /* atomic: that it uses, or waits for */
	bool hard; /* it has really claimed that */
	bool back; /* atomic: it waits for the lock */
	struct offload_arena *arena;
	struct cuts *cuts;
	struct guard_room *guard_room;
	struct gro_room *gro_room;
	struct multicast_room *multicast_room; /* NULL: no snooping */
	struct mirror_room *mirror_room;
	struct trace_room *trace_room;
	uint8_t mirroring; /* MIRRORING_*: 0 unless a frame in hand is mirrored or traced */
	struct sampling sampling;
	struct stall stall;
	struct pacer pacer;
	struct retry_list retries;
	struct signal_list signals;
	struct urgency urgency; /* of the list on its way: see priority.c */
	unsigned pieces_left; /* that may still be cut out of this burst */
	struct burst burst;
	struct vireo_frame frames[BURST_FRAMES];
};

int forwarder_new(struct sw *sw, unsigned index, int cpu, struct forwarder **ret_forwarder); /* its worker is not started */
void forwarder_free(struct forwarder *forwarder); /* stopped or never started; takes NULL */
/* Control thread. What the worker calls for the queue; the queue's own part is set. */
void forwarder_source_init(struct in_queue *in);
int forwarder_serve(struct forwarder *forwarder, struct in_queue *in); /* who stands in: a burst; as serve() of a source */

#endif
