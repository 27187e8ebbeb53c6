/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "frame.h"
#include "traffic.h"

#define BURST 32u
#define COMPLETION_WAIT_NS UINT64_C(1000000000)
#define WINDOW_STALL_NS UINT64_C(20000000)
/*
 * A sender that was held up catches up with so much of its schedule, and drops the rest: bursts beyond it
 * measure nothing.
 */
#define PACE_BACKLOG_NS UINT64_C(2000000)

/* The usual mixture: 7 small, 4 middle-sized, 1 large. */
static const uint16_t imix_bytes[] = { 60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 590, 60 };

static uint32_t frame_bytes(const struct traffic *t, uint64_t number)
{
	return t->o->frame_bytes == SIZE_IMIX ? imix_bytes[number % ARRAY_SIZE(imix_bytes)]
					      : t->o->frame_bytes;
}

/* Frames that the rate allows by now. */
static uint64_t pace_allows(struct traffic *t, uint64_t now_ns)
{
	uint64_t backlog = PACE_BACKLOG_NS * t->o->rate_fps / 1000000000 + BURST, due;

	if (!t->o->rate_fps)
		return BURST;
	/* Starts over every second, so that the product stays small. */
	while (now_ns - t->pace_ns >= 1000000000) {
		t->pace_ns += 1000000000;
		t->pace_frames += t->o->rate_fps;
	}
	due = t->pace_frames + (now_ns - t->pace_ns) * t->o->rate_fps / 1000000000;
	if (due <= t->sent_frames)
		return 0;
	if (due - t->sent_frames > backlog)
		t->pace_frames -= due - t->sent_frames - backlog;
	return due - t->sent_frames;
}

/*
 * Frames that the window of a stream allows. When the receiver has seen nothing for a while, what is on its
 * way is taken for lost.
 */
static uint64_t window_allows(struct traffic *t, struct stream *stream, uint64_t now_ns)
{
	uint64_t on_way = stream->next - __atomic_load_n(&stream->received, __ATOMIC_RELAXED);
	uint64_t last_ns = __atomic_load_n(&t->last_ns, __ATOMIC_RELAXED);

	if (!t->o->window)
		return BURST;
	if (on_way < t->o->window)
		return t->o->window - on_way;
	if (last_ns < t->start_ns)
		last_ns = t->start_ns;
	return now_ns > last_ns + WINDOW_STALL_NS ? 1 : 0;
}

static bool frame_send(struct traffic *t, unsigned pair, uint64_t now_ns)
{
	struct stream *stream = &t->streams[pair];
	struct frame_header header = {
		.run = t->run,
		.kind = FRAME_DATA,
		.pattern = t->o->verify,
		.stream = (uint16_t)pair,
		.number = stream->next,
		.frame_bytes = frame_bytes(t, stream->next),
		.sent_ns = now_ns,
	};
	uint8_t *at = port_slot(t->from, pair);

	if (!at)
		return false;
	frame_write(at, t->to->mac, t->from->mac, &header);
	/* Before the frame can be on its way: the receiver takes a higher number for a corrupt one. */
	__atomic_store_n(&stream->next, stream->next + 1, __ATOMIC_RELAXED);
	port_send(t->from, pair, header.frame_bytes);
	counter_add(&t->sent_frames, 1);
	counter_add(&t->sent_bytes, header.frame_bytes);
	return true;
}

static unsigned burst_send(struct traffic *t, unsigned pair)
{
	uint64_t now_ns = traffic_now_ns(),
		 left = t->o->frames_max ? t->o->frames_max - t->sent_frames : BURST;
	uint64_t count = min_u64(min_u64(BURST, left), pace_allows(t, now_ns));
	unsigned sent = 0;

	count = min_u64(count, window_allows(t, &t->streams[pair], now_ns));
	while (sent < count && !t->from->error && frame_send(t, pair, now_ns))
		sent++;
	if (sent)
		port_flush(t->from, pair);
	return sent;
}

static bool sending_over(const struct traffic *t)
{
	return __atomic_load_n(&t->stop, __ATOMIC_RELAXED) || t->from->error ||
	       (t->o->frames_max && t->sent_frames >= t->o->frames_max) ||
	       traffic_now_ns() - t->start_ns >= t->o->duration_ms * 1000000;
}

/* What reaches the sender is of no interest, but its receive buffers are to be kept available. */
static void frame_ignore(void *opaque, const struct iovec *pieces, unsigned count, uint32_t bytes)
{
}

unsigned sender_step(struct traffic *t)
{
	unsigned done = 0, last = t->pair_first;

	if (!t->end_ns && sending_over(t))
		t->end_ns = traffic_now_ns();
	for (unsigned i = 0; i < t->from->pair_count; i++) {
		unsigned pair = (t->pair_first + i) % t->from->pair_count, sent = 0;

		if (!t->end_ns)
			sent = burst_send(t, pair);
		else
			port_reclaim(t->from, pair);
		done += sent + port_receive(t->from, pair, BURST, frame_ignore, NULL);
		if (sent)
			last = pair;
	}
	t->pair_first = last + 1; /* so that a low rate, too, reaches all pairs */
	return done;
}

bool sender_finished(struct traffic *t)
{
	if (!t->end_ns)
		return false;
	t->uncompleted = port_pending(t->from);
	if (t->uncompleted && !t->from->error && !__atomic_load_n(&t->abort, __ATOMIC_RELAXED) &&
	    traffic_now_ns() - t->end_ns < COMPLETION_WAIT_NS)
		return false;
	__atomic_store_n(&t->sender_done, true, __ATOMIC_RELEASE);
	return true;
}

void sender_idle(struct traffic *t)
{
	uint64_t until_ns = UINT64_C(10000000);

	for (unsigned pair = 0; pair < t->from->pair_count; pair++)
		port_reclaim(t->from, pair);
	/* Nobody signals that the receiver has got on, or that time has passed. */
	if (t->o->window && !t->end_ns)
		until_ns = 20000;
	if (t->o->rate_fps && !t->end_ns)
		until_ns = min_u64(until_ns, 1000000000 / t->o->rate_fps);
	traffic_sleep(t->from, true, true, until_ns);
}
