/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_API_API_H
#define BENCH_API_API_H

#include "bench/common/frames.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vireo/vireo.h>

#define API_BURST_MAX 256u

enum api_mode { API_DEQUEUE, API_ENQUEUE, API_LOOP };

struct api_options {
	const char *socket;
	enum api_mode mode;
	struct frame_sizes sizes;
	unsigned flows, burst;
	int cpu; /* of the polling thread */
	bool mergeable, verify;
};

/* ---- device.c: the one device, served by a thread of its own ---- */

/* 0 or a negative errno; says on standard error what is wrong. */
int api_device_offer(const struct api_options *options);
void api_device_withdraw(void); /* the polling thread has ended */
bool api_device_running(void); /* any thread: both queues */
/* Polling thread: the device, which may be used until api_device_leave(), or NULL: not now. */
struct vireo_net *api_device_enter(void);
void api_device_leave(void);

/* ---- traffic.c: the polling thread ---- */

/* Written by the polling thread, read by the main thread. */
struct api_counters {
	unsigned long long dequeued, dequeue_cycles, enqueued, enqueue_cycles;
	unsigned long long bytes; /* of what was dequeued; when nothing is, of what was enqueued */
	unsigned long long bad;
};

struct api_traffic {
	struct api_counters counters;
	const struct api_options *options;
	struct frame_source source; /* of what is enqueued */
	struct frame_check check; /* of what is dequeued */
	struct frame_sizes sizes;
	uint64_t k; /* number of the next frame */
	struct vireo_packet *packets; /* options->burst of them, with their memory */
	uint8_t *memory;
	pthread_t thread;
	bool stop;
};

int api_traffic_start(struct api_traffic *traffic, const struct api_options *options);
void api_traffic_end(struct api_traffic *traffic);

#endif
