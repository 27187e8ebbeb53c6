/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Before anything is measured, each side says hello to the other on every pair, until every pair has been
 * heard: a switch has then learnt both addresses, and queues that take a while to start have started.
 */

#include "frame.h"
#include "traffic.h"
#include <errno.h>
#include <time.h>

#define ROUND_NS 10000000L
#define BACK_WAIT_NS UINT64_C(300000000) /* the way back may not exist */

static void hello_send(struct traffic *t, struct port *port, const struct port *peer)
{
	struct frame_header header = { .run = t->run, .kind = FRAME_HELLO, .frame_bytes = FRAME_BYTES_MIN };

	for (unsigned pair = 0; pair < port->pair_count; pair++) {
		uint8_t *at = port_slot(port, pair);

		if (!at)
			continue;
		header.stream = (uint16_t)pair;
		header.sent_ns = traffic_now_ns();
		frame_write(at, peer->mac, port->mac, &header);
		port_send(port, pair, header.frame_bytes);
		port_flush(port, pair);
	}
}

static void back_frame(void *opaque, const struct iovec *pieces, unsigned count, uint32_t bytes)
{
	struct traffic *t = opaque;
	struct frame_header header;

	if (frame_check(pieces, count, bytes, t->from->mac, t->run, &header) == FRAME_GOOD)
		t->hello_back |= UINT64_C(1) << header.stream % 64;
}

static void hello_receive(struct traffic *t)
{
	for (unsigned pair = 0; pair < t->o->queues; pair++) {
		port_receive(t->to, pair, UINT32_MAX, receiver_frame, t);
		port_receive(t->from, pair, UINT32_MAX, back_frame, t);
		port_reclaim(t->to, pair);
		port_reclaim(t->from, pair);
	}
}

int traffic_warm_up(struct traffic *t)
{
	uint64_t all = t->o->queues == 64 ? UINT64_MAX : (UINT64_C(1) << t->o->queues) - 1;
	uint64_t start_ns = traffic_now_ns(), spent_ns = 0;
	struct timespec round = { .tv_nsec = ROUND_NS };

	while (spent_ns < (uint64_t)t->o->timeout_ms * 1000000) {
		hello_send(t, t->to, t->from);
		hello_send(t, t->from, t->to);
		nanosleep(&round, NULL);
		hello_receive(t);
		spent_ns = traffic_now_ns() - start_ns;
		if (t->from->error || t->to->error)
			return t->from->error ? t->from->error : t->to->error;
		if (t->hello_forth == all && (t->hello_back == all || spent_ns > BACK_WAIT_NS))
			return 0;
	}
	return -ETIMEDOUT;
}
