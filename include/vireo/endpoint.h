/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_ENDPOINT_H
#define VIREO_ENDPOINT_H

#include "base.h"
#include <stdbool.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An endpoint: where a device is offered to its peer. Which transport it is, the address says:
 *
 *	vhost-user:/run/vm1.sock		a UNIX socket; the path may be long, its
 *					last component at most about 88 bytes then
 *
 * An endpoint owns no thread: poll its fd for reading, and call vireo_endpoint_dispatch() when it
 * is readable. All functions: the device's control thread.
 */
struct vireo_endpoint;
struct vireo_device;

struct vireo_endpoint_config {
	size_t size;
	bool client; /* vhost-user: connect, and keep reconnecting, instead of listening */
	/* vhost-user server: the socket's mode and owner; 0 mode: 0660; -1: left alone. */
	mode_t mode;
	bool set_owner; /* uid and gid hold */
	uid_t uid;
	gid_t gid;
	unsigned reconnect_min_ms; /* client: first and largest pause between tries; 0: 50 and 1000 */
	unsigned reconnect_max_ms;
};

/*
 * Offers `device` (borrowed, one endpoint at a time) at `address`. `config` may be NULL.
 * -EINVAL: address; -ENAMETOOLONG: its last component; -EADDRINUSE: somebody answers on that socket; or what
 * socket, bind, chown say. A client whose server is not there yet is no error: it goes on trying.
 */
VIREO_API int vireo_endpoint_open(struct vireo_device *device, const char *address,
				  const struct vireo_endpoint_config *config,
				  struct vireo_endpoint **ret_endpoint);

/* To poll for reading (level-triggered). Owned by the endpoint. */
VIREO_API int vireo_endpoint_fd(const struct vireo_endpoint *endpoint);

/* Handles what is there without blocking. 0, or a negative errno if the endpoint itself is lost. */
VIREO_API int vireo_endpoint_dispatch(struct vireo_endpoint *endpoint);

/* Is a peer attached? */
VIREO_API bool vireo_endpoint_connected(const struct vireo_endpoint *endpoint);

/*
 * Ends the session, quiesces all queues and takes the address down. `done` (may be NULL) is called, here
 * or later, when the endpoint is gone; from this call on only the queues' quiesce is awaited, and
 * the fd need no longer be polled. Takes NULL.
 */
VIREO_API void vireo_endpoint_close(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *opaque);

#ifdef __cplusplus
}
#endif
#endif
