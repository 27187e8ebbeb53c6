/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A frame lies in its sender's memory until it is copied into its receiver's, and the sender may change it at any moment. So what a
 * guard has looked at is copied first, and the copy takes the place of the frame's first bytes: receivers get what was allowed.
 * Most frames are understood by their first GUARD_FIRST_BYTES; where they are not, more is copied, and looked at from the start.
 *
 * Who asks for a checksum names the place that it is to be written to, by the switch or by a receiver. That place may not lie in what was
 * looked at: what is allowed could become something else by it.
 *
 * Ports without a guard have nothing to do with any of this.
 */

#include "switch/guards.h"
#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/frame_first.h"
#include "switch/guard.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_FIRST_BYTES 128u

/* The copy, and behind it the pieces without what it stands for. False: too many pieces. */
static bool take_copy(struct vireo_frame *frame, struct iovec *pieces, uint8_t *copy, uint32_t bytes)
{
	uint32_t skip = bytes, count = 1;

	pieces[0] = (struct iovec){copy, bytes};
	for (uint32_t i = 0; i < frame->iov_count; i++) {
		struct iovec piece = frame->iov[i];
		uint32_t part = (uint32_t)min_u64(piece.iov_len, skip);

		skip -= part;
		if (piece.iov_len == part)
			continue;
		if (count == GUARD_PIECES_MAX)
			return false;
		pieces[count++] = (struct iovec){(uint8_t *)piece.iov_base + part, piece.iov_len - part};
	}
	frame->iov = pieces;
	frame->iov_count = count;
	return true;
}

static bool writes_below(const struct vireo_frame_offload *offload, uint32_t end)
{
	return offload->flags & VIREO_FRAME_NEEDS_CSUM && (uint32_t)offload->csum_start + offload->csum_offset < end;
}

static enum guard_verdict look(struct vireo_frame *frame, const struct sw_guard *rules, struct iovec *pieces, uint8_t *copy)
{
	uint32_t bytes = min_u32(frame->len_bytes, GUARD_FIRST_BYTES), looked;
	enum guard_verdict verdict;

	frame_copy_first(frame, copy, bytes);
	verdict = guard_check(rules, copy, bytes, frame->len_bytes, &looked);
	if (verdict == GUARD_MORE) {
		bytes = min_u32(frame->len_bytes, GUARD_BYTES);
		frame_copy_first(frame, copy, bytes);
		verdict = guard_check(rules, copy, bytes, frame->len_bytes, &looked);
	}
	if (verdict == GUARD_PASS && (writes_below(&frame->offload, looked) || !take_copy(frame, pieces, copy, bytes)))
		return GUARD_UNREADABLE;
	return verdict;
}

static __attribute__((noinline)) void refuse(struct forwarder *forwarder, const struct sw_port *from, enum guard_verdict verdict, struct vireo_frame *frame)
{
	struct port_counters *counters = &from->counters[forwarder->worker.index];
	uint64_t *const of[] = {
		[GUARD_MORE] = &counters->rx_unreadable,    [GUARD_IP] = &counters->rx_spoofed_ip,
		[GUARD_ARP] = &counters->rx_spoofed_arp,    [GUARD_ND] = &counters->rx_spoofed_nd,
		[GUARD_DHCP] = &counters->rx_dhcp_server,   [GUARD_ROUTER] = &counters->rx_router,
		[GUARD_UNREADABLE] = &counters->rx_unreadable,
	};

	counter_add(of[verdict], 1);
	dropped(forwarder, from, of[verdict], frame);
}

unsigned guards_admit(struct forwarder *forwarder, struct burst *burst, const struct sw_guard *rules)
{
	struct vireo_frame *frames = burst->frames;
	struct guard_room *room = forwarder->guard_room;
	unsigned left = 0, all = burst->count;

	for (unsigned i = 0; i < all; i++) {
		enum guard_verdict verdict = look(&frames[i], rules, room->pieces[i], room->bytes[i]);

		if (verdict != GUARD_PASS) {
			refuse(forwarder, burst->from, verdict, &frames[i]);
			continue;
		}
		if (left != i)
			frames[left] = frames[i];
		left++;
	}
	burst->count = left;
	return left;
}

/* ---- control thread ---- */

static void guard_gone(struct grace_item *item)
{
	free(container_of(item, struct port_guard, gone));
}

int sw_port_guard_set(struct sw_port *port, const struct sw_guard *rules)
{
	struct port_guard *old = port->guard, *next = NULL;

	if (rules->address_count > SW_GUARD_ADDRESSES_MAX)
		return -EINVAL;
	if (guard_wanted(rules)) {
		next = calloc(1, sizeof(*next));
		if (!next)
			return -ENOMEM;
		next->rules = *rules;
		next->gone.fn = guard_gone;
	}
	/* Pairs with the acquire in forward.c (admit). */
	__atomic_store_n(&port->guard, next, __ATOMIC_RELEASE);
	if (old)
		grace_defer(port->sw->grace, &old->gone);
	return 0;
}
