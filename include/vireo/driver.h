/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_DRIVER_H
#define VIREO_DRIVER_H

/*
 * libvireo-driver: the driver side of virtio, without a virtual machine. A front end ("virtio-user")
 * speaks vhost-user to a back end and makes buffers available in memory that it shares with it.
 *
 * A front end and its rings belong to one thread at a time. Calls that talk to the back end block
 * for at most the config's timeout.
 */

#include "base.h"
#include <stdbool.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_front;
struct vireo_notifier;
struct vireo_driver_ring;

struct vireo_front_config {
	size_t size;
	const char *path; /* UNIX socket; long ones as in vireo/endpoint.h */
	bool server; /* listen and wait for the back end to connect */
	unsigned timeout_ms; /* for connecting and for each answer; 0: 5000 */
	uint64_t features; /* virtio features wanted; what the back end lacks is dropped */
	uint64_t features_required; /* -ENOTSUP if one of these is not offered */
	unsigned queue_count; /* rings to set up */
	unsigned queue_size; /* 0: 256; split: a power of two */
	size_t memory_bytes; /* for buffers, beside the rings; 0: none */
	struct vireo_log log;
	uint64_t protocol_features_off; /* vhost-user protocol features not to use, by bit */
	/*
	 * Kicks the back end, which shares the kick eventfds (vireo/notifier.h); borrowed. NULL: one of the front end's own,
	 * without run_aside.
	 */
	struct vireo_notifier *notifier;
};

/*
 * Connects, negotiates, shares memory (a memfd), sets up and enables all rings.
 * -EINVAL, -ENOMEM, -ECONNREFUSED (nobody there), -ETIMEDOUT, -ENOTSUP, -ENAMETOOLONG, -EPROTO (the back end answers
 * nonsense, refuses a step, or hangs up), or what a system call said.
 */
VIREO_API int vireo_front_open(const struct vireo_front_config *config, struct vireo_front **ret_front);
VIREO_API void vireo_front_close(struct vireo_front *front); /* stops the rings; takes NULL */

VIREO_API uint64_t vireo_front_features(const struct vireo_front *front); /* as agreed */
VIREO_API int
vireo_front_socket(const struct vireo_front *front); /* borrowed: POLLHUP tells that the back end is gone */
VIREO_API void *vireo_front_memory(const struct vireo_front *front); /* memory_bytes of it, shared */
VIREO_API struct vireo_driver_ring *vireo_front_ring(struct vireo_front *front, unsigned index);

/* Device config space, with CONFIG. Returns 0, -ENOTSUP, -EINVAL (refused), -ETIMEDOUT or -EPROTO. */
VIREO_API int vireo_front_config_read(struct vireo_front *front, uint32_t offset, void *data, uint32_t bytes);
VIREO_API int vireo_front_config_write(struct vireo_front *front, uint32_t offset, const void *data,
				       uint32_t bytes);
/* 1: the back end has told that config space changed (since the last call), 0: not. */
VIREO_API int vireo_front_config_changed(struct vireo_front *front);

/* ---- a ring, seen from the driver ---- */

VIREO_API unsigned vireo_driver_ring_size(const struct vireo_driver_ring *ring);
VIREO_API unsigned vireo_driver_ring_free(const struct vireo_driver_ring *ring); /* entries free */

/*
 * Makes one buffer available: `readable` pieces, then `writable` ones, all in the front end's memory.
 * `cookie` comes back with it. Uses an indirect table if `indirect` and agreed (and for at most 64 pieces).
 * -ENOSPC: ring full; -EINVAL: no piece, an empty one, one outside the memory, more than the ring is long;
 * -EPROTO: the ring is broken. The device sees it after vireo_driver_ring_kick().
 */
VIREO_API int vireo_driver_ring_add(struct vireo_driver_ring *ring, const struct iovec *iov,
				    unsigned readable, unsigned writable, bool indirect, void *cookie);

/* Shows added buffers to the device and kicks it if it asked for that. Returns whether it kicked. */
VIREO_API bool vireo_driver_ring_kick(struct vireo_driver_ring *ring);

/* Takes a used buffer: 1 with its cookie and length, 0 if there is none, -EPROTO: the device lies. */
VIREO_API int vireo_driver_ring_get(struct vireo_driver_ring *ring, void **ret_cookie,
				    uint32_t *ret_len_bytes);

/*
 * Asks for signals (true; forgets those that came before) or not. After true, returns whether used buffers
 * are there already: no signal will come for those.
 */
VIREO_API bool vireo_driver_ring_signal_enable(struct vireo_driver_ring *ring, bool on);

/* Readable when the device signals. Borrowed. */
VIREO_API int vireo_driver_ring_call_fd(const struct vireo_driver_ring *ring);

#ifdef __cplusplus
}
#endif
#endif
