/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 *	sw_trace_add()		hooked: workers find it at its port (sw_port.traces) or, of frames to a port, at the switch (sw.traces_to), and put
 *				what they note into its rings (trace_burst.c)
 *	sw_trace_read()		takes it out of them
 *	unhook()		no worker finds it any more; a grace period
 *	on_quiet()		none uses it any more
 *
 * It is unhooked by sw_trace_end(), when its port goes, and when nobody has read it for a while: who traces may be killed at any moment, and there is
 * nothing that he would have to undo. A worker never waits for who reads: what finds no room in its ring is lost, and counted.
 */

#include "switch/trace.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/reasons.h"
#include "switch/trace_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- hooks ---- */

static struct sw_trace **places_of(const struct sw_trace *trace, unsigned *ret_count)
{
	*ret_count = trace->to ? SW_TRACES_TO_MAX : SW_PORT_TRACES_MAX;
	return trace->to ? trace->sw->traces_to : trace->port->traces;
}

static bool any_in(struct sw_trace *const *places, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (places[i])
			return true;
	return false;
}

static bool any_hooked(const struct sw *sw)
{
	const struct sw_trace *trace;

	TAILQ_FOREACH (trace, &sw->traces, link)
		if (trace->hooked)
			return true;
	return false;
}

/* What any port brings may go to one whose frames are told; receivers are asked as long as there is anything to be told. */
void trace_port_init(struct sw_port *port)
{
	port_gate_set(port, GATE_TRACED, any_in(port->traces, SW_PORT_TRACES_MAX) || any_in(port->sw->traces_to, SW_TRACES_TO_MAX));
	port_limited_set(port, PORT_TRACED, any_hooked(port->sw));
}

static void ports_set(struct sw *sw)
{
	for (struct sw_port *port = TAILQ_FIRST(&sw->ports); port; port = TAILQ_NEXT(port, link))
		trace_port_init(port);
}

/* There is a place. */
static void hook(struct sw_trace *trace)
{
	unsigned count, i = 0;
	struct sw_trace **places = places_of(trace, &count);

	while (places[i])
		i++;
	__atomic_store_n(&places[i], trace, __ATOMIC_RELEASE); /* pairs with the acquires in trace_burst.c (anybody, receivers_begin) */
	trace->hooked = true;
	ports_set(trace->sw);
}

static void unhook(struct sw_trace *trace)
{
	struct sw_trace **places;
	struct sw_port *port = trace->port;
	unsigned count;

	if (!trace->hooked)
		return;
	places = places_of(trace, &count);
	for (unsigned i = 0; i < count; i++)
		if (places[i] == trace)
			__atomic_store_n(&places[i], NULL, __ATOMIC_RELAXED);
	trace->hooked = false;
	trace->port = NULL;
	ports_set(trace->sw);
	trace_port_init(port); /* which may be none of the switch's any more */
	grace_defer(trace->sw->grace, &trace->gone);
}

/* ---- the end ---- */

static void trace_free(struct sw_trace *trace)
{
	loop_timer_free(&trace->timer);
	free(trace->rings);
	free(trace->name);
	free(trace);
}

static void settle(struct sw_trace *trace)
{
	if (!trace->quiet || !trace->ending)
		return;
	TAILQ_REMOVE(&trace->sw->traces, trace, link);
	trace_free(trace);
}

static void on_quiet(struct grace_item *item)
{
	struct sw_trace *trace = container_of(item, struct sw_trace, gone);

	trace->quiet = true;
	settle(trace);
}

void sw_trace_end(struct sw_trace *trace)
{
	trace->ending = true;
	loop_timer_stop(trace->timer);
	unhook(trace);
	settle(trace);
}

static void on_silence(void *opaque)
{
	sw_trace_end(opaque);
}

/* What it has told so far can still be read. */
void traces_port_left(const struct sw_port *port)
{
	struct sw_trace *trace;

	TAILQ_FOREACH (trace, &port->sw->traces, link)
		if (trace->port == port)
			unhook(trace);
}

void traces_end(struct sw *sw)
{
	struct sw_trace *next;

	for (struct sw_trace *trace = TAILQ_FIRST(&sw->traces); trace; trace = next) {
		next = TAILQ_NEXT(trace, link);
		trace_free(trace);
	}
	TAILQ_INIT(&sw->traces);
}

/* ---- the beginning ---- */

static bool allowed(const struct sw_port *port, bool to)
{
	unsigned all = 0, same = 0;
	const struct sw_trace *trace;

	TAILQ_FOREACH (trace, &port->sw->traces, link) {
		all++;
		same += trace->to == to && (to ? trace->hooked : trace->port == port);
	}
	return all < SW_TRACES_MAX && same < (to ? SW_TRACES_TO_MAX : SW_PORT_TRACES_MAX);
}

/* Pages that nobody fills are never touched. */
static int rings_new(struct sw_trace *trace)
{
	trace->rings = aligned_alloc(CACHE_LINE_BYTES, trace->workers * sizeof(*trace->rings));
	if (!trace->rings)
		return -ENOMEM;
	for (unsigned i = 0; i < trace->workers; i++)
		trace->rings[i].put = trace->rings[i].taken = trace->rings[i].lost = 0;
	return 0;
}

static int trace_fill(struct sw_trace *trace, struct sw_port *port, bool to, uint64_t frames)
{
	int err;

	trace->sw = port->sw;
	trace->port = port;
	trace->to = to;
	trace->serial = (uint32_t)port->serial;
	trace->gone.fn = on_quiet;
	trace->workers = switch_forwarders(port->sw);
	trace->left = frames && frames < INT64_MAX ? (int64_t)frames : INT64_MAX;
	trace->name = strdup(port->name);
	err = trace->name ? rings_new(trace) : -ENOMEM;
	return err ? err : loop_timer_new(port->sw->loop, on_silence, trace, &trace->timer);
}

int sw_trace_add(struct sw_port *port, bool to, uint64_t frames, struct sw_trace **ret_trace)
{
	struct sw_trace *trace;
	int err;

	if (!allowed(port, to))
		return -ENOSPC;
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return -ENOMEM;
	err = trace_fill(trace, port, to, frames);
	if (err) {
		trace_free(trace);
		return err;
	}
	trace->id = ++port->sw->last_trace;
	TAILQ_INSERT_TAIL(&port->sw->traces, trace, link);
	hook(trace);
	loop_timer_start(trace->timer, SW_TRACE_MS);
	*ret_trace = trace;
	return 0;
}

/* ---- what there is ---- */

struct sw_trace *sw_trace_find(struct sw *sw, unsigned id)
{
	struct sw_trace *trace;

	TAILQ_FOREACH (trace, &sw->traces, link)
		if (trace->id == id && !trace->ending)
			return trace;
	return NULL;
}

/* NULL: there is nothing. */
static const struct sw_trace_frame *ring_first(const struct trace_ring *ring)
{
	/* Pairs with the release in trace_burst.c (tell). */
	return ring->taken == __atomic_load_n(&ring->put, __ATOMIC_ACQUIRE) ? NULL : &ring->frame[ring->taken % TRACE_RING_FRAMES];
}

/* The ring whose first frame is the oldest. */
static struct trace_ring *oldest(const struct sw_trace *trace)
{
	struct trace_ring *found = NULL;
	uint64_t ns = 0;

	for (unsigned i = 0; i < trace->workers; i++) {
		const struct sw_trace_frame *frame = ring_first(&trace->rings[i]);

		if (!frame || (found && frame->ns >= ns))
			continue;
		found = &trace->rings[i];
		ns = frame->ns;
	}
	return found;
}

unsigned sw_trace_read(struct sw_trace *trace, unsigned max, void (*each)(void *opaque, const struct sw_trace_frame *frame), void *opaque)
{
	struct trace_ring *ring;
	unsigned count = 0;

	loop_timer_start(trace->timer, SW_TRACE_MS);
	if (__atomic_load_n(&trace->left, __ATOMIC_RELAXED) <= 0)
		unhook(trace);
	while (count < max && (ring = oldest(trace))) {
		each(opaque, ring_first(ring));
		__atomic_store_n(&ring->taken, ring->taken + 1, __ATOMIC_RELEASE); /* pairs with the acquires in trace_burst.c */
		count++;
	}
	return count;
}

/* What workers have taken up, they may still have to put. */
static bool all_told(const struct sw_trace *trace)
{
	return trace->quiet && !oldest(trace);
}

void sw_trace_status(const struct sw_trace *trace, struct sw_trace_status *ret_status)
{
	struct sw_trace_status status = {.id = trace->id, .port = trace->name};

	if (all_told(trace))
		status.state = __atomic_load_n(&trace->left, __ATOMIC_RELAXED) > 0 ? SW_TRACE_GONE : SW_TRACE_DONE;
	for (unsigned i = 0; i < trace->workers; i++)
		status.lost += counter_read(&trace->rings[i].lost);
	*ret_status = status;
}

const char *sw_trace_port_name(const struct sw *sw, const struct sw_trace_step *step)
{
	const struct sw_port *port = step->port < SW_PORTS_MAX ? sw->by_id[step->port] : NULL;

	return port && (uint32_t)port->serial == step->serial ? port->name : NULL;
}

const char *sw_trace_reason(const struct sw_trace_step *step)
{
	return reason_name(step->reason);
}
