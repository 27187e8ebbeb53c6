/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_DRIVER_H
#define VIREO_DRIVER_H

/*
 * The driver side of virtio, without a virtual machine. A front end ("virtio-user") speaks vhost-user to a back end, and makes
 * buffers available to it in memory that both share.
 *
 * A front end and its rings belong to one thread at a time. A call that talks to the back end blocks for at most the
 * config's timeout, however many messages it takes.
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
	bool server; /* listen at `path` and wait for the back end to connect */
	unsigned timeout_ms; /* of a call, as a whole; 0: 5000 */
	uint64_t features; /* virtio features to ask for; those that the back end lacks are dropped */
	uint64_t features_required; /* vireo_front_open() returns -ENOTSUP if the back end lacks one of these */
	unsigned queue_count; /* rings to set up */
	unsigned queue_size; /* 0: 256; split: a power of two */
	size_t memory_bytes; /* for buffers, beside the rings; 0: none */
	struct vireo_log log;
	uint64_t protocol_features_off; /* vhost-user protocol features not to use, by bit */
	/*
	 * Writes to the kick eventfds, which the back end shares (vireo/notifier.h). Borrowed. NULL: the front end makes a notifier
	 * of its own, without run_aside.
	 */
	struct vireo_notifier *notifier;
};

/*
 * Connects to the back end, negotiates features, shares memory (a memfd), and sets up and enables all rings. -EINVAL: a field of
 * the config is not valid; -ENAMETOOLONG: the path; -ECONNREFUSED: nobody listens there, start the back end; -ETIMEDOUT: the
 * back end does not answer; -ENOTSUP: a required feature is missing; -EPROTO: the back end answers nonsense, refuses a
 * step, or hangs up; -ENOMEM; or the errno of a system call.
 */
VIREO_API int vireo_front_open(const struct vireo_front_config *config, struct vireo_front **ret_front);
VIREO_API void vireo_front_close(struct vireo_front *front); /* stops the rings and frees everything; does nothing for NULL */
/* As close, but the back end is asked nothing, and nobody waits for it: it sees that the connection has ended. */
VIREO_API void vireo_front_abandon(struct vireo_front *front);

VIREO_API uint64_t vireo_front_features(const struct vireo_front *front); /* the features that were agreed on */
/* Returns the socket to the back end. Borrowed. poll(2) says POLLHUP when the back end has disconnected: close the front end. */
VIREO_API int vireo_front_socket(const struct vireo_front *front);
VIREO_API void *vireo_front_memory(const struct vireo_front *front); /* the shared memory, memory_bytes long */
VIREO_API struct vireo_driver_ring *vireo_front_ring(struct vireo_front *front, unsigned index); /* borrowed; index < queue_count */

/*
 * Read and write the device's config space. -ENOTSUP: the back end lacks the protocol feature CONFIG; -EINVAL: it refuses, the
 * bytes lie outside config space; -ETIMEDOUT: the back end does not answer, close the front end; -EPROTO: close the front end.
 */
VIREO_API int vireo_front_config_read(struct vireo_front *front, uint32_t offset, void *data, uint32_t bytes);
VIREO_API int vireo_front_config_write(struct vireo_front *front, uint32_t offset, const void *data,
				       uint32_t bytes);
/* Returns 1 if the back end has reported a change of config space since the last call, else 0. */
VIREO_API int vireo_front_config_changed(struct vireo_front *front);

/* ---- a ring, seen from the driver ---- */

VIREO_API unsigned vireo_driver_ring_size(const struct vireo_driver_ring *ring); /* entries of the ring */
VIREO_API unsigned vireo_driver_ring_free(const struct vireo_driver_ring *ring); /* entries that are free */

/*
 * Makes one buffer available: `readable` pieces, then `writable` pieces, all in the front end's memory. The device sees it after
 * vireo_driver_ring_kick(), and vireo_driver_ring_get() returns `cookie` with it. `indirect` asks for an indirect table,
 * which is used if the feature was agreed on and there are at most 64 pieces. -ENOSPC: the ring is full, call
 * vireo_driver_ring_get(); -EINVAL: there is no piece, one is empty or lies outside the memory, or there are more than the
 * ring has entries; -EPROTO: the ring is broken, close the front end.
 */
VIREO_API int vireo_driver_ring_add(struct vireo_driver_ring *ring, const struct iovec *iov,
				    unsigned readable, unsigned writable, bool indirect, void *cookie);

/* Shows the added buffers to the device, and kicks it if it has asked for kicks. Returns whether it kicked. */
VIREO_API bool vireo_driver_ring_kick(struct vireo_driver_ring *ring);

/*
 * Removes one used buffer from the ring: returns 1, its cookie, and how many bytes the device has written. 0: there is none.
 * -EPROTO: the device breaks the specification, close the front end.
 */
VIREO_API int vireo_driver_ring_get(struct vireo_driver_ring *ring, void **ret_cookie,
				    uint32_t *ret_len_bytes);

/*
 * Asks the device to signal when it uses buffers (true), or not to (false). True also clears the signals that came before, and
 * returns whether used buffers are there already: no signal will come for those, call vireo_driver_ring_get().
 */
VIREO_API bool vireo_driver_ring_signal_enable(struct vireo_driver_ring *ring, bool on);

/* An fd that is readable when the device has signalled. Borrowed. */
VIREO_API int vireo_driver_ring_call_fd(const struct vireo_driver_ring *ring);

#ifdef __cplusplus
}
#endif
#endif
