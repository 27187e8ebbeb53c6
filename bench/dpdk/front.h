/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_DPDK_FRONT_H
#define BENCH_DPDK_FRONT_H

#include "eal.h"
#include <stdio.h>

#define FRONT_PORTS_MAX 32u
#define FRONT_WINDOW_MAX 2048u

enum front_mode {
	FRONT_SEND, /* transmit only */
	FRONT_RECEIVE, /* receive and drop */
	FRONT_TURN, /* what comes back is sent again */
	FRONT_CIRCULATE, /* pairs of ports: what one receives the other sends again, both ways */
	FRONT_LATENCY, /* one frame at a time from port 0 to port 1 */
};

struct front_options {
	enum front_mode mode;
	struct frame_sizes sizes;
	unsigned burst;
	unsigned window; /* frames in flight per direction */
	unsigned flows;
	unsigned gap_us;
	bool touch; /* the first line of each frame is written anew before it is sent */
	bool verify;
	bool any_address;
};

/* Counters: written by the polling thread, read by the main thread. */
struct front_port {
	uint16_t id;
	unsigned long long tx, rx, tx_bytes, rx_bytes;
} __rte_cache_aligned;

struct front {
	struct front_options options;
	struct front_port ports[FRONT_PORTS_MAX];
	unsigned port_count;
	struct front_stream *streams;
	unsigned stream_count;
	struct front_latency *latency;
};

/* front_options.c: ends the program on a bad command line */
void front_options_parse(int argc, char **argv, struct front_options *ret);

/* front_ports.c: as many ports as the mode needs, with links up. 0 or a negative errno, and a line said. */
unsigned front_pool_frames(const struct front *front); /* of each pool */
int front_ports_open(struct front *front);
void front_ports_close(struct front *front);

/* front_stream.c: a negative errno: no memory, and a line said */
int front_streams_open(struct front *front);
void front_streams_run(void *front); /* polling thread */
void front_streams_close(struct front *front);
unsigned long long front_streams_lost(const struct front *front); /* any thread */
unsigned long long front_streams_bad(const struct front *front);

/* front_latency.c */
int front_latency_open(struct front *front);
void front_latency_run(void *front); /* polling thread */
void front_latency_close(struct front *front);
void front_latency_answer(void *front, const char *argument, FILE *out); /* main thread */
unsigned long long front_latency_lost(const struct front_latency *latency); /* any thread */
unsigned long long front_latency_bad(const struct front_latency *latency);

#endif
