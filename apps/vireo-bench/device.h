/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

/*
 * What a port of the bench drives: a back end behind a vhost-user socket, or a function on the PCI bus
 * ("virtio-pci:ADDRESS"). The same rings either way.
 */

#include "vireo/driver.h"
#include <stdbool.h>
#include <stdint.h>

struct vireo_notifier;
struct vireo_pci;

struct device_config {
	const char *path;
	bool server;
	unsigned timeout_ms, pairs, ring_size;
	uint64_t features, features_required;
	/* For each entry of a ring: memory for what is received, and for what is sent. */
	uint32_t rx_bytes, tx_bytes;
	const struct vireo_log *log;
};

struct device {
	struct vireo_front *front; /* one of these two */
	struct vireo_pci *pci;
	struct vireo_notifier *notifier; /* of the front end */
	struct device_config config;
	unsigned ring_size; /* a function may allow less than was wanted */
};

int device_open(const struct device_config *config, struct device *ret_device);
void device_close(struct device *device);

uint64_t device_features(const struct device *device);
int device_config_read(struct device *device, uint32_t offset, void *data, uint32_t bytes);
struct vireo_driver_ring *device_ring(struct device *device, unsigned index);
/* ring_size * rx_bytes for a receive ring (even index), ring_size * tx_bytes for a transmit ring. */
uint8_t *device_memory(struct device *device, unsigned index);

/* What the supervising thread polls, for `*ret_events`; -1: nothing. Then, if it is so, whether the device
 * has gone. */
int device_watch_fd(const struct device *device, short *ret_events);
bool device_gone(struct device *device);

#endif
