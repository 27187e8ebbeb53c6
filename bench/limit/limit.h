/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_LIMIT_LIMIT_H
#define BENCH_LIMIT_LIMIT_H

#include "bench/common/frames.h"
#include "ring.h"

/* A buffer's room; no power of two, or all their first lines would compete for the same few cache sets. */
#define BUFFER_BYTES 2304u
#define STREAMS_MAX 2u
/* Each stream: the receive ring's, and those of the frames in flight. */
#define STREAM_BUFFERS (2 * RING_ENTRIES)

struct limit_options {
	bool across; /* copied into other buffers of the producer; otherwise into private ones */
	bool touch; /* the producer writes the first line of each frame */
	bool verify;
	unsigned window; /* across: frames in flight per stream */
	unsigned streams;
	struct frame_sizes sizes;
};

/* What both threads see. A stream's frames are numbered through, by `stream` as port. */
struct limit_shared {
	struct limit_options options;
	struct {
		struct ring send, receive; /* receive: only across */
	} streams[STREAMS_MAX];
	bool stop;
	_Alignas(128) uint64_t bad; /* written by who checks */
	_Alignas(4096) uint8_t buffers[STREAMS_MAX][STREAM_BUFFERS][BUFFER_BYTES];
};

static inline uint8_t *buffer_at(struct limit_shared *shared, uint64_t offset)
{
	return &shared->buffers[0][0][0] + offset;
}

/* producer.c: fills the rings until `stop`; the shared memory is all zeroes but for the options. 0 or
 * -ENOMEM. */
int producer_run(struct limit_shared *shared);

/* consumer.c */

enum copy_kind { COPY_LIBC, COPY_INLINE, COPY_MOVSB, COPY_KINDS };

struct consumer_way {
	enum copy_kind copy;
	unsigned prefetch; /* so many frames ahead; 0: none */
};

struct consumer {
	struct limit_shared *shared;
	struct consumer_way way;
	struct frame_check checks[STREAMS_MAX];
	struct frame_sizes sizes[STREAMS_MAX]; /* as the producer goes through them */
	uint64_t position[STREAMS_MAX];
	uint64_t frames, cycles; /* of batches that moved frames, and were not interrupted */
	uint8_t private[RING_PUBLISH][BUFFER_BYTES];
};

int consumer_open(struct consumer *consumer, struct limit_shared *shared); /* or -ENOMEM */
void consumer_run(struct consumer *consumer, uint64_t until_ticks);
void consumer_close(struct consumer *consumer);

#endif
