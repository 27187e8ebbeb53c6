/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_ENDPOINT_INTERNAL_H
#define VHOST_USER_ENDPOINT_INTERNAL_H

/* endpoint.c's endpoint, for itself and endpoint_handover.c. */

#include "base/util.h"
#include "transport/endpoint.h"
#include "transport/vhost_user/session_internal.h"
#include "wire/handover.h"

struct vhost_user_endpoint {
	struct vireo_endpoint base;
	struct vireo_device *device;
	struct loop *loop;
	struct loop_timer *timer;
	char *path;
	bool client;
	bool handed;
	int connected_fd; /* handed, before its session has begun; or -1 */
	int lost; /* what each turn returns: its only session is over */
	bool closing;
	bool told; /* that it cannot connect, or accept */
	struct unix_listener listener; /* server */
	struct loop_watch *listen_watch;
	uint64_t retry_min_ms, retry_max_ms, retry_ms;
	uint64_t hello_ms; /* see vireo_endpoint_config */
	uint64_t offered; /* see session_new() */
	bool somebody_waits; /* has been logged in this session */
	bool keeps; /* what a successor needs */
	bool holds; /* it stands still, or is about to */
	bool still; /* ... and other processes may have what it has */
	void (*held)(void *opaque, int err); /* whom vireo_endpoint_hold() is to tell; or NULL */
	void *held_opaque;
	struct handover_writer state; /* what was exported last */
	struct drop *drop; /* or NULL */
	struct session *session;
	void (*done)(void *opaque);
	void *done_opaque;
};

static inline struct vhost_user_endpoint *endpoint_of(struct vireo_endpoint *base)
{
	return container_of(base, struct vhost_user_endpoint, base);
}

static inline const struct vhost_user_endpoint *endpoint_of_const(const struct vireo_endpoint *base)
{
	return (const struct vhost_user_endpoint *)base;
}

/* ---- endpoint.c ---- */

void vhost_user_await(struct vhost_user_endpoint *endpoint); /* the next peer; there is no session */
void vhost_user_look_on(struct vhost_user_endpoint *endpoint); /* there is one: who else comes? */
void vhost_user_session_ended(void *opaque, bool fruitful);

/* ---- endpoint_handover.c ---- */

int vhost_user_hold(struct vireo_endpoint *base, void (*held)(void *opaque, int err), void *opaque);
int vhost_user_export(struct vireo_endpoint *base, struct vireo_endpoint_state *ret_state);
int vhost_user_go_on(struct vireo_endpoint *base);
/* Of an endpoint that has been opened for it; it holds afterwards. A line of log says what a negative errno is about. */
int vhost_user_import(struct vhost_user_endpoint *endpoint, const struct vireo_endpoint_state *state);
void vhost_user_hold_ended(struct vhost_user_endpoint *endpoint, int err); /* there is no session any more, or err */
void vhost_user_hold_late(struct vhost_user_endpoint *endpoint); /* the timer */

#endif
