/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_TRACE_INTERNAL_H
#define SWITCH_TRACE_INTERNAL_H

/* Traces inside: trace.c comes, goes and tells (control thread), trace_burst.c notes (workers), trace_ring.h is between them. */

#include "switch/forwarder.h"
#include "switch/mirror_internal.h"
#include "switch/trace.h"
#include "work/grace.h"

#define TRACE_RING_FRAMES 256u /* a power of two; of one worker */

/* What one worker says. Positions count on for ever. */
struct trace_ring {
	uint32_t put __attribute__((aligned(CACHE_LINE_BYTES))); /* the worker's, read by who reads */
	uint64_t lost;						 /* likewise */
	uint32_t taken __attribute__((aligned(CACHE_LINE_BYTES))); /* who reads; read by the worker */
	struct sw_trace_frame frame[TRACE_RING_FRAMES];
};

struct sw_trace {
	/* Constant. */
	struct sw *sw;
	unsigned id;
	struct sw_port *port; /* until it is unhooked */
	bool to;	      /* frames that are to go there, and not those that come from there */
	uint32_t serial;      /* the port's */
	char *name;
	unsigned workers;
	struct trace_ring *rings; /* of each worker */
	int64_t left; /* atomic: so many more frames are wanted */
	/* Control thread. */
	TAILQ_ENTRY(sw_trace) link; /* sw.traces */
	struct loop_timer *timer;
	bool hooked; /* workers know it */
	bool quiet;  /* none does any more */
	bool ending; /* nobody is to find it any more */
	struct grace_item gone;
};

/* ---- trace_burst.c: workers ---- */

struct trace_note {
	struct sw_trace_frame frame;
	bool tagged;	    /* it has come with the tag of its VLAN */
	uint32_t made;	    /* at who is to get it now: into so many it has been cut, */
	uint32_t dropped, held; /* and of those so many are lost, or held */
	uint8_t receivers;	/* bit i: it was to go to that of room.to[i] */
};

/* A worker's scratch: notes have the places of frames' marks, as in mirror_room. */
struct trace_room {
	unsigned sources, count;
	struct vireo_frame *frames;
	struct {
		const struct sw_port *port; /* that is traced: a member of a bond, or the bond */
		uint64_t frames;	    /* bit i: the one whose mark is i + 1 */
	} source[2];
	struct sw_trace *to[SW_TRACES_TO_MAX]; /* who is told of what goes to a port, when the burst came; or NULL */
	bool any_to;
	struct trace_note note[BURST_FRAMES + 1];
};

static inline struct sw_trace_step trace_of_port(enum sw_trace_what what, const struct sw_port *port, uint32_t n)
{
	return (struct sw_trace_step){.what = (uint8_t)what, .port = port->id, .serial = (uint32_t)port->serial, .n = n};
}

static inline bool traced(const struct forwarder *forwarder)
{
	return unlikely(forwarder->mirroring & MIRRORING_TRACED);
}

/* What follows is noted if the burst's port is traced, which it has come to at port `at`. A second time for a burst: it is a bond's by now. */
void trace_begin(struct forwarder *forwarder, struct burst *burst, const struct sw_port *at);
void trace_end(struct forwarder *forwarder);

/* All below: of a burst that is traced. A step of one frame; frames that are none of the burst's have none. */
void trace_step(struct forwarder *forwarder, const struct vireo_frame *frame, const struct sw_trace_step *step);
void trace_burst(struct forwarder *forwarder, const struct burst *burst, const struct sw_trace_step *step);
void trace_set(struct forwarder *forwarder, const struct burst *burst, uint64_t frames, const struct sw_trace_step *step);
void trace_list(struct forwarder *forwarder, struct vireo_frame *const *frames, unsigned count, const struct sw_trace_step *step);

uint64_t trace_marks(const struct burst *burst); /* bit i: the frame whose mark is i + 1 is in it */
/* What was in it before, and is not any more, is in another frame of it. */
void trace_merged(struct forwarder *forwarder, const struct burst *burst, uint64_t before);
void trace_vlans(struct forwarder *forwarder, const struct burst *burst);
/* Of a source: where it was known to be before the frame (-1: nowhere), and what was made of the frame. */
void trace_source(struct forwarder *forwarder, const struct burst *burst, unsigned frame, int before);
void trace_source_known(struct forwarder *forwarder, const struct burst *burst, unsigned frame);
void trace_destinations(struct forwarder *forwarder, const struct burst *burst);
void trace_flooded(struct forwarder *forwarder, const struct burst *burst, uint16_t vlan, uint64_t frames, unsigned receivers, unsigned apart);
void trace_dropped(struct forwarder *forwarder, const struct vireo_frame *frame, const struct sw_port *at, uint16_t reason);
void trace_cut(struct forwarder *forwarder, const struct vireo_frame *frame, uint32_t pieces);
void trace_held(struct forwarder *forwarder, const struct vireo_frame *frame);
/* A list goes to a port as it is to get it; and has gone. */
void trace_out_begin(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count);
void trace_out_end(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count);

/* ---- trace.c ---- */

void trace_port_init(struct sw_port *port);
void traces_port_left(const struct sw_port *port); /* it is being removed */
void traces_end(struct sw *sw);			   /* no worker is left */

#endif
