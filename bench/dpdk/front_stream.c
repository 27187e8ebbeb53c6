/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/common/clock.h"
#include "bench/common/protocol.h"
#include "front.h"
#include <errno.h>
#include <rte_ethdev.h>
#include <stdlib.h>

/*
 * A stream goes from one port to another (or the same). When it circulates, each of its `window` frames is in
 * one of three places: in_flight (sent, not come back), unsent (received or new, the ring had no room for
 * it), missing (to be made).
 *
 * When none has come back for 1 ms, either they are lost or the back end does not run. A probe, one more
 * frame, tells: frames do not overtake each other, so when it comes back alone (and nothing for another 1
 * ms), those before it are lost and made anew. While nothing at all comes, probes follow at growing
 * distances.
 */
#define WAIT_US 1000u
#define WAIT_US_MAX 64000u
/* So much of the time between two polls counts: after a pause of this process nothing is overdue at once. */
#define POLL_US_MAX 20u

struct front_stream {
	const struct front_options *options;
	struct front_port *from, *to; /* either may be NULL: receive only, send only */
	struct rte_mempool *pool; /* new frames */
	struct frame_source source;
	struct frame_sizes sizes;
	struct frame_check check;
	uint64_t k; /* number of the next frame */
	bool crowded; /* more ports than the two of this stream */
	unsigned in_flight, missing, unsent_at, unsent_count;
	unsigned probes,
		returned; /* probes on their way (0: no question), frames that came since the first */
	uint64_t polled_at, idle_ticks, wait_ticks, wait_ticks_min, wait_ticks_max, poll_ticks_max;
	unsigned long long lost, bad;
	struct rte_mbuf *unsent[EAL_BURST_MAX];
} __rte_cache_aligned;

static uint64_t bytes_of(struct rte_mbuf *const *frames, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += frames[i]->pkt_len;
	return bytes;
}

/* Sends what waits, as far as there is room. */
static void stream_flush(struct front_stream *s)
{
	struct rte_mbuf **frames = s->unsent + s->unsent_at;
	uint64_t bytes = bytes_of(frames, s->unsent_count);
	unsigned n = rte_eth_tx_burst(s->from->id, 0, frames, (uint16_t)s->unsent_count);

	s->unsent_at += n;
	s->unsent_count -= n;
	s->in_flight += n;
	if (!n)
		return;
	counter_add(&s->from->tx, n);
	counter_add(&s->from->tx_bytes, bytes - bytes_of(frames + n, s->unsent_count));
}

static void stream_write(struct front_stream *s, struct rte_mbuf **frames, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		frame_write(rte_pktmbuf_mtod(frames[i], uint8_t *), frames[i]->pkt_len, &s->source, s->k + i);
	s->k += count;
}

/* What the options ask for before frames are sent; lengths are set. */
static void stream_prepare(struct front_stream *s, struct rte_mbuf **frames, unsigned count)
{
	if (s->options->verify) {
		stream_write(s, frames, count);
	} else if (s->options->touch) {
		for (unsigned i = 0; i < count; i++)
			frame_touch(rte_pktmbuf_mtod(frames[i], uint8_t *), &s->source, s->k + i);
		s->k += count;
	}
}

static void stream_size(struct front_stream *s, struct rte_mbuf **frames, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		frames[i]->pkt_len = frames[i]->data_len = frame_sizes_next(&s->sizes);
}

/* Lays `count` new frames out for sending; none of those before may be waiting. False: no buffers. */
static bool stream_new_frames(struct front_stream *s, unsigned count)
{
	if (rte_pktmbuf_alloc_bulk(s->pool, s->unsent, count))
		return false;
	stream_size(s, s->unsent, count);
	stream_prepare(s, s->unsent, count);
	s->unsent_at = 0;
	s->unsent_count = count;
	return true;
}

static void stream_send(struct front_stream *s)
{
	if (s->unsent_count || stream_new_frames(s, s->options->burst))
		stream_flush(s);
}

/* Checks a frame wherever its bytes lie. */
static bool frame_holds(struct frame_check *check, const struct rte_mbuf *frame)
{
	uint8_t copy[FRAMES_BYTES_MAX];

	return frame->pkt_len <= sizeof(copy) &&
	       frame_check(check, rte_pktmbuf_read(frame, 0, frame->pkt_len, copy), frame->pkt_len);
}

/*
 * With more than two ports, a switch that has not learnt an address yet shows its frames to all ports: takes
 * those out that another pair's port has sent. Returns how many stay.
 */
static unsigned stream_own(const struct front_stream *s, struct rte_mbuf **frames, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (frame_is_from(rte_pktmbuf_mtod(frames[i], const uint8_t *), &s->source))
			frames[kept++] = frames[i];
		else
			rte_pktmbuf_free(frames[i]);
	return kept;
}

static unsigned stream_take(struct front_stream *s, struct rte_mbuf **frames)
{
	unsigned n = rte_eth_rx_burst(s->to->id, 0, frames, (uint16_t)s->options->burst);

	if (n && s->crowded)
		n = stream_own(s, frames, n);
	if (!n)
		return 0;
	counter_add(&s->to->rx, n);
	counter_add(&s->to->rx_bytes, bytes_of(frames, n));
	for (unsigned i = 0; i < n && s->options->verify; i++)
		if (!frame_holds(&s->check, frames[i]))
			counter_add(&s->bad, 1);
	return n;
}

static void stream_receive(struct front_stream *s)
{
	struct rte_mbuf *frames[EAL_BURST_MAX];
	unsigned n = stream_take(s, frames);

	rte_pktmbuf_free_bulk(frames, n);
}

static void stream_make_missing(struct front_stream *s)
{
	unsigned n = s->missing < s->options->burst ? s->missing : s->options->burst;

	if (s->unsent_count || !n || !stream_new_frames(s, n))
		return;
	s->missing -= n;
	stream_flush(s);
}

/* Nothing came for a while. */
static void stream_overdue(struct front_stream *s)
{
	if (s->returned) {
		counter_add(&s->lost, s->in_flight);
		s->missing = s->options->window;
		s->in_flight = s->probes = s->returned = 0;
		s->wait_ticks = s->wait_ticks_min;
	} else if (s->in_flight && stream_new_frames(s, 1)) {
		s->wait_ticks *= s->probes && s->wait_ticks < s->wait_ticks_max ? 2 : 1;
		s->probes++;
		stream_flush(s);
	}
}

/* Nothing came. */
static void stream_idle(struct front_stream *s)
{
	uint64_t now = clock_now(), passed = now - s->polled_at;

	s->idle_ticks += passed < s->poll_ticks_max ? passed : s->poll_ticks_max;
	s->polled_at = now;
	if (s->idle_ticks < s->wait_ticks)
		return;
	s->idle_ticks = 0;
	stream_overdue(s);
}

/* Books `n` frames that came; returns how many of them go on. */
static unsigned stream_account(struct front_stream *s, unsigned n)
{
	unsigned expected = n < s->in_flight ? n : s->in_flight, surplus, reduced;

	s->idle_ticks = 0;
	s->in_flight -= expected;
	if (!s->probes)
		return expected;
	s->returned += n;
	if (s->returned <= s->probes) {
		s->missing += expected;
		return 0;
	}
	/* The back end had not run. Now there are too many frames, by the probes. */
	surplus = s->probes;
	reduced = surplus < s->missing ? surplus : s->missing;
	s->missing -= reduced;
	surplus -= reduced;
	s->probes = s->returned = 0;
	s->wait_ticks = s->wait_ticks_min;
	return expected - (surplus < expected ? surplus : expected);
}

/* Takes out frames that cannot be written again in place; they count as missing. Returns how many stay. */
static unsigned stream_sift(struct front_stream *s, struct rte_mbuf **frames, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (frames[i]->nb_segs == 1 && frames[i]->data_len >= FRAMES_BYTES_MIN)
			frames[kept++] = frames[i];
		else
			rte_pktmbuf_free(frames[i]);
	s->missing += count - kept;
	return kept;
}

static void stream_turn(struct front_stream *s)
{
	unsigned n = stream_take(s, s->unsent), kept;

	if (!n) {
		stream_idle(s);
		return;
	}
	kept = stream_account(s, n);
	rte_pktmbuf_free_bulk(s->unsent + kept, n - kept);
	if (s->options->verify || s->options->touch)
		kept = stream_sift(s, s->unsent, kept);
	stream_prepare(s, s->unsent, kept);
	s->unsent_at = 0;
	s->unsent_count = kept;
	stream_flush(s);
}

static void stream_circulate(struct front_stream *s)
{
	if (s->unsent_count)
		stream_flush(s);
	if (!s->unsent_count)
		stream_turn(s);
	if (s->missing && !s->probes)
		stream_make_missing(s);
}

void front_streams_run(void *opaque)
{
	struct front *front = opaque;
	void (*step)(struct front_stream * s) = stream_circulate;

	if (front->options.mode == FRONT_SEND)
		step = stream_send;
	else if (front->options.mode == FRONT_RECEIVE)
		step = stream_receive;
	while (eal_poll_goes_on())
		for (unsigned i = 0; i < front->stream_count; i++)
			step(&front->streams[i]);
}

static int stream_open(struct front *front, unsigned i)
{
	struct front_stream *s = &front->streams[i];
	enum front_mode mode = front->options.mode;
	char name[32];

	s->options = &front->options;
	s->sizes = front->options.sizes;
	s->from = mode == FRONT_RECEIVE ? NULL : &front->ports[i];
	s->to = mode == FRONT_SEND ? NULL : &front->ports[mode == FRONT_CIRCULATE ? i ^ 1 : i];
	/* A back end that sends by itself is the other port. */
	s->source.port = (uint8_t)(mode == FRONT_RECEIVE ? 1 : i);
	s->source.flows = front->options.flows;
	s->missing = front->options.window;
	s->crowded = mode == FRONT_CIRCULATE && front->port_count > 2;
	s->wait_ticks = s->wait_ticks_min = clock_hz() / 1000000 * WAIT_US;
	s->wait_ticks_max = clock_hz() / 1000000 * WAIT_US_MAX;
	s->poll_ticks_max = clock_hz() / 1000000 * POLL_US_MAX;
	s->polled_at = clock_now();
	if (frame_check_init(&s->check, s->source, front->options.any_address))
		return -ENOMEM;
	snprintf(name, sizeof(name), "send-%u", i);
	s->pool = s->from ? eal_pool_new_of(front_pool_frames(front), name, &s->source) : NULL;
	return s->from && !s->pool ? -ENOMEM : 0;
}

int front_streams_open(struct front *front)
{
	unsigned count = front->options.mode == FRONT_CIRCULATE ? front->port_count : 1;
	int error = 0;

	front->streams = aligned_alloc(RTE_CACHE_LINE_SIZE, count * sizeof(*front->streams));
	if (!front->streams)
		return -ENOMEM;
	memset(front->streams, 0, count * sizeof(*front->streams));
	for (; front->stream_count < count && !error; front->stream_count++)
		error = stream_open(front, front->stream_count);
	return error;
}

void front_streams_close(struct front *front)
{
	for (unsigned i = 0; i < front->stream_count; i++)
		frame_check_free(&front->streams[i].check);
	free(front->streams);
}

/* With --verify a receiver sees what is left out; otherwise only who sends and receives knows. */
unsigned long long front_streams_lost(const struct front *front)
{
	unsigned long long lost = 0;

	for (unsigned i = 0; i < front->stream_count; i++) {
		const struct front_stream *s = &front->streams[i];

		lost += counter_read(s->from ? &s->lost : &s->check.skipped);
	}
	return lost;
}

unsigned long long front_streams_bad(const struct front *front)
{
	unsigned long long bad = 0;

	for (unsigned i = 0; i < front->stream_count; i++)
		bad += counter_read(&front->streams[i].bad);
	return bad;
}
