/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A port may tell more urgent frames from others, by the priority in their tags (PCP) or by their differentiated services (DSCP). There
 * are four classes; the eight priorities fall into them as IEEE 802.1Q recommends for four (table 8-5), and the upper bits of a DSCP
 * are compatible with priorities (RFC 2474, 4.2.2):
 *
 *	class	PCP	DSCP
 *	3	6, 7	48 to 63	control of the network
 *	2	4, 5	32 to 47	voice and video: EF, AF4x
 *	1	2, 3	16 to 31
 *	0	0, 1	0 to 15		and what says nothing, or lies
 *
 * Classes are strict. A frame does not wait only because it is less urgent: that would take a copy, and memory. What there is too
 * little of at a port may be used up by the last class only, and each class leaves an eighth of it more than the one above:
 *
 *	tokens of rate-out, frames-out	policing.c, limits_out_of_class()
 *	the receiver's free buffers	deliver.c, room_of(); where nothing is held for want of them
 *	what may be held for it		hold.c; and what is held goes by classes, the last one first
 *
 * So a class has all of a rate while those above are silent, and what they leave otherwise. A burst is parted into a list for each
 * class, which go one after the other, the last class first. Within a class the order is kept, and a flow is in one class. Since a
 * frame's class is that of the list it came in, it needs no place in the frame: forwarder.urgency.
 *
 * A frame is what its sender says it is: who has no business to be urgent is for a rate-in at his own port.
 */

#include "switch/priority.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/frame_first.h"
#include "switch/headers.h"
#include "switch/port.h"
#include "switch/trace_internal.h"
#include <net/ethernet.h>

#define TYPE_AT	      12u
#define TAG_BYTES     4u
#define CLASS_OF_TCI  14u /* the upper two of three bits of priority */
#define CLASS_OF_DS   6u  /* the upper two of the DSCP, in the octet that it is in */
#define TYPE_SERVICE  0x88a8u
#define PRIORITY_BYTES 2u /* of an IP header, which say it */
#define LOOK_BYTES    12u /* behind the head: a second tag, and those */

/* The tag at this place of the head, or 0. */
static uint16_t tag_at(const struct vireo_frame *frame, unsigned at)
{
	uint16_t type = vireo_frame_head_bytes(frame) >= at + TAG_BYTES ? load_be16(frame->head + at) : 0;

	return type == ETHERTYPE_VLAN || type == TYPE_SERVICE ? load_be16(frame->head + at + 2) : 0;
}

/* As it came: an earlier receiver of a flooded frame may have been shown a tag that its sender did not write. */
static unsigned class_of_tag(const struct burst *burst, const struct vireo_frame *frame)
{
	unsigned i = (unsigned)(frame - burst->frames);
	bool ours = burst->tagged >> i & 1;

	if (burst->rules->aware)
		return burst->tci[i] >> CLASS_OF_TCI;
	return tag_at(frame, ours ? TYPE_AT + TAG_BYTES : TYPE_AT) >> CLASS_OF_TCI;
}

/* The head, and what comes behind what it stands for. Returns how many bytes. */
static unsigned look_behind(const struct vireo_frame *frame, uint8_t bytes[VIREO_FRAME_HEAD_ROOM + LOOK_BYTES])
{
	uint8_t pieces[VIREO_FRAME_HEAD_BYTES + LOOK_BYTES];
	unsigned head = vireo_frame_head_bytes(frame), skip = vireo_frame_skip_bytes(frame), more = min_u32(frame->len_bytes - skip, LOOK_BYTES);

	memcpy(bytes, frame->head, head);
	frame_copy_first(frame, pieces, skip + more);
	memcpy(bytes + head, pieces + skip, more);
	return head + more;
}

static unsigned class_of_ip(uint16_t type, const uint8_t *ip)
{
	uint8_t version = ip[0] >> 4;

	if (type == ETHERTYPE_IP && version == 4)
		return ip[1] >> CLASS_OF_DS;
	if (type == ETHERTYPE_IPV6 && version == 6)
		return (ip[0] & 0xfu) >> (CLASS_OF_DS - 4);
	return 0;
}

/* The head has it all of a frame without a tag. */
static unsigned class_of_ds(const struct vireo_frame *frame)
{
	uint8_t bytes[VIREO_FRAME_HEAD_ROOM + LOOK_BYTES];
	const uint8_t *at = frame->head;
	unsigned have = vireo_frame_head_bytes(frame);
	uint16_t network = 0, type = headers_link(at, have, &network);

	if (!type || have < network + PRIORITY_BYTES) {
		have = look_behind(frame, bytes);
		at = bytes;
		type = headers_link(at, have, &network);
	}
	return type && have >= network + PRIORITY_BYTES ? class_of_ip(type, at + network) : 0;
}

unsigned priority_class(const struct burst *burst, const struct vireo_frame *frame, unsigned by)
{
	return by == SW_PRIORITY_PCP ? class_of_tag(burst, frame) : class_of_ds(frame);
}

static void count_class(struct port_counters *counters, unsigned class, unsigned count)
{
	if (class == 1)
		counter_add(&counters->tx_class1, count);
	else if (class == 2)
		counter_add(&counters->tx_class2, count);
	else if (class == 3)
		counter_add(&counters->tx_class3, count);
}

/* Returns which classes there are: bit i, class i. */
static unsigned classify(const struct burst *burst, struct vireo_frame *const *frames, unsigned count, unsigned by, uint8_t *class_of)
{
	unsigned classes = 0;

	for (unsigned i = 0; i < count; i++) {
		class_of[i] = (uint8_t)priority_class(burst, frames[i], by);
		classes |= 1u << class_of[i];
	}
	return classes;
}

static unsigned take(struct vireo_frame *const *frames, unsigned count, const uint8_t *class_of, unsigned class, struct vireo_frame **taken)
{
	unsigned same = 0;

	for (unsigned i = 0; i < count; i++)
		if (class_of[i] == class)
			taken[same++] = frames[i];
	return same;
}

static inline void trace_in_rate(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count)
{
	const struct sw_trace_step in_rate = {.what = SW_TRACE_RATE_OUT};

	if (traced(forwarder) && __atomic_load_n(&to->port->limited, __ATOMIC_RELAXED) & LIMITED_OUT)
		trace_list(forwarder, frames, count, &in_rate);
}

static void deliver_class(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	if (__atomic_load_n(&to->port->limited, __ATOMIC_RELAXED) & LIMITED_OUT)
		count = limits_out_of_class(forwarder, to->port, frames, count);
	if (!count)
		return;
	trace_in_rate(forwarder, to, frames, count);
	count_class(&to->port->counters[forwarder->worker.index], forwarder->urgency.class, count);
	deliver_limited(forwarder, to, frames, count);
}

void priority_deliver(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count)
{
	unsigned by = __atomic_load_n(&to->port->limits.priority, __ATOMIC_RELAXED), classes, same;
	struct vireo_frame *list[BURST_FRAMES];
	uint8_t class_of[BURST_FRAMES];

	classes = classify(&forwarder->burst, frames, count, by, class_of);
	for (unsigned class = CLASSES; class-- > 0;) {
		if (!(classes >> class & 1))
			continue;
		forwarder->urgency = (struct urgency){(uint8_t)class, (uint8_t)(CLASSES - 1 - class)};
		same = take(frames, count, class_of, class, list);
		if (traced(forwarder))
			trace_list(forwarder, list, same, &(struct sw_trace_step){.what = SW_TRACE_CLASS, .n = class});
		deliver_class(forwarder, to, list, same);
	}
	forwarder->urgency = (struct urgency){0};
}
