/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/common/clock.h"
#include "bench/common/protocol.h"
#include "vhost.h"
#include <errno.h>
#include <rte_vhost.h>

/* The guest's queues. */
#define RECEIVE_QUEUE 0
#define TRANSMIT_QUEUE 1

static uint64_t bytes_of(struct rte_mbuf *const *frames, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += frames[i]->pkt_len;
	return bytes;
}

static void frames_free(struct vhost_counters *c, struct rte_mbuf **frames, unsigned count)
{
	uint64_t start = clock_now();

	rte_pktmbuf_free_bulk(frames, count);
	counter_add(&c->mbuf_cycles, clock_now() - start);
}

static void frames_check(struct vhost_traffic *t, struct rte_mbuf **frames, unsigned count)
{
	uint8_t copy[FRAMES_BYTES_MAX];

	for (unsigned i = 0; i < count; i++) {
		uint32_t bytes = frames[i]->pkt_len;

		if (bytes > sizeof(copy) ||
		    !frame_check(&t->check, rte_pktmbuf_read(frames[i], 0, bytes, copy), bytes))
			counter_add(&t->counters.bad, 1);
	}
}

static unsigned frames_dequeue(struct vhost_traffic *t, int vid, struct rte_mbuf **frames)
{
	struct vhost_counters *c = &t->counters;
	uint64_t start = clock_now();
	unsigned n = rte_vhost_dequeue_burst(vid, TRANSMIT_QUEUE, t->pool, frames, VHOST_BURST);
	uint64_t end = clock_now();

	if (!n)
		return 0;
	counter_add(&c->dequeue_cycles, end - start);
	counter_add(&c->dequeued, n);
	counter_add(&c->bytes, bytes_of(frames, n));
	if (t->options->verify)
		frames_check(t, frames, n);
	return n;
}

static unsigned frames_enqueue(struct vhost_traffic *t, int vid, struct rte_mbuf **frames, unsigned count)
{
	struct vhost_counters *c = &t->counters;
	uint64_t start = clock_now();
	unsigned n = rte_vhost_enqueue_burst(vid, RECEIVE_QUEUE, frames, (uint16_t)count);
	uint64_t end = clock_now();

	if (!n)
		return 0;
	counter_add(&c->enqueue_cycles, end - start);
	counter_add(&c->enqueued, n);
	return n;
}

static void step_dequeue(struct vhost_traffic *t, int vid)
{
	struct rte_mbuf *frames[VHOST_BURST];
	unsigned n = frames_dequeue(t, vid, frames);

	if (n)
		frames_free(&t->counters, frames, n);
}

static void step_loop(struct vhost_traffic *t, int vid)
{
	struct rte_mbuf *frames[VHOST_BURST];
	unsigned n = frames_dequeue(t, vid, frames);

	if (!n)
		return;
	frames_enqueue(t, vid, frames, n);
	frames_free(&t->counters, frames, n);
}

/* What so many buffers cost who must take them from the pool and give them back. */
static void buffers_time(struct vhost_traffic *t, unsigned count)
{
	struct rte_mbuf *frames[VHOST_BURST];
	uint64_t start = clock_now();

	if (rte_pktmbuf_alloc_bulk(t->pool, frames, count))
		return;
	rte_pktmbuf_free_bulk(frames, count);
	counter_add(&t->counters.mbuf_cycles, clock_now() - start);
}

static void fixed_prepare(struct vhost_traffic *t)
{
	for (unsigned i = 0; i < VHOST_BURST; i++) {
		struct rte_mbuf *frame = t->fixed[i];

		frame->pkt_len = frame->data_len = frame_sizes_next(&t->sizes);
		if (t->options->verify)
			frame_write(rte_pktmbuf_mtod(frame, uint8_t *), frame->pkt_len, &t->source, t->k + i);
	}
}

static void step_enqueue(struct vhost_traffic *t, int vid)
{
	unsigned n;

	fixed_prepare(t);
	n = frames_enqueue(t, vid, t->fixed, VHOST_BURST);
	/* What was not taken is offered again. */
	frame_sizes_return(&t->sizes, VHOST_BURST, n);
	t->k += n;
	if (!n)
		return;
	counter_add(&t->counters.bytes, bytes_of(t->fixed, n));
	buffers_time(t, n);
}

void vhost_traffic_run(void *opaque)
{
	struct vhost_traffic *t = opaque;
	void (*step)(struct vhost_traffic * t, int vid) = step_loop;

	if (t->options->mode == VHOST_DEQUEUE)
		step = step_dequeue;
	else if (t->options->mode == VHOST_ENQUEUE)
		step = step_enqueue;
	while (eal_poll_goes_on()) {
		int vid = vhost_device_enter();

		if (vid >= 0)
			step(t, vid);
		vhost_device_leave();
	}
}

int vhost_traffic_open(struct vhost_traffic *t, const struct vhost_options *options)
{
	struct frame_source front = { .port = 0, .flows = options->flows };

	t->options = options;
	t->sizes = options->sizes;
	t->source = (struct frame_source){ .port = 1, .flows = options->flows };
	t->pool = eal_pool_new("frames", &t->source);
	if (!t->pool || rte_pktmbuf_alloc_bulk(t->pool, t->fixed, VHOST_BURST))
		return -ENOMEM;
	return frame_check_init(&t->check, front, false);
}

void vhost_traffic_close(struct vhost_traffic *t)
{
	frame_check_free(&t->check);
}
