/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_VIRTIO_USER_FRONT_H
#define DRIVER_VIRTIO_USER_FRONT_H

/*
 * A vhost-user front end without a guest.
 *
 * It is synchronous: each step sends one message and waits for its answer, until the step's deadline at most; opening and closing, which
 * take many steps, have one for all.
 * While it waits it also serves the back end's own channel, since a back end may wait for an answer there
 * before it goes on.
 *
 * After an error on the socket (hang-up, nonsense, deadline) the front end is dead: the stream's state is
 * unknown, so every later call fails at once. The rings stay valid memory until close.
 */

#include "base/bell.h"
#include "vireo/driver.h"
#include "wire/vhost_user.h"
#include <stdbool.h>
#include <stdint.h>

#define FRONT_TIMEOUT_DEFAULT_MS 5000u
#define FRONT_RING_SIZE_DEFAULT 256u
#define FRONT_RINGS_MAX 256u /* an index has 8 bits in SET_VRING_KICK */
#define FRONT_REGIONS_MAX 2u

/* Feature bits that decide what a ring looks like (virtio 1.3, section 6). */
#define FRONT_F_INDIRECT_BIT 28
#define FRONT_F_EVENT_IDX_BIT 29
#define FRONT_F_RING_PACKED_BIT 34
#define FRONT_F_IN_ORDER_BIT 35

struct front_ring {
	struct vireo_driver_ring *ring;
	struct bell kick;
	int call_fd;
	void *desc, *driver, *device, *tables;
	bool started; /* the back end has its kick fd */
};

struct vireo_front {
	struct vireo_front_config config;
	struct vireo_notifier *own_notifier; /* NULL: the config names one */
	int socket;
	bool dead, closing; /* closing: a back end that is gone is no news */
	uint64_t deadline_ms; /* of all steps; 0: each has its own */
	uint64_t features, protocol_features;
	uint8_t status;

	/* The back end's channel: our end, and a message that is not complete yet. */
	int backend_fd;
	uint8_t backend_data[12 + VU_PAYLOAD_BYTES_MAX];
	size_t backend_bytes;
	bool config_changed;

	int memory_fd;
	uint8_t *memory; /* rings first, then buffers */
	uint64_t memory_bytes, rings_bytes;
	struct vu_region regions[FRONT_REGIONS_MAX];
	unsigned region_count;

	struct front_ring *rings; /* config.queue_count */
};

static inline bool front_agreed(const struct vireo_front *front, unsigned bit)
{
	return front->features >> bit & 1;
}

static inline bool front_protocol(const struct vireo_front *front, unsigned bit)
{
	return front->protocol_features >> bit & 1;
}

/* connect.c */
/* Connects, or listens and accepts. 0 and a non-blocking socket; -ECONNREFUSED, -ETIMEDOUT, ... */
int front_connect(const struct vireo_front_config *config, uint64_t deadline_ms, int *ret_socket);

/* messages.c: 0 or a negative errno, which is final unless the comment says otherwise. */
int front_send(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes);
int front_reply(struct vireo_front *front, uint32_t request, void *payload, uint32_t bytes_max,
		uint32_t *ret_bytes);
/*
 * Without an answer of its own: with REPLY_ACK waits for the acknowledgement. -EINVAL: refused, not final. fd
 * may be -1.
 */
int front_set(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes, int fd);
int front_set_fds(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes,
		  const int *fds, unsigned fd_count);
int front_set_u64(struct vireo_front *front, uint32_t request, uint64_t value);
int front_get_u64(struct vireo_front *front, uint32_t request, uint64_t *ret_value);

/* backend.c */
int front_backend_open(struct vireo_front *front); /* hands the channel over, if that is agreed */
void front_backend_serve(struct vireo_front *front); /* takes what is there */

/* memory.c */
int front_memory_new(struct vireo_front *front); /* features are agreed */
int front_memory_share(struct vireo_front *front);
void front_memory_free(struct vireo_front *front);

/* vring.c */
int front_rings_new(struct vireo_front *front);
int front_rings_start(struct vireo_front *front);
void front_rings_stop(struct vireo_front *front);
void front_rings_free(struct vireo_front *front);

#endif
