/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/common/clock.h"
#include "bench/common/protocol.h"
#include "front.h"
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * The polling thread sends one frame from port 0 and polls port 1 until it is there. The main thread leaves a
 * request and waits; each field of it belongs to one thread at a time, `state` hands it over.
 */
#define SAMPLES_MAX 10000000u
#define LOST_US 100000u
/*
 * A look at the clock belongs to each poll. When two are farther apart, this process did not run: the frame
 * may have been there long ago, the sample is taken again.
 */
#define AWAY_US 50u

enum { NOTHING_ASKED, ASKED, ANSWERED };

struct front_latency {
	struct rte_mempool *pool;
	struct frame_check check;
	struct frame_source forth, back;
	struct frame_sizes sizes;
	uint64_t k, k_back, away_ticks, lost_ticks, gap_ticks;
	int state;
	unsigned wanted, count, late; /* late: given up, may still come */
	uint64_t *ticks; /* samples */
	unsigned long long lost, bad;
};

static bool frame_send(struct front_latency *l, struct front_port *port, const struct frame_source *source,
		       uint64_t k, uint16_t bytes)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(l->pool);

	if (!frame)
		return false;
	frame->pkt_len = frame->data_len = bytes;
	frame_write(rte_pktmbuf_mtod(frame, uint8_t *), bytes, source, k);
	if (!rte_eth_tx_burst(port->id, 0, &frame, 1)) {
		rte_pktmbuf_free(frame);
		return false;
	}
	counter_add(&port->tx, 1);
	counter_add(&port->tx_bytes, bytes);
	return true;
}

static struct rte_mbuf *frame_receive(struct front_port *port)
{
	struct rte_mbuf *frame;

	if (!rte_eth_rx_burst(port->id, 0, &frame, 1))
		return NULL;
	counter_add(&port->rx, 1);
	counter_add(&port->rx_bytes, frame->pkt_len);
	return frame;
}

/* Is it the frame that was sent last, and whole? */
static bool frame_expected(struct front_latency *l, struct rte_mbuf *frame)
{
	uint8_t copy[FRAMES_BYTES_MAX];
	bool holds = frame->pkt_len <= sizeof(copy) &&
		     frame_check(&l->check, rte_pktmbuf_read(frame, 0, frame->pkt_len, copy), frame->pkt_len);

	rte_pktmbuf_free(frame);
	if (holds)
		return true;
	if (l->late)
		l->late--;
	else
		counter_add(&l->bad, 1);
	return false;
}

enum outcome { ARRIVED, AWAY, LOST };

/* Polls until the frame that was sent at `sent` is there, or no longer expected. */
static enum outcome await(struct front *front, uint64_t sent, uint64_t *ret_ticks)
{
	struct front_latency *l = front->latency;
	uint64_t polled = sent, now;
	bool away = false;

	while (true) {
		struct rte_mbuf *frame = frame_receive(&front->ports[1]);

		now = clock_now();
		away |= now - polled > l->away_ticks;
		if (frame && frame_expected(l, frame))
			break;
		/* The check of a stranger takes its time, too. */
		polled = frame ? clock_now() : now;
		if (now - sent > l->lost_ticks || !eal_poll_goes_on()) {
			l->late++;
			return away ? AWAY : LOST;
		}
	}
	*ret_ticks = now - sent;
	return away ? AWAY : ARRIVED;
}

static void sample_take(struct front *front)
{
	struct front_latency *l = front->latency;
	uint64_t sent, end;
	enum outcome outcome;

	/* From here on only this frame is the expected one. */
	l->check.next[l->k % l->forth.flows] = l->k / l->forth.flows;
	sent = clock_now();
	if (!frame_send(l, &front->ports[0], &l->forth, l->k, frame_sizes_next(&l->sizes)))
		return;
	l->k++;
	outcome = await(front, sent, &l->ticks[l->count]);
	if (outcome == ARRIVED)
		l->count++;
	else if (outcome == LOST)
		counter_add(&l->lost, 1);
	/* A lost frame is a sample that will not be taken again. */
	l->wanted -= outcome == LOST;
	for (end = clock_now() + l->gap_ticks; clock_now() < end && eal_poll_goes_on();)
		rte_pause();
}

static void port_drain(struct front_port *port)
{
	struct rte_mbuf *frame;

	while ((frame = frame_receive(port)))
		rte_pktmbuf_free(frame);
}

void front_latency_run(void *opaque)
{
	struct front *front = opaque;
	struct front_latency *l = front->latency;

	while (eal_poll_goes_on()) {
		port_drain(&front->ports[0]);
		port_drain(&front->ports[1]);
		if (__atomic_load_n(&l->state, __ATOMIC_ACQUIRE) != ASKED) {
			usleep(100);
			continue;
		}
		/* A switch learns where port 1 is from what it sends. */
		for (unsigned i = 0; i < l->back.flows; i++)
			frame_send(l, &front->ports[1], &l->back, l->k_back++, FRAMES_BYTES_MIN);
		usleep(1000);
		port_drain(&front->ports[0]);
		while (l->count < l->wanted && eal_poll_goes_on())
			sample_take(front);
		__atomic_store_n(&l->state, ANSWERED, __ATOMIC_RELEASE);
	}
}

static int ticks_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The value that so many of a million samples do not exceed; `ticks` is sorted. */
static double quantile_ns(const uint64_t *ticks, unsigned count, unsigned per_million)
{
	uint64_t rank = ((uint64_t)count * per_million + 999999) / 1000000;

	return count ? (double)ticks[rank ? rank - 1 : 0] * 1e9 / (double)clock_hz() : 0;
}

static void samples_print(struct front_latency *l, unsigned long long lost, FILE *out)
{
	qsort(l->ticks, l->count, sizeof(*l->ticks), ticks_compare);
	fprintf(out,
		"{\"count\": %u, \"median_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f, \"max_ns\": %.0f, "
		"\"lost\": %llu}",
		l->count, quantile_ns(l->ticks, l->count, 500000), quantile_ns(l->ticks, l->count, 990000),
		quantile_ns(l->ticks, l->count, 999000), quantile_ns(l->ticks, l->count, 1000000), lost);
}

void front_latency_answer(void *opaque, const char *argument, FILE *out)
{
	struct front *front = opaque;
	struct front_latency *l = front->latency;
	char *end;
	unsigned long wanted = strtoul(argument, &end, 10);
	unsigned long long lost;

	if (!l || *end || !wanted || wanted > SAMPLES_MAX) {
		fprintf(out, "{\"error\": \"%s\"}",
			l ? "latency takes 1 to 10000000 samples" : "not in this mode");
		return;
	}
	l->ticks = calloc(wanted, sizeof(*l->ticks));
	if (!l->ticks) {
		fprintf(out, "{\"error\": \"no memory for so many samples\"}");
		return;
	}
	l->wanted = (unsigned)wanted;
	l->count = 0;
	lost = counter_read(&l->lost);
	__atomic_store_n(&l->state, ASKED, __ATOMIC_RELEASE);
	while (__atomic_load_n(&l->state, __ATOMIC_ACQUIRE) != ANSWERED)
		usleep(1000);
	samples_print(l, counter_read(&l->lost) - lost, out);
	free(l->ticks);
	l->ticks = NULL;
}

int front_latency_open(struct front *front)
{
	struct front_latency *l = calloc(1, sizeof(*l));
	uint64_t ticks_a_us = clock_hz() / 1000000;

	if (!l)
		return -ENOMEM;
	front->latency = l;
	l->sizes = front->options.sizes;
	l->forth = (struct frame_source){ .port = 0, .flows = front->options.flows };
	l->back = (struct frame_source){ .port = 1, .flows = front->options.flows };
	l->away_ticks = ticks_a_us * AWAY_US;
	l->lost_ticks = ticks_a_us * LOST_US;
	l->gap_ticks = ticks_a_us * front->options.gap_us;
	l->pool = eal_pool_new("send", &l->forth);
	if (!l->pool)
		return -ENOMEM;
	return frame_check_init(&l->check, l->forth, front->options.any_address);
}

void front_latency_close(struct front *front)
{
	if (!front->latency)
		return;
	frame_check_free(&front->latency->check);
	free(front->latency);
}

unsigned long long front_latency_lost(const struct front_latency *l)
{
	return counter_read(&l->lost);
}

unsigned long long front_latency_bad(const struct front_latency *l)
{
	return counter_read(&l->bad);
}
