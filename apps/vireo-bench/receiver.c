/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "frame.h"
#include "traffic.h"

#define BURST 64u
/* After the sender has ended, frames may still be on their way: until none has come for so long. */
#define QUIET_NS UINT64_C(200000000)
#define IDLE_NS UINT64_C(20000000)
#define CLOCK_GRAIN_NS 20000u

static void latency_add(struct traffic *t, uint64_t sent_ns)
{
	/* One look at the clock serves a burst, except for frames so young that it would matter. */
	if (!t->now_ns || t->now_ns < sent_ns + CLOCK_GRAIN_NS)
		t->now_ns = traffic_now_ns();
	histogram_add(&t->latency_ns, t->now_ns < sent_ns ? 0 : t->now_ns - sent_ns);
	__atomic_store_n(&t->last_ns, t->now_ns, __ATOMIC_RELAXED);
}

static void data_take(struct traffic *t, const struct frame_header *header)
{
	struct stream *stream;
	enum sequence_verdict verdict;

	if (header->stream >= t->o->queues || header->pattern != t->o->verify ||
	    header->number >= __atomic_load_n(&t->streams[header->stream].next, __ATOMIC_RELAXED)) {
		counter_add(&t->received.corrupted, 1);
		return;
	}
	stream = &t->streams[header->stream];
	verdict = sequence_add(&stream->sequence, header->number);
	if (verdict == SEQUENCE_DUPLICATE || verdict == SEQUENCE_STALE) {
		counter_add(&t->received.duplicated, 1);
		return;
	}
	if (verdict == SEQUENCE_LATE)
		counter_add(&t->received.reordered, 1);
	else
		__atomic_store_n(&stream->received, header->number + 1, __ATOMIC_RELAXED);
	counter_add(&t->received.frames, 1);
	counter_add(&t->received.bytes, header->frame_bytes);
	latency_add(t, header->sent_ns);
}

void receiver_frame(void *opaque, const struct iovec *pieces, unsigned count, uint32_t bytes)
{
	struct traffic *t = opaque;
	struct frame_header header;

	switch (frame_check(pieces, count, bytes, t->to->mac, t->run, &header)) {
	case FRAME_FOREIGN:
		counter_add(&t->received.foreign, 1);
		return;
	case FRAME_CORRUPT:
		counter_add(&t->received.corrupted, 1);
		return;
	case FRAME_GOOD:
		break;
	}
	if (header.kind == FRAME_HELLO)
		t->hello_forth |= UINT64_C(1) << header.stream % 64;
	else
		data_take(t, &header);
}

unsigned receiver_step(struct traffic *t)
{
	unsigned done = 0;

	t->now_ns = 0;
	for (unsigned pair = 0; pair < t->to->pair_count; pair++)
		done += port_receive(t->to, pair, BURST, receiver_frame, t);
	return done;
}

bool receiver_finished(struct traffic *t)
{
	uint64_t since_ns;

	if (__atomic_load_n(&t->abort, __ATOMIC_RELAXED) || t->to->error)
		return true;
	if (!__atomic_load_n(&t->sender_done, __ATOMIC_ACQUIRE))
		return false;
	since_ns = t->last_ns > t->end_ns ? t->last_ns : t->end_ns;
	return t->received.frames == t->sent_frames || traffic_now_ns() - since_ns >= QUIET_NS;
}

void receiver_idle(struct traffic *t)
{
	traffic_sleep(t->to, true, false, IDLE_NS);
}
