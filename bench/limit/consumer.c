/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/common/clock.h"
#include "limit.h"
#include <errno.h>

/* Longer than any batch takes: the thread did not run meanwhile. */
#define INTERRUPTED_US 50u
#define LINE 64u

static inline void line_copy(uint8_t *to, const uint8_t *from)
{
	__builtin_memcpy(to, from, LINE);
}

/* At least a line, which all frames have: whole lines, then the last 64 bytes, some of them again. */
static inline void inline_copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	for (uint32_t at = 0; at + LINE <= bytes; at += LINE)
		line_copy(to + at, from + at);
	line_copy(to + bytes - LINE, from + bytes - LINE);
}

static inline void movsb_copy(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
#if defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
#else
	memcpy(to, from, bytes);
#endif
}

static inline void frame_copy(enum copy_kind kind, uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	if (kind == COPY_INLINE)
		inline_copy(to, from, bytes);
	else if (kind == COPY_MOVSB)
		movsb_copy(to, from, bytes);
	else
		memcpy(to, from, bytes);
}

static inline void entry_prefetch(struct consumer *c, struct ring *ring, uint64_t position)
{
	const struct ring_entry *entry = ring_at(ring, position);

	for (uint32_t at = 0; at < entry->bytes && at < 4 * LINE; at += LINE)
		__builtin_prefetch(buffer_at(c->shared, entry->offset) + at);
}

/* One batch of a stream; `across` and `kind` are constants where it is called. */
static inline __attribute__((always_inline)) void batch_copy(struct consumer *c, unsigned stream, bool across,
							     enum copy_kind kind)
{
	struct ring *send = &c->shared->streams[stream].send, *receive = &c->shared->streams[stream].receive;
	uint64_t at = c->position[stream], end = at + RING_PUBLISH;
	unsigned ahead = c->way.prefetch;

	for (unsigned i = 0; i < ahead; i++)
		entry_prefetch(c, send, at + i);
	for (unsigned i = 0; at < end; at++, i++) {
		const struct ring_entry *from = ring_at(send, at);
		struct ring_entry *to = across ? ring_at(receive, at) : NULL;
		uint32_t bytes = from->bytes;

		if (ahead && at + ahead < end)
			entry_prefetch(c, send, at + ahead);
		frame_copy(kind, across ? buffer_at(c->shared, to->offset) : c->private[i],
			   buffer_at(c->shared, from->offset), bytes);
		if (across)
			to->bytes = bytes;
	}
	ring_complete(send, end);
	if (across)
		ring_complete(receive, end);
	c->position[stream] = end;
}

static void out_libc(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, false, COPY_LIBC);
}
static void out_inline(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, false, COPY_INLINE);
}
static void out_movsb(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, false, COPY_MOVSB);
}
static void across_libc(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, true, COPY_LIBC);
}
static void across_inline(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, true, COPY_INLINE);
}
static void across_movsb(struct consumer *c, unsigned stream)
{
	batch_copy(c, stream, true, COPY_MOVSB);
}

typedef void batch_fn(struct consumer *c, unsigned stream);

static bool batch_ready(struct consumer *c, unsigned stream)
{
	uint64_t end = c->position[stream] + RING_PUBLISH;

	return ring_available(&c->shared->streams[stream].send) >= end &&
	       (!c->shared->options.across || ring_available(&c->shared->streams[stream].receive) >= end);
}

/* What has just been copied out; its entries are the producer's again. Across, the producer checks. */
static void private_check(struct consumer *c, unsigned stream)
{
	for (unsigned i = 0; i < RING_PUBLISH; i++)
		if (!frame_check(&c->checks[stream], c->private[i], frame_sizes_next(&c->sizes[stream])))
			c->shared->bad++;
}

void consumer_run(struct consumer *c, uint64_t until_ticks)
{
	static batch_fn *const batches[2][COPY_KINDS] = {
		{ out_libc, out_inline, out_movsb },
		{ across_libc, across_inline, across_movsb },
	};
	const struct limit_options *o = &c->shared->options;
	batch_fn *batch = batches[o->across][c->way.copy];
	uint64_t start, end, interrupted = clock_hz() / 1000000 * INTERRUPTED_US;

	c->frames = c->cycles = 0;
	do {
		for (unsigned i = 0; i < o->streams; i++) {
			start = clock_now();
			if (!batch_ready(c, i))
				continue;
			batch(c, i);
			end = clock_now();
			if (end - start < interrupted) {
				c->cycles += end - start;
				c->frames += RING_PUBLISH;
			}
			if (o->verify && !o->across)
				private_check(c, i);
		}
	} while (clock_now() < until_ticks);
}

int consumer_open(struct consumer *c, struct limit_shared *shared)
{
	*c = (struct consumer){ .shared = shared };
	for (unsigned i = 0; i < shared->options.streams; i++) {
		c->sizes[i] = shared->options.sizes;
		if (frame_check_init(&c->checks[i], (struct frame_source){ .port = (uint8_t)i, .flows = 1 },
				     false))
			return -ENOMEM;
	}
	return 0;
}

void consumer_close(struct consumer *c)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		frame_check_free(&c->checks[i]);
}
