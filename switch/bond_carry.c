/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What comes from a member of a bond, and what goes to a bond, in workers: by the topology of the round, so that who is a member and who carries
 * always fit together. Frames that a member brings are the bond's from then on: its counters, limits, guards and VLANs hold.
 *
 * LACPDUs and markers go to the control thread, in a list that each worker adds to without a lock. A member has so many a second; what is beyond
 * is dropped before anything is done for it.
 */

#include "switch/bond.h"
#include "base/fd.h"
#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/frame_first.h"
#include "switch/headers.h"
#include <stdlib.h>
#include <string.h>

#define MAC_SLOW  0x0180c2000002u /* IEEE 802.3, annex 57A: slow protocols */
#define TYPE_SLOW 0x8809u

/* ---- in ---- */

static bool is_slow(const struct vireo_frame *frame)
{
	return load_mac(frame->head) == MAC_SLOW && load_be16(frame->head + 2 * MAC_BYTES) == TYPE_SLOW;
}

static void lacpdu_post(struct sw *sw, struct lacpdu *pdu)
{
	pdu->next = __atomic_load_n(&sw->lacpdus, __ATOMIC_RELAXED);
	/* Pairs with the acquire in bond.c (bonds_look), which takes them all. */
	while (!__atomic_compare_exchange_n(&sw->lacpdus, &pdu->next, pdu, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	fd_event_raise(sw->event_fd);
}

/* False: there are too many of them, or there is no memory. */
static bool lacpdu_take(struct forwarder *forwarder, struct sw_port *from, const struct vireo_frame *frame)
{
	struct lacpdu *pdu;

	worker_clock_read(&forwarder->worker);
	if (bucket_left(&from->lacpdus, forwarder->worker.now_ns) <= 0)
		return false;
	bucket_draw(&from->lacpdus, 1, forwarder->worker.now_ns, BUCKET_DEBT_MAX);
	pdu = calloc(1, sizeof(*pdu));
	if (!pdu)
		return false;
	pdu->serial = from->serial;
	pdu->port = from->id;
	pdu->bytes = min_u32(frame->len_bytes, LACP_FRAME_BYTES);
	frame_copy_first(frame, pdu->data, pdu->bytes);
	lacpdu_post(forwarder->sw, pdu);
	return true;
}

/* The burst loses them. */
static void hear(struct forwarder *forwarder, struct burst *burst)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	unsigned left = 0;

	for (unsigned i = 0; i < burst->count; i++) {
		if (likely(!is_slow(&burst->frames[i]))) {
			burst->frames[left++] = burst->frames[i];
		} else if (lacpdu_take(forwarder, burst->from, &burst->frames[i])) {
			counter_add(&counters->rx_lacp, 1);
		} else {
			counter_add(&counters->rx_lacp_limit, 1);
			dropped(forwarder, burst->from, &counters->rx_lacp_limit, &burst->frames[i]);
		}
	}
	burst->count = left;
}

/* The bond's, as the members' ports count their own. */
static void count_in(struct forwarder *forwarder, const struct burst *burst)
{
	struct port_counters *counters = &burst->from->counters[forwarder->worker.index];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < burst->count; i++)
		bytes += burst->frames[i].len_bytes;
	counter_add(&counters->bond_rx_frames, burst->count);
	counter_add(&counters->bond_rx_bytes, bytes);
}

static void drop_all(struct forwarder *forwarder, const struct burst *burst, uint64_t *counter)
{
	counter_add(counter, burst->count);
	dropped_set(forwarder, burst, counter, burst->count ? UINT64_MAX >> (64 - burst->count) : 0);
}

static bool come_in(struct forwarder *forwarder, struct burst *burst, const struct topology_port *member)
{
	const struct topology_bond *bond = member->bond;

	if (bond && bond->lacp)
		hear(forwarder, burst);
	if (!bond || member->member != MEMBER_TAKEN) {
		drop_all(forwarder, burst, &burst->from->counters[forwarder->worker.index].rx_inactive);
		return false;
	}
	burst->from = burst->origin = bond->port->port;
	burst->rules = &bond->port->rules;
	count_in(forwarder, burst);
	return burst->count;
}

bool bond_gate(struct forwarder *forwarder, struct burst *burst)
{
	const struct topology_port *from = topology_port(burst->topology, burst->from->id);

	if (__atomic_load_n(&burst->from->cut, __ATOMIC_RELAXED)) {
		drop_all(forwarder, burst, &burst->from->counters[forwarder->worker.index].rx_link_down);
		return false;
	}
	return from->member == MEMBER_NOT || come_in(forwarder, burst, from);
}

/* ---- out ---- */

/* Takes the frames of the first frame's member out of the list, in order, and leaves the others. */
static unsigned take_same(uint8_t *member_of, struct vireo_frame **frames, unsigned *count, struct vireo_frame **taken)
{
	uint8_t member = member_of[0];
	unsigned left = 0, same = 0;

	for (unsigned i = 0; i < *count; i++) {
		if (member_of[i] == member) {
			taken[same++] = frames[i];
		} else {
			member_of[left] = member_of[i];
			frames[left++] = frames[i];
		}
	}
	*count = left;
	return same;
}

static void count_out(struct forwarder *forwarder, const struct topology_bond *bond, struct vireo_frame *const *frames, unsigned count)
{
	struct port_counters *counters = &bond->port->port->counters[forwarder->worker.index];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += vireo_frame_bytes(frames[i]);
	counter_add(&counters->bond_tx_frames, count);
	counter_add(&counters->bond_tx_bytes, bytes);
}

void bond_deliver(struct forwarder *forwarder, const struct topology_bond *bond, struct vireo_frame **frames, unsigned count)
{
	struct vireo_frame *left[BURST_FRAMES], *taken[BURST_FRAMES];
	uint8_t member_of[BURST_FRAMES];

	count_out(forwarder, bond, frames, count);
	if (bond->only) {
		deliver_ready(forwarder, bond->only, frames, count);
		return;
	}
	memcpy(left, frames, count * sizeof(left[0]));
	for (unsigned i = 0; i < count; i++)
		member_of[i] = bond->carrier[flow_hash_of(frames[i], bond->hash) >> 24];
	while (count) {
		const struct topology_port *to = bond->member[member_of[0]];
		unsigned same = take_same(member_of, left, &count, taken);

		deliver_ready(forwarder, to, taken, same);
	}
}
