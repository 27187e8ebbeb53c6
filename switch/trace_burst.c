/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A burst from a port that is traced is recognised by sw_port.gated, as one that is mirrored is, and has marks likewise (mirror_burst.c): so
 * whoever has a frame in hand can note of which one it speaks. Who judges a burst notes what it has judged if the burst is traced:
 * forward.c has a function of its own for such bursts, and others ask traced() where something rare is done anyway. What happens at the receivers is
 * asked for by PORT_TRACED, which all ports have in sw_port.limited while anything is traced: that is all that it costs other ports.
 *
 * When the burst has gone its way, the notes go into the rings of those who trace the port. A ring that is full loses them, and counts; nobody
 * waits. A burst that finds all rings full is not traced at all.
 */

#include "base/clock.h"
#include "switch/core.h"
#include "switch/headers.h"
#include "switch/multicast.h"
#include "switch/trace_internal.h"
#include <string.h>

#define TYPE_AT	      12u
#define KEPT_STEPS    8u /* of a frame, for what is lost: a flood does not take them */
#define PRIORITY_OF_TCI 13u

/* ---- receivers ---- */

static bool wants(const struct sw_trace *trace)
{
	return __atomic_load_n(&trace->left, __ATOMIC_RELAXED) > 0;
}

/* Who is told of what goes to a port. True: somebody is. What he has no room for is counted at the end, when it is known which frames went there. */
static bool receivers_begin(const struct forwarder *forwarder)
{
	struct trace_room *room = forwarder->trace_room;

	room->any_to = false;
	for (unsigned i = 0; i < SW_TRACES_TO_MAX; i++) {
		/* Pairs with the release in trace.c (hook). */
		struct sw_trace *trace = __atomic_load_n(&forwarder->sw->traces_to[i], __ATOMIC_ACQUIRE);

		room->to[i] = trace && wants(trace) ? trace : NULL;
		room->any_to |= room->to[i] != NULL;
	}
	return room->any_to;
}

/* The note's frame is to go to the port with this serial. */
static void receiver_note(const struct trace_room *room, struct trace_note *note, uint32_t serial)
{
	for (unsigned i = 0; room->any_to && i < SW_TRACES_TO_MAX; i++)
		if (room->to[i] && room->to[i]->serial == serial)
			note->receivers |= (uint8_t)(1u << i);
}

static bool names_a_receiver(unsigned what)
{
	return what == SW_TRACE_TO || what == SW_TRACE_TO_KNOWN || what == SW_TRACE_APART || what == SW_TRACE_RELAYED;
}

static uint64_t frames_to(const struct trace_room *room, unsigned i)
{
	uint64_t frames = 0;

	for (unsigned mark = 0; mark < BURST_FRAMES; mark++)
		if (room->source[0].frames >> mark & 1 && room->note[mark + 1].receivers >> i & 1)
			frames |= 1ull << mark;
	return frames;
}

/* ---- notes ---- */

static struct trace_note *note_of(const struct forwarder *forwarder, const struct vireo_frame *frame)
{
	return frame->mark && frame->mark <= BURST_FRAMES ? &forwarder->trace_room->note[frame->mark] : NULL;
}

static void note_step(struct trace_note *note, const struct sw_trace_step *step, unsigned max)
{
	struct sw_trace_frame *frame = &note->frame;

	if (frame->step_count < max)
		frame->step[frame->step_count++] = *step;
	else
		frame->more++;
}

void trace_step(struct forwarder *forwarder, const struct vireo_frame *frame, const struct sw_trace_step *step)
{
	struct trace_note *note = note_of(forwarder, frame);

	if (!note)
		return;
	note_step(note, step, SW_TRACE_STEPS_MAX - KEPT_STEPS);
	if (names_a_receiver(step->what))
		receiver_note(forwarder->trace_room, note, step->serial);
}

void trace_set(struct forwarder *forwarder, const struct burst *burst, uint64_t frames, const struct sw_trace_step *step)
{
	for (; frames; frames &= frames - 1)
		trace_step(forwarder, &burst->frames[__builtin_ctzll(frames)], step);
}

void trace_burst(struct forwarder *forwarder, const struct burst *burst, const struct sw_trace_step *step)
{
	for (unsigned i = 0; i < burst->count; i++)
		trace_step(forwarder, &burst->frames[i], step);
}

void trace_list(struct forwarder *forwarder, struct vireo_frame *const *frames, unsigned count, const struct sw_trace_step *step)
{
	for (unsigned i = 0; i < count; i++)
		trace_step(forwarder, frames[i], step);
}

/* Whoever has the id now. */
static struct sw_trace_step of_id(enum sw_trace_what what, const struct burst *burst, unsigned id)
{
	const struct topology_port *port = topology_port(burst->topology, id);

	return port ? trace_of_port(what, port->port, 0) : (struct sw_trace_step){.what = (uint8_t)what, .port = (uint16_t)id};
}

/* ---- begin ---- */

/* Pairs with the release in sw_trace_read(): what is written over is not looked at any more. */
static bool has_room(const struct trace_ring *ring)
{
	return ring->put - __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE) < TRACE_RING_FRAMES;
}

/* Is there anybody to tell? Who would want to know, and has no room, loses the burst. */
static bool anybody(const struct forwarder *forwarder, const struct sw_port *port, unsigned count)
{
	bool any = forwarder->mirroring & MIRRORING_TRACED ? forwarder->trace_room->any_to : receivers_begin(forwarder);

	for (unsigned i = 0; i < SW_PORT_TRACES_MAX; i++) {
		/* Pairs with the release in trace.c (hook). */
		struct sw_trace *trace = __atomic_load_n(&port->traces[i], __ATOMIC_ACQUIRE);

		if (trace && wants(trace))
			any |= has_room(&trace->rings[forwarder->worker.index]);
	}
	for (unsigned i = 0; !any && i < SW_PORT_TRACES_MAX; i++) {
		struct sw_trace *trace = __atomic_load_n(&port->traces[i], __ATOMIC_ACQUIRE);

		if (trace && wants(trace))
			counter_add(&trace->rings[forwarder->worker.index].lost, count);
	}
	return any;
}

static void note_header(struct trace_note *note, const struct vireo_frame_offload *offload)
{
	struct sw_trace_step step = {.what = SW_TRACE_PLAIN};

	if (offload->gso != VIREO_GSO_NONE)
		step = (struct sw_trace_step){.what = SW_TRACE_WANTS_CUT, .n = offload->segment_bytes};
	else if (offload->flags & VIREO_FRAME_NEEDS_CSUM)
		step.what = SW_TRACE_WANTS_SUM;
	note_step(note, &step, SW_TRACE_STEPS_MAX);
}

static void note_begin(struct trace_note *note, const struct vireo_frame *frame, uint64_t ns)
{
	memset(note, 0, offsetof(struct trace_note, frame.step));
	note->tagged = false;
	note->made = note->dropped = note->held = 0;
	note->receivers = 0;
	note->frame.ns = ns;
	note->frame.bytes = frame->len_bytes;
	note->frame.head_bytes = (uint8_t)vireo_frame_skip_bytes(frame);
	memcpy(note->frame.head, frame->head, sizeof(note->frame.head));
}

/* Frames that are mirrored as well have their marks. */
static void room_begin(struct forwarder *forwarder, struct burst *burst, const struct sw_port *at)
{
	const struct sw_trace_step received = trace_of_port(SW_TRACE_RECEIVED, at, burst->queue);
	struct trace_room *room = forwarder->trace_room;
	uint64_t ns = clock_wall_ns();

	room->sources = 0;
	room->count = burst->count;
	room->frames = burst->frames;
	for (unsigned i = 0; i < burst->count; i++) {
		struct vireo_frame *frame = &burst->frames[i];
		struct trace_note *note;

		if (!(forwarder->mirroring & MIRRORING_IN))
			frame->mark = i + 1;
		note = &room->note[frame->mark];
		note_begin(note, frame, ns);
		note_step(note, &received, SW_TRACE_STEPS_MAX);
		note_header(note, &frame->offload);
	}
}

uint64_t trace_marks(const struct burst *burst)
{
	uint64_t marks = 0;

	for (unsigned i = 0; i < burst->count; i++)
		marks |= 1ull << (burst->frames[i].mark - 1);
	return marks;
}

void trace_begin(struct forwarder *forwarder, struct burst *burst, const struct sw_port *at)
{
	struct trace_room *room = forwarder->trace_room;
	const struct sw_port *port = burst->from;

	if (!(__atomic_load_n(&port->gated, __ATOMIC_RELAXED) & GATE_TRACED) || !anybody(forwarder, port, burst->count))
		return;
	if (!(forwarder->mirroring & MIRRORING_TRACED)) {
		room_begin(forwarder, burst, at);
		forwarder->mirroring |= MIRRORING_TRACED;
	}
	room->source[room->sources].port = port;
	room->source[room->sources++].frames = trace_marks(burst);
}

/* ---- end ---- */

/* One more is wanted, and is this one. */
static bool take_one(struct sw_trace *trace)
{
	return __atomic_fetch_sub(&trace->left, 1, __ATOMIC_RELAXED) > 0;
}

static void tell(struct sw_trace *trace, const struct forwarder *forwarder, uint64_t frames)
{
	struct trace_ring *ring = &trace->rings[forwarder->worker.index];
	uint32_t put = ring->put;

	for (; frames && wants(trace); frames &= frames - 1) {
		if (put - __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE) == TRACE_RING_FRAMES) {
			counter_add(&ring->lost, (unsigned)__builtin_popcountll(frames));
			break;
		}
		if (take_one(trace))
			ring->frame[put++ % TRACE_RING_FRAMES] = forwarder->trace_room->note[1 + __builtin_ctzll(frames)].frame;
	}
	__atomic_store_n(&ring->put, put, __ATOMIC_RELEASE); /* pairs with the acquire in sw_trace_read() */
}

void trace_end(struct forwarder *forwarder)
{
	struct trace_room *room = forwarder->trace_room;

	if (!(forwarder->mirroring & MIRRORING_TRACED))
		return;
	forwarder->mirroring &= (uint8_t)~MIRRORING_TRACED;
	for (unsigned i = 0; i < room->count && !(forwarder->mirroring & MIRRORING_IN); i++)
		room->frames[i].mark = 0;
	for (unsigned s = 0; s < room->sources; s++) {
		for (unsigned i = 0; i < SW_PORT_TRACES_MAX; i++) {
			struct sw_trace *trace = __atomic_load_n(&room->source[s].port->traces[i], __ATOMIC_ACQUIRE);

			if (trace)
				tell(trace, forwarder, room->source[s].frames);
		}
	}
	for (unsigned i = 0; room->any_to && i < SW_TRACES_TO_MAX; i++)
		if (room->to[i])
			tell(room->to[i], forwarder, frames_to(room, i));
}

/* ---- where it comes in ---- */

void trace_merged(struct forwarder *forwarder, const struct burst *burst, uint64_t before)
{
	const struct sw_trace_step step = {.what = SW_TRACE_MERGED};

	for (uint64_t gone = before & ~trace_marks(burst); gone; gone &= gone - 1)
		note_step(&forwarder->trace_room->note[1 + __builtin_ctzll(gone)], &step, SW_TRACE_STEPS_MAX);
}

void trace_vlans(struct forwarder *forwarder, const struct burst *burst)
{
	for (unsigned i = 0; i < burst->count; i++) {
		struct trace_note *note = note_of(forwarder, &burst->frames[i]);
		struct sw_trace_step step = {.what = SW_TRACE_VLAN_OWN, .vlan = frames_vlan(burst, i)};

		if (!note || step.vlan == VLAN_NONE)
			continue;
		note->tagged = burst->tagged >> i & 1;
		if (note->tagged) {
			step.what = SW_TRACE_VLAN_TAG;
			step.n = burst->tci[i] >> PRIORITY_OF_TCI;
		}
		note_step(note, &step, SW_TRACE_STEPS_MAX);
	}
	if (burst->origin != burst->from) {
		struct sw_trace_step step = trace_of_port(SW_TRACE_REFLECTED, burst->origin, 0);

		trace_burst(forwarder, burst, &step);
	}
}

/* ---- source and destination ---- */

static bool fixed(const struct forwarder *forwarder, unsigned port)
{
	return __atomic_load_n(&forwarder->fdb->fixed[port], __ATOMIC_RELAXED);
}

static struct sw_trace_step refused_source(const struct burst *burst, int owner)
{
	if (owner >= 0 && owner != burst->origin->id)
		return of_id(SW_TRACE_SOURCE_THERE, burst, (unsigned)owner);
	return (struct sw_trace_step){.what = SW_TRACE_SOURCE_NONE};
}

static struct sw_trace_step new_source(const struct forwarder *forwarder, const struct burst *burst, int before, int now)
{
	if (now >= 0 && now != burst->origin->id)
		return of_id(SW_TRACE_SOURCE_AWAY, burst, (unsigned)now);
	if (now < 0)
		return (struct sw_trace_step){.what = SW_TRACE_SOURCE_FULL};
	if (fixed(forwarder, burst->origin->id))
		return (struct sw_trace_step){.what = SW_TRACE_SOURCE_LOCKED};
	if (before >= 0)
		return of_id(SW_TRACE_SOURCE_MOVED, burst, (unsigned)before);
	return (struct sw_trace_step){.what = SW_TRACE_SOURCE_LEARNED};
}

void trace_source_known(struct forwarder *forwarder, const struct burst *burst, unsigned frame)
{
	struct sw_trace_step step = {.what = fixed(forwarder, burst->origin->id) ? SW_TRACE_SOURCE_FIXED : SW_TRACE_SOURCE_KNOWN};
	unsigned fate = verdict_fate(burst->verdict[frame]);

	if (fate == FATE_VLAN || fate == FATE_BAD_SOURCE)
		return;
	if (fate == FATE_SPOOFED)
		step = refused_source(burst, fdb_lookup(forwarder->fdb, &burst->addressed[frame].from));
	trace_step(forwarder, &burst->frames[frame], &step);
}

void trace_source(struct forwarder *forwarder, const struct burst *burst, unsigned frame, int before)
{
	unsigned fate = verdict_fate(burst->verdict[frame]);
	struct sw_trace_step step;
	int now;

	if (fate == FATE_VLAN || fate == FATE_BAD_SOURCE)
		return;
	if (before == burst->origin->id) {
		trace_source_known(forwarder, burst, frame);
		return;
	}
	now = fdb_lookup(forwarder->fdb, &burst->addressed[frame].from);
	step = fate == FATE_SPOOFED ? refused_source(burst, now) : new_source(forwarder, burst, before, now);
	trace_step(forwarder, &burst->frames[frame], &step);
}

static struct sw_trace_step all_of(const struct vireo_frame *frame)
{
	static const uint8_t everybody[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (!(frame->head[0] & 1))
		return (struct sw_trace_step){.what = SW_TRACE_TO_UNKNOWN};
	return (struct sw_trace_step){.what = memcmp(frame->head, everybody, MAC_BYTES) ? SW_TRACE_TO_MULTICAST : SW_TRACE_TO_BROADCAST};
}

/* False: it has not come so far, or what is counted says it all. */
static bool destination(const struct burst *burst, unsigned frame, struct sw_trace_step *ret_step)
{
	unsigned fate = verdict_fate(burst->verdict[frame]);

	if (fate < FATE_FLOOD)
		*ret_step = of_id(SW_TRACE_TO_KNOWN, burst, fate);
	else if (fate == FATE_FLOOD)
		*ret_step = all_of(&burst->frames[frame]);
	else if (fate >= FATE_MULTICAST)
		*ret_step = (struct sw_trace_step){.what = SW_TRACE_TO_GROUP};
	else if (fate == FATE_HAIRPIN)
		*ret_step = (struct sw_trace_step){.what = SW_TRACE_TO_HERE};
	else if (fate == FATE_UNHEARD)
		*ret_step = (struct sw_trace_step){.what = SW_TRACE_TO_ROUTERS};
	else if (fate == FATE_RESERVED)
		*ret_step = (struct sw_trace_step){.what = SW_TRACE_TO_RESERVED};
	else
		return false;
	return true;
}

void trace_destinations(struct forwarder *forwarder, const struct burst *burst)
{
	struct sw_trace_step step;

	for (unsigned i = 0; i < burst->count; i++)
		if (destination(burst, i, &step))
			trace_step(forwarder, &burst->frames[i], &step);
}

void trace_flooded(struct forwarder *forwarder, const struct burst *burst, uint16_t vlan, uint64_t frames, unsigned receivers, unsigned apart)
{
	const struct sw_trace_step storm = {.what = SW_TRACE_STORM}, flooded = {.what = SW_TRACE_FLOODED, .vlan = vlan, .n = receivers},
				   kept = {.what = SW_TRACE_FLOOD_APART, .n = apart};

	if (__atomic_load_n(&burst->from->limited, __ATOMIC_RELAXED) & LIMITED_STORM)
		trace_set(forwarder, burst, frames, &storm);
	trace_set(forwarder, burst, frames, &flooded);
	if (apart)
		trace_set(forwarder, burst, frames, &kept);
}

/* ---- at a receiver ---- */

void trace_dropped(struct forwarder *forwarder, const struct vireo_frame *frame, const struct sw_port *at, uint16_t reason)
{
	struct trace_note *note = note_of(forwarder, frame);
	struct sw_trace_step step = trace_of_port(SW_TRACE_DROPPED, at, 1), *last;

	if (!note)
		return;
	note->dropped++;
	last = note->frame.step_count ? &note->frame.step[note->frame.step_count - 1] : NULL;
	step.reason = reason;
	if (last && last->what == SW_TRACE_DROPPED && last->reason == reason && last->serial == step.serial)
		last->n++;
	else
		note_step(note, &step, SW_TRACE_STEPS_MAX);
}

void trace_cut(struct forwarder *forwarder, const struct vireo_frame *frame, uint32_t pieces)
{
	const struct sw_trace_step cut = {.what = SW_TRACE_CUT, .n = pieces}, summed = {.what = SW_TRACE_SUMMED};
	struct trace_note *note = note_of(forwarder, frame);

	if (!note)
		return;
	note->made = pieces;
	trace_step(forwarder, frame, frame->offload.gso == VIREO_GSO_NONE ? &summed : &cut);
}

void trace_held(struct forwarder *forwarder, const struct vireo_frame *frame)
{
	struct trace_note *note = note_of(forwarder, frame);

	if (note)
		note->held++;
}

/* Of a bond it is the member that gets it. */
static bool only_a_name(const struct topology_port *to)
{
	return to->bond && !to->member;
}

static void note_tag(struct trace_note *note, const struct burst *burst, const struct vireo_frame *frame)
{
	unsigned i = (unsigned)(frame - burst->frames);
	bool tagged = burst->tagged >> i & 1;
	struct sw_trace_step step = {.what = tagged ? SW_TRACE_TAGGED : SW_TRACE_UNTAGGED, .vlan = frames_vlan(burst, i)};

	if (tagged != note->tagged)
		note_step(note, &step, SW_TRACE_STEPS_MAX - KEPT_STEPS);
}

/* Who is told of as receiver already is the bond, if it is another port. */
static bool by_member(const struct trace_note *note, const struct sw_port *port)
{
	for (unsigned i = note->frame.step_count; i-- > 0;)
		if (note->frame.step[i].what == SW_TRACE_TO)
			return note->frame.step[i].serial != (uint32_t)port->serial;
	return false;
}

void trace_out_begin(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count)
{
	const struct sw_trace_step member = trace_of_port(SW_TRACE_MEMBER, to->port, 0);
	const struct sw_trace_step queue = {.what = SW_TRACE_QUEUE, .n = to->out_count == 1 && to->out ? to->out[0]->number : 0};

	for (unsigned i = 0; i < count && !only_a_name(to); i++) {
		struct trace_note *note = note_of(forwarder, frames[i]);

		if (!note)
			continue;
		note->made = 1;
		note->dropped = note->held = 0;
		if (to->member)
			receiver_note(forwarder->trace_room, note, (uint32_t)to->port->serial);
		if (to->member && by_member(note, to->port))
			note_step(note, &member, SW_TRACE_STEPS_MAX - KEPT_STEPS);
		note_tag(note, &forwarder->burst, frames[i]);
		if (to->out_count == 1)
			note_step(note, &queue, SW_TRACE_STEPS_MAX - KEPT_STEPS);
	}
}

void trace_out_end(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count)
{
	for (unsigned i = 0; i < count && !only_a_name(to); i++) {
		struct trace_note *note = note_of(forwarder, frames[i]);
		struct sw_trace_step went, held;

		if (!note)
			continue;
		held = trace_of_port(SW_TRACE_HELD, to->port, note->held);
		went = trace_of_port(SW_TRACE_DELIVERED, to->port, note->made - min_u32(note->made, note->dropped + note->held));
		if (held.n)
			note_step(note, &held, SW_TRACE_STEPS_MAX - KEPT_STEPS);
		if (went.n)
			note_step(note, &went, SW_TRACE_STEPS_MAX - KEPT_STEPS);
	}
}
