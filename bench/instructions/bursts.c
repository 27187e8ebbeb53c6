/* SPDX-License-Identifier: BSD-3-Clause */

/* dequeue, enqueue: the burst API on one device. */

#include "bench/instructions/count.h"
#include "bench/instructions/guest.h"

#define OUTSIDE 0xee /* the address of whoever holds the packets */

struct bursts {
	struct guest guest;
	struct vireo_packet packets[BURST];
	uint8_t data[BURST][FRAME_BYTES_MAX] __attribute__((aligned(64)));
	uint32_t number; /* of the next packet */
	int result;
};

static void dequeue(void *opaque)
{
	struct bursts *b = opaque;

	b->result = vireo_net_dequeue_burst(b->guest.net, 0, b->packets, BURST);
}

static void enqueue(void *opaque)
{
	struct bursts *b = opaque;

	b->result = vireo_net_enqueue_burst(b->guest.net, 0, b->packets, BURST);
}

static void step_dequeue(struct bursts *b)
{
	struct guest *g = &b->guest;

	guest_send_burst(g, OUTSIDE);
	count_toggled(dequeue, b);
	must(b->result == (int)BURST, "not all frames were dequeued");
	for (unsigned i = 0; i < BURST; i++)
		frame_check(b->packets[i].data, b->packets[i].len_bytes, g->c, g->number, OUTSIDE, b->number++);
	guest_sent(g, BURST);
}

static void step_enqueue(struct bursts *b)
{
	struct guest *g = &b->guest;

	for (unsigned i = 0; i < BURST; i++) {
		b->packets[i].len_bytes = frame_make(b->packets[i].data, g->c, OUTSIDE, OUTSIDE, g->number, b->number++);
	}
	count_toggled(enqueue, b);
	must(b->result == (int)BURST, "not all frames were enqueued");
	guest_take(g, OUTSIDE, BURST);
}

uint64_t run_bursts(const struct bench_case *c)
{
	static struct bursts b;

	guest_start(&b.guest, c, 0);
	for (unsigned i = 0; i < BURST; i++)
		b.packets[i] = (struct vireo_packet){.data = b.data[i], .capacity_bytes = FRAME_BYTES_MAX};
	for (unsigned i = 0; i < WARM_BURSTS + BURSTS; i++) {
		if (i == WARM_BURSTS)
			count_from_zero();
		if (c->kind == CASE_DEQUEUE)
			step_dequeue(&b);
		else
			step_enqueue(&b);
	}
	return (uint64_t)BURSTS * BURST;
}
