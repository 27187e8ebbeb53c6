/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define SIZE_IMIX 0u
#define FRAME_BYTES_MIN 60u
#define FRAME_BYTES_MAX 65535u
#define PAIRS_MAX 64u
#define PIECES_MAX 16u

/* How a thread waits when there is nothing to do. */
enum wait_mode {
	WAIT_YIELD, /* polls, and offers the CPU to others */
	WAIT_SPIN, /* polls */
	WAIT_EVENT, /* asks for signals and sleeps */
};

struct options {
	const char *from, *to;
	uint32_t frame_bytes; /* or SIZE_IMIX */
	bool packed, in_order, mergeable, event_idx, indirect, server;
	bool verify, json, verbose, no_loss, no_reorder;
	unsigned queues, ring_size, buffer_bytes, pieces;
	uint64_t duration_ms, rate_fps, frames_max, window; /* 0: no limit */
	unsigned timeout_ms;
	enum wait_mode wait;
	int cpus[2];
	unsigned cpu_count;
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_DONE, /* help or version has been printed */
	OPTIONS_BAD, /* one line has been printed on stderr */
};

enum options_result options_parse(int argc, char **argv, struct options *ret);

#endif
