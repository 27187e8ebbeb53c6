/* SPDX-License-Identifier: BSD-3-Clause */
#include "api.h"
#include "base/affinity.h"
#include "bench/common/clock.h"
#include "bench/common/cpu.h"
#include "bench/common/protocol.h"
#include <errno.h>
#include <stdlib.h>

#define PACKET_BYTES 2048u
#define LINE_BYTES   64u

static uint64_t bytes_of(const struct vireo_packet *packets, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += packets[i].len_bytes;
	return bytes;
}

static void packets_check(struct api_traffic *t, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!frame_check(&t->check, t->packets[i].data, t->packets[i].len_bytes))
			counter_add(&t->counters.bad, 1);
}

/* A queue that turns out to be broken brings nothing: the library has said why, and takes it back. */
static unsigned packets_dequeue(struct api_traffic *t, struct vireo_net *net)
{
	struct api_counters *c = &t->counters;
	uint64_t start = clock_now();
	int n = vireo_net_dequeue_burst(net, 0, t->packets, t->options->burst);
	uint64_t end = clock_now();

	if (n <= 0)
		return 0;
	counter_add(&c->dequeue_cycles, end - start);
	counter_add(&c->dequeued, (unsigned)n);
	counter_add(&c->bytes, bytes_of(t->packets, (unsigned)n));
	if (t->options->verify)
		packets_check(t, (unsigned)n);
	return (unsigned)n;
}

static unsigned packets_enqueue(struct api_traffic *t, struct vireo_net *net, unsigned count)
{
	struct api_counters *c = &t->counters;
	uint64_t start = clock_now();
	int n = vireo_net_enqueue_burst(net, 0, t->packets, count);
	uint64_t end = clock_now();

	if (n <= 0)
		return 0;
	counter_add(&c->enqueue_cycles, end - start);
	counter_add(&c->enqueued, (unsigned)n);
	return (unsigned)n;
}

static void step_dequeue(struct api_traffic *t, struct vireo_net *net)
{
	packets_dequeue(t, net);
}

static void step_loop(struct api_traffic *t, struct vireo_net *net)
{
	unsigned n = packets_dequeue(t, net);

	if (n)
		packets_enqueue(t, net, n);
}

static void packets_prepare(struct api_traffic *t)
{
	for (unsigned i = 0; i < t->options->burst; i++) {
		struct vireo_packet *packet = &t->packets[i];

		packet->len_bytes = frame_sizes_next(&t->sizes);
		if (t->options->verify)
			frame_write(packet->data, packet->len_bytes, &t->source, t->k + i);
	}
}

static void step_enqueue(struct api_traffic *t, struct vireo_net *net)
{
	unsigned n;

	packets_prepare(t);
	n = packets_enqueue(t, net, t->options->burst);
	/* What was not taken is offered again. */
	frame_sizes_return(&t->sizes, t->options->burst, n);
	t->k += n;
	if (n)
		counter_add(&t->counters.bytes, bytes_of(t->packets, n));
}

static void *traffic_run(void *opaque)
{
	struct api_traffic *t = opaque;
	void (*step)(struct api_traffic *t, struct vireo_net *net) = step_loop;

	if (t->options->mode == API_DEQUEUE)
		step = step_dequeue;
	else if (t->options->mode == API_ENQUEUE)
		step = step_enqueue;
	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		struct vireo_net *net = api_device_enter();

		if (net)
			step(t, net);
		api_device_leave();
	}
	return NULL;
}

static int packets_new(struct api_traffic *t)
{
	unsigned count = t->options->burst;

	t->packets = calloc(count, sizeof(*t->packets));
	t->memory = aligned_alloc(LINE_BYTES, (size_t)count * PACKET_BYTES);
	if (!t->packets || !t->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		t->packets[i] = (struct vireo_packet){
			.data = t->memory + (size_t)i * PACKET_BYTES, .capacity_bytes = PACKET_BYTES};
		/* Also the memory's first touch: not while it is measured. */
		frame_write(t->packets[i].data, FRAMES_BYTES_MAX, &t->source, i);
	}
	return frame_check_init(&t->check, (struct frame_source){.port = 0, .flows = t->options->flows}, false);
}

static int thread_new(struct api_traffic *t)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)t->options->cpu, &set);
	return affinity_start(&t->thread, &set, traffic_run, t);
}

static void packets_free(struct api_traffic *t)
{
	frame_check_free(&t->check);
	free(t->packets);
	free(t->memory);
}

int api_traffic_start(struct api_traffic *t, const struct api_options *options)
{
	int error;

	*t = (struct api_traffic){
		.options = options, .sizes = options->sizes, .source = {.port = 1, .flows = options->flows}};
	error = packets_new(t);
	if (!error)
		error = thread_new(t);
	if (error)
		packets_free(t);
	return error;
}

void api_traffic_end(struct api_traffic *t)
{
	__atomic_store_n(&t->stop, true, __ATOMIC_RELAXED);
	pthread_join(t->thread, NULL);
	packets_free(t);
}
