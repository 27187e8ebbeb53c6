/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_DPDK_VHOST_H
#define BENCH_DPDK_VHOST_H

#include "eal.h"

#define VHOST_BURST 32u

enum vhost_mode { VHOST_DEQUEUE, VHOST_ENQUEUE, VHOST_LOOP };

struct vhost_options {
	const char *socket;
	enum vhost_mode mode;
	struct frame_sizes sizes;
	unsigned flows;
	bool verify;
};

/* Written by the polling thread, read by the main thread. */
struct vhost_counters {
	unsigned long long dequeued, dequeue_cycles, enqueued, enqueue_cycles, mbuf_cycles;
	unsigned long long bytes; /* of what was dequeued; when nothing is, of what was enqueued */
	unsigned long long bad;
};

struct vhost_traffic {
	struct vhost_counters counters;
	const struct vhost_options *options;
	struct rte_mempool *pool;
	struct rte_mbuf *fixed[VHOST_BURST]; /* what is enqueued */
	struct frame_source source; /* of that */
	struct frame_check check; /* of what is dequeued */
	struct frame_sizes sizes;
	uint64_t k; /* number of the next frame */
};

/* vhost_traffic.c */
int vhost_traffic_open(struct vhost_traffic *traffic, const struct vhost_options *options); /* or -ENOMEM */
void vhost_traffic_run(void *traffic); /* polling thread */
void vhost_traffic_close(struct vhost_traffic *traffic);

/* vhost_device.c: the one device. 0 or a negative errno. */
int vhost_device_offer(const char *socket);
void vhost_device_withdraw(const char *socket); /* the polling thread has ended */
bool vhost_device_attached(void); /* any thread */
/* Polling thread: the device that may be used until vhost_device_leave(), or -1. */
int vhost_device_enter(void);
void vhost_device_leave(void);

#endif
