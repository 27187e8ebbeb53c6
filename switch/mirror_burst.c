/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A burst from a port that is mirrored is kept as it came (the frames' structs: their bytes stay where they are until the port is given them
 * back), each frame with a mark. The marks go with the frames, whoever sorts them out on their way, and so whoever drops one can be asked
 * which it was (drops.h). When the burst has gone its way, what came is copied, with what is known of it by then.
 *
 * What goes to a port that is mirrored is copied likewise when the port has got it, as it got it, before it is cut. What the port's own
 * limits refuse never comes so far, and is copied where it is refused.
 *
 * A copy goes into the worker's own ring of the mirror, or is delivered to a port; neither waits. Ports that nobody mirrors cost
 * nothing: a burst from one is recognised by sw_port.gated, one to it by sw_port.limited, which are looked at anyway.
 */

#include "base/clock.h"
#include "switch/core.h"
#include "switch/drops.h"
#include "switch/frame_first.h"
#include "switch/mirror_internal.h"
#include "switch/trace_internal.h"
#include <string.h>

/* ---- notes ---- */

/* The first is of whatever is none of the burst's. */
static unsigned place(const struct vireo_frame *frame)
{
	return frame->mark <= BURST_FRAMES ? frame->mark : 0;
}

static void note(struct mirror_note *notes, const struct vireo_frame *frame, const struct sw_port *at, uint16_t reason)
{
	struct mirror_note *to = &notes[place(frame)];

	if (!to->reason) /* what came first is why */
		*to = (struct mirror_note){reason, at};
}

void drop_tell(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter, struct vireo_frame *frame)
{
	struct mirror_room *room = forwarder->mirror_room;
	uint16_t reason = reason_of(&port->counters[forwarder->worker.index], counter);

	if (forwarder->mirroring & MIRRORING_IN)
		note(room->in, frame, port, reason);
	if (forwarder->mirroring & MIRRORING_OUT)
		note(room->out, frame, port, reason);
	if (forwarder->mirroring & MIRRORING_TRACED)
		trace_dropped(forwarder, frame, port, reason);
}

void drop_tell_list(struct forwarder *forwarder, const struct sw_port *port, const uint64_t *counter, struct vireo_frame *const *frames,
		    unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		drop_tell(forwarder, port, counter, frames[i]);
}

void drop_tell_set(struct forwarder *forwarder, const struct burst *burst, const uint64_t *counter, uint64_t frames)
{
	for (; frames; frames &= frames - 1)
		drop_tell(forwarder, burst->from, counter, &burst->frames[__builtin_ctzll(frames)]);
}

/* ---- copies ---- */

/* Reads no more of the frame than the filter could look at. */
static bool wanted(const struct sw_mirror *mirror, struct mirror_room *room, const struct vireo_frame *frame)
{
	uint32_t all = vireo_frame_bytes(frame), have = min_u32(min_u32(all, mirror->filter_reach), sizeof(room->bytes));

	if (!mirror->filter_steps)
		return true;
	frame_copy_shown(frame, room->bytes, have);
	return packet_filter_match(mirror->filter, room->bytes, have, all);
}

static void count_copied(struct mirror_counters *counters, unsigned frames, uint64_t bytes, unsigned lost)
{
	counter_add(&counters->frames, frames);
	counter_add(&counters->bytes, bytes);
	counter_add(&counters->lost, lost);
}

/* Whose copies, and of which frames. */
struct copying {
	struct forwarder *forwarder;
	const struct sw_port *port; /* that is mirrored */
	struct vireo_frame **frames;
	unsigned count;
	const struct mirror_note *notes;
	bool out;
};

static void into_ring(const struct copying *c, struct sw_mirror *mirror)
{
	struct mirror_ring *ring = &mirror->rings[c->forwarder->worker.index];
	struct mirror_record record = {.ns = clock_wall_ns(), .out = c->out};
	unsigned put = 0, lost = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < c->count; i++) {
		const struct mirror_note *note = &c->notes[place(c->frames[i])];

		if (!wanted(mirror, c->forwarder->mirror_room, c->frames[i]))
			continue;
		record.frame_bytes = vireo_frame_bytes(c->frames[i]);
		record.bytes = min_u32(record.frame_bytes, mirror->snaplen);
		record.reason = note->reason;
		if (mirror_ring_put(ring, &record, c->frames[i], note->reason ? note->at->name : NULL)) {
			put++;
			bytes += record.bytes;
		} else {
			lost++;
		}
	}
	count_copied(&mirror->counters[c->forwarder->worker.index], put, bytes, lost);
	if (!put)
		return;
	mirror_ring_show(ring);
	mirror_writer_wake(&mirror->writer);
}

/* Nobody looks on meanwhile: what the copies suffer is not the frames' affair. Nor are they copied again, though their port is mirrored, or
 * carries for a port that is (a bond and its members, two switches' worth of mirrors to each other): it would have no end. */
static void into_port(const struct copying *c, const struct sw_mirror *mirror)
{
	const struct topology_port *to = topology_port(c->forwarder->burst.topology, mirror->to_id);
	struct mirror_counters *counters = &mirror->counters[c->forwarder->worker.index];
	unsigned pieces_left = c->forwarder->pieces_left; /* of the sender of these frames, who has not sent the copies */
	uint8_t mirroring = c->forwarder->mirroring;
	struct vireo_frame *list[BURST_FRAMES];
	unsigned count = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < c->count; i++) {
		if (!wanted(mirror, c->forwarder->mirror_room, c->frames[i]))
			continue;
		bytes += vireo_frame_bytes(c->frames[i]);
		list[count++] = c->frames[i];
	}
	if (!to || to->port->serial != mirror->to_serial) {
		count_copied(counters, 0, 0, count);
		return;
	}
	count_copied(counters, count, bytes, 0);
	c->forwarder->mirroring = MIRRORING_COPY;
	c->forwarder->pieces_left = PIECES_MAX;
	if (count)
		deliver_ready(c->forwarder, to, list, count);
	c->forwarder->pieces_left = pieces_left;
	c->forwarder->mirroring = mirroring;
}

static void copy(const struct copying *c)
{
	for (unsigned i = 0; i < SW_PORT_MIRRORS_MAX; i++) {
		/* Pairs with the release in mirror.c (hook). */
		struct sw_mirror *mirror = __atomic_load_n(&c->port->mirrors[i], __ATOMIC_ACQUIRE);

		if (mirror && mirror->to_port)
			into_port(c, mirror);
		else if (mirror)
			into_ring(c, mirror);
	}
}

/* ---- from a port ---- */

/* Of those that came, which are still in the burst: bit i, number i. Their order is as it was. */
static uint64_t still_there(const struct mirror_room *room, const struct burst *burst)
{
	uint64_t there = 0;

	for (unsigned i = 0, at = 0; i < burst->count; i++) {
		while (room->came[at].mark != burst->frames[i].mark)
			at++;
		there |= 1ull << at;
	}
	return there;
}

void mirror_in_begin(struct forwarder *forwarder, struct burst *burst, const struct sw_port *port)
{
	struct mirror_room *room = forwarder->mirror_room;

	if (!(__atomic_load_n(&port->gated, __ATOMIC_RELAXED) & GATE_MIRRORED))
		return;
	if (!(forwarder->mirroring & MIRRORING_IN)) {
		forwarder->mirroring |= MIRRORING_IN;
		room->sources = 0;
		room->count = burst->count;
		room->frames = burst->frames;
		for (unsigned i = 0; i < burst->count && !traced(forwarder); i++)
			burst->frames[i].mark = i + 1;
		memcpy(room->came, burst->frames, burst->count * sizeof(room->came[0]));
		memset(room->in, 0, sizeof(room->in));
	}
	room->source[room->sources].port = port;
	room->source[room->sources++].frames = still_there(room, burst);
}

/* What is delivered now are frames of another burst, of which nobody has said what it needs. */
static void survey_came(struct burst *burst, struct mirror_room *room)
{
	burst->frames = room->came;
	burst->count = room->count;
	burst->flooded = 0;
	burst->tagged = 0;
	burst->needs = 0;
	burst->longest_bytes = 0;
	for (unsigned i = 0; i < room->count; i++) {
		burst->needs |= offload_needs(&room->came[i].offload);
		burst->longest_bytes = (uint32_t)max_u64(burst->longest_bytes, room->came[i].len_bytes);
	}
}

void mirror_in_end(struct forwarder *forwarder, struct burst *burst)
{
	struct mirror_room *room = forwarder->mirror_room;
	struct vireo_frame *list[BURST_FRAMES];
	struct copying c = {.forwarder = forwarder, .frames = list, .notes = room->in};

	if (!(forwarder->mirroring & MIRRORING_IN))
		return;
	forwarder->mirroring = 0;
	for (unsigned i = 0; i < room->count; i++)
		room->frames[i].mark = 0;
	survey_came(burst, room);
	for (unsigned s = 0; s < room->sources; s++) {
		c.port = room->source[s].port;
		c.count = 0;
		for (uint64_t left = room->source[s].frames; left; left &= left - 1)
			list[c.count++] = &room->came[__builtin_ctzll(left)];
		copy(&c);
	}
}

/* ---- to a port ---- */

/* Frames of a burst that is not mirrored get their marks here. */
static void marks_set(const struct forwarder *forwarder, struct vireo_frame *frame)
{
	if (!frame->mark)
		frame->mark = (uint32_t)(frame - forwarder->burst.frames) + 1;
}

bool mirror_out_begin(struct forwarder *forwarder, struct vireo_frame *const *frames, unsigned count)
{
	struct mirror_room *room = forwarder->mirror_room;

	if (forwarder->mirroring & MIRRORING_OUT) /* a member of a bond: what is noted is both's */
		return false;
	for (unsigned i = 0; i < count; i++)
		marks_set(forwarder, frames[i]);
	memset(room->out, 0, sizeof(room->out));
	forwarder->mirroring |= MIRRORING_OUT;
	return true;
}

void mirror_out_end(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count, bool begun)
{
	const struct copying c = {
		.forwarder = forwarder, .port = to->port, .frames = frames, .count = count, .notes = forwarder->mirror_room->out, .out = true};

	copy(&c);
	if (!begun)
		return;
	forwarder->mirroring &= (uint8_t)~MIRRORING_OUT;
	for (unsigned i = 0; i < count && !(forwarder->mirroring & (MIRRORING_IN | MIRRORING_TRACED)); i++)
		frames[i]->mark = 0;
}

void mirror_out_dropped(struct forwarder *forwarder, const struct sw_port *to, const uint64_t *counter, struct vireo_frame *frame)
{
	struct mirror_room *room = forwarder->mirror_room;
	struct copying c = {.forwarder = forwarder, .port = to, .frames = &frame, .count = 1, .notes = room->out, .out = true};
	bool marked = frame->mark;

	if (forwarder->mirroring & MIRRORING_COPY)
		return;
	marks_set(forwarder, frame);
	room->out[place(frame)] = (struct mirror_note){reason_of(&to->counters[forwarder->worker.index], counter), to};
	copy(&c);
	if (!marked)
		frame->mark = 0;
}
