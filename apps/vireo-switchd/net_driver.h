/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_NET_DRIVER_H
#define SWITCHD_NET_DRIVER_H

/* What a port that is a network device's driver asks of it, wherever the device is: a card on the PCI bus, or behind a vhost-user socket. */

#include "driver_queue.h"
#include <jansson.h>
#include <stdint.h>

/* The features to ask for, of a device with so many pairs of queues. */
uint64_t net_driver_features(unsigned pairs);
/* Those of frames that are larger than one buffer: without MRG_RXBUF there is no place for them. */
uint64_t net_driver_features_large(void);
/* VIREO_OFFLOAD_* that the device takes from us (`host`), or may leave to us. */
unsigned net_driver_offloads(uint64_t features, bool host);

/* Features and rings, as `port show` has them. */
json_t *net_driver_session(unsigned pairs, uint64_t features, const struct driver_queue *queues);

#endif
