/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_EXPORT_SPEC_H
#define STORE_EXPORT_SPEC_H

/* An export as the user writes it: an endpoint's SPEC (daemon/spec.h) with keys of the daemon's. */

#include "daemon/endpoint.h"

#define EXPORT_QUEUES_MAX 256u
#define EXPORT_QUEUES_DEFAULT 64u /* QEMU asks for one for each CPU of its machine, and takes no less */

/* What a daemon knows of one begins with this. */
struct export_spec {
	struct spec at; /* first */
	unsigned queues; /* that carry requests; 0: not given */
};

/* clang-format off */
#define EXPORT_KEY_QUEUES {"queues", export_set_queues, "1 to 256", "N"}
/*
 * Of daemon/endpoint.h's: all but in-order, since disks complete requests in any order; and postcopy and files, by which a worker
 * may have to wait for a peer's memory: a disk has no thread of its own for that.
 */
#define EXPORT_RING_KEYS \
	{"packed", endpoint_set_packed, "on or off", "on|off"}, \
	{"event-idx", endpoint_set_event_idx, "on or off", "on|off"}, \
	{"indirect", endpoint_set_indirect, "on or off", "on|off"}, \
	{"memory-max", endpoint_set_memory_max, "a size such as 512M, 64G or 2T", "SIZE"}
#define EXPORT_VHOST_USER_KEYS \
	{"mode", endpoint_set_mode, "server or client", "server|client"}, \
	ENDPOINT_ACCESS_KEYS, \
	{"hello-ms", endpoint_set_hello_ms, "1 to 3600000", "MS"}, \
	{"inband", endpoint_set_inband, "on or off", "on|off"}, \
	EXPORT_RING_KEYS
#define EXPORT_VDUSE_KEYS \
	{"attach", endpoint_set_attach, "virtio, vhost or none", "virtio|vhost|none"}, \
	{"queue-size", endpoint_set_queue_size, "a power of two from 2 to 32768", "N"}, \
	EXPORT_RING_KEYS
#define EXPORT_CUSE_KEYS ENDPOINT_ACCESS_KEYS, EXPORT_RING_KEYS
/* clang-format on */

bool export_set_queues(struct spec *spec, const char *value);

#endif
