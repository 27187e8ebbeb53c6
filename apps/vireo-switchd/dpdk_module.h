/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_DPDK_MODULE_H
#define SWITCHD_DPDK_MODULE_H

/*
 * What the daemon and vireo-dpdk.so say to each other. That one is linked with DPDK, and knows no frame and no port; the daemon knows no mbuf, and loads it
 * with the first dpdk port. Both are of one build: the version says so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DPDK_MODULE_FILE   "vireo-dpdk.so"
#define DPDK_MODULE_SYMBOL "vireo_dpdk_calls"
#define DPDK_WHY_BYTES	   256u
#define DPDK_BURST	   32u

struct dpdk_device;

struct dpdk_start {
	const char *const *devices; /* "net_tap0,iface=tap0", "0000:03:00.0": a function on the bus has to be known from the start */
	unsigned count;
	unsigned queues; /* pairs, of all together */
	void (*say)(const char *line); /* what DPDK says is wrong; any thread */
};

struct dpdk_facts {
	char driver[32];
	uint32_t longest_bytes; /* of a frame with two tags */
};

struct dpdk_packet {
	const uint8_t *data;
	uint32_t bytes;
};

struct dpdk_calls {
	const char *version;
	/* Control thread, before there is a sandbox. A negative errno and why. */
	int (*start)(const struct dpdk_start *start, char why[DPDK_WHY_BYTES]); /* once in a process */
	int (*open)(const char *device, unsigned queues, uint16_t mtu, struct dpdk_device **ret_device, char why[DPDK_WHY_BYTES]); /* mtu 0: the device's */
	/* Control thread. */
	void (*facts)(const struct dpdk_device *device, struct dpdk_facts *ret_facts);
	bool (*link)(const struct dpdk_device *device);
	uint64_t (*missed)(const struct dpdk_device *device); /* frames that came and had no place */
	void (*discard)(struct dpdk_device *device); /* frames that came while no port had it; no worker has a queue yet */
	/* Who has the pair's in queue: up to DPDK_BURST in place until release. Those that lie in pieces, and are not to be joined, are counted and dropped. */
	unsigned (*receive)(struct dpdk_device *device, unsigned queue, struct dpdk_packet *packets, unsigned max, unsigned *ret_dropped);
	void (*release)(struct dpdk_device *device, unsigned queue);
	/* Who has claimed the out queue: memory for the next frame of up to DPDK_BURST, NULL: none is free; then how many of them, the first ones, have gone. */
	uint8_t *(*room)(struct dpdk_device *device, unsigned queue, uint32_t bytes);
	unsigned (*send)(struct dpdk_device *device, unsigned queue);
};

#endif
