/* SPDX-License-Identifier: BSD-3-Clause */
#include "limit.h"
#include <errno.h>

struct producer_stream {
	struct limit_shared *shared;
	struct ring *send, *receive;
	struct frame_source source;
	struct frame_sizes sizes;
	struct frame_check check;
	uint64_t available, used; /* of the send ring; across: of the receive ring, too, but for constants */
	uint64_t k;
};

static void frame_prepare(struct producer_stream *s, uint64_t offset, uint32_t bytes)
{
	uint8_t *at = buffer_at(s->shared, offset);

	if (s->shared->options.verify)
		frame_write(at, bytes, &s->source, s->k++);
	else if (s->shared->options.touch)
		frame_touch(at, &s->source, s->k++);
}

static void frame_offer(struct producer_stream *s, uint64_t offset, uint32_t bytes)
{
	struct ring_entry *entry = ring_at(s->send, s->available++);

	entry->offset = offset;
	entry->bytes = bytes;
}

/* out: each entry of the ring has its buffer, and they come round in turn. */
static void step_out(struct producer_stream *s)
{
	if (s->available + RING_PUBLISH > s->used + RING_ENTRIES)
		s->used = ring_used(s->send);
	if (s->available + RING_PUBLISH > s->used + RING_ENTRIES)
		return;
	for (unsigned i = 0; i < RING_PUBLISH; i++) {
		uint64_t offset = s->available % RING_ENTRIES * BUFFER_BYTES;
		uint32_t bytes = frame_sizes_next(&s->sizes);

		frame_prepare(s, offset, bytes);
		frame_offer(s, offset, bytes);
	}
	ring_publish(s->send, s->available);
}

/*
 * across: what has been received is sent again, and the buffer it had been copied from takes its place in the
 * receive ring. The consumer has completed as many in one ring as in the other, the send ring first.
 */
static void step_across(struct producer_stream *s)
{
	uint64_t used = ring_used(s->receive);

	if (used - s->used < RING_PUBLISH)
		return;
	for (unsigned i = 0; i < RING_PUBLISH; i++, s->used++) {
		struct ring_entry *received = ring_at(s->receive, s->used);
		uint64_t sent = ring_at(s->send, s->used)->offset, offset = received->offset;

		if (s->shared->options.verify &&
		    !frame_check(&s->check, buffer_at(s->shared, offset), received->bytes))
			__atomic_store_n(&s->shared->bad, s->shared->bad + 1, __ATOMIC_RELAXED);
		frame_prepare(s, offset, received->bytes);
		frame_offer(s, offset, received->bytes);
		received->offset = sent;
	}
	ring_publish(s->send, s->available);
	ring_publish(s->receive, s->used + RING_ENTRIES);
}

/* Buffers get their frames whole, so that no page is untouched. */
static int stream_open(struct producer_stream *s, struct limit_shared *shared, unsigned i)
{
	uint64_t first = (uint64_t)i * STREAM_BUFFERS * BUFFER_BYTES;
	unsigned sent = shared->options.across ? shared->options.window : 0;

	*s = (struct producer_stream){ .shared = shared,
				       .send = &shared->streams[i].send,
				       .receive = &shared->streams[i].receive,
				       .sizes = shared->options.sizes,
				       .source = { .port = (uint8_t)i, .flows = 1 } };
	if (frame_check_init(&s->check, s->source, false))
		return -ENOMEM;
	for (unsigned b = 0; b < STREAM_BUFFERS; b++)
		frame_write(buffer_at(shared, first + (uint64_t)b * BUFFER_BYTES), FRAMES_BYTES_MAX,
			    &s->source, b);
	if (!shared->options.across)
		return 0;
	for (unsigned b = 0; b < RING_ENTRIES; b++)
		ring_at(s->receive, b)->offset = first + (uint64_t)b * BUFFER_BYTES;
	for (unsigned b = 0; b < sent; b++) {
		uint64_t offset = first + (uint64_t)(RING_ENTRIES + b) * BUFFER_BYTES;
		uint32_t bytes = frame_sizes_next(&s->sizes);

		frame_prepare(s, offset, bytes);
		frame_offer(s, offset, bytes);
	}
	ring_publish(s->receive, RING_ENTRIES);
	ring_publish(s->send, s->available);
	return 0;
}

int producer_run(struct limit_shared *shared)
{
	struct producer_stream streams[STREAMS_MAX] = { 0 };
	void (*step)(struct producer_stream * s) = shared->options.across ? step_across : step_out;
	unsigned count = shared->options.streams;
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++)
		error = stream_open(&streams[i], shared, i);
	while (!error && !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
		for (unsigned i = 0; i < count; i++)
			step(&streams[i]);
	for (unsigned i = 0; i < count; i++)
		frame_check_free(&streams[i].check);
	return error;
}
