/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

/*
 * The measurement: a sender, which owns the `from` port, and a receiver, which owns the `to` port, each in a
 * thread of its own (or both in one). What they share is below; each counter has one writer and may be read
 * by any thread.
 */

#include "base/histogram.h"
#include "options.h"
#include "port.h"
#include "sequence.h"

struct stream { /* one per queue pair of the sender */
	uint64_t next; /* sender: number of the next frame */
	uint64_t received; /* receiver: one more than the highest number received */
	struct sequence sequence; /* receiver only */
};

struct receiver_counters {
	uint64_t frames, bytes; /* good, each once */
	uint64_t reordered, duplicated, corrupted, foreign;
};

struct traffic {
	const struct options *o;
	struct port *from, *to;
	uint32_t run;
	struct stream *streams; /* o->queues */

	/* Sender. */
	uint64_t sent_frames, sent_bytes;
	uint64_t start_ns, end_ns; /* of sending */
	uint64_t uncompleted; /* never given back by the device */
	uint64_t pace_ns, pace_frames; /* with a rate: frames are counted from here */
	unsigned pair_first; /* whose turn it is */
	bool sender_done;

	/* Receiver. */
	struct receiver_counters received;
	struct histogram latency_ns;
	uint64_t now_ns, last_ns; /* of this burst; of the last frame */

	/* Hello: pairs whose frames came through. */
	uint64_t hello_forth, hello_back;

	/* Main thread: ends it all. */
	bool stop; /* sender: no more frames */
	bool abort; /* both: at once */
	const char *gone; /* the path whose back end went away, or NULL */
};

uint64_t traffic_now_ns(void);

/* warmup.c: -ETIMEDOUT: no frame got through on some pair. */
int traffic_warm_up(struct traffic *t);

/* sender.c, receiver.c: one round, returns what was done; 0: nothing to do. */
unsigned sender_step(struct traffic *t);
bool sender_finished(struct traffic *t); /* all frames are sent and given back, or it is too late for that */
void sender_idle(struct traffic *t);
unsigned receiver_step(struct traffic *t);
bool receiver_finished(struct traffic *t);
void receiver_idle(struct traffic *t);
/* One frame at the receiver; also for the frames that come in while warming up. */
void receiver_frame(void *opaque, const struct iovec *pieces, unsigned count, uint32_t bytes);

/* Sleeps until a signal comes on one kind of rings of the port, or some time has passed. */
void traffic_sleep(struct port *port, bool receive, bool transmit, uint64_t max_ns);

/*
 * threads.c: runs it. `tick` is called by the calling thread once a second. 0, or a negative errno (no
 * thread, no such CPU).
 */
int traffic_run(struct traffic *t, void (*tick)(const struct traffic *t), const volatile bool *interrupted);

#endif
