/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/loop.h"
#include "base/system.h"
#include "transport/vhost_user/endpoint_internal.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/*
 * Theory of operation: one device at one socket, one session at a time.
 *
 * A server without a session watches its listening socket. With one, the next client waits in the backlog: that is logged, once,
 * and if the peer that is there owes us something for too long (session_owes_ms()) its session is ended. While nobody
 * waits, it may be as slow as it likes. A client without a session has its timer running towards the next try. The pause between tries
 * grows to its limit, and shrinks again after a session in which a ring has run: to be asked a question costs nothing.
 *
 * The socket may have been handed to us (handed.c). One that listens is a server's, but its path is somebody else's to remove, and it
 * may listen on in another process when we have closed it. One that is connected is a client's that cannot come back:
 * with its only session the endpoint is lost.
 *
 * Everything is watched in a loop of its own, whose fd the caller polls. Closing needs no more turns of it:
 * what is left then is the wait for queues, whose answers come as calls.
 */

#define RETRY_MIN_MS 50u
#define RETRY_MAX_MS 1000u
#define HELLO_MS 10000u

static void listener_close(struct vhost_user_endpoint *endpoint)
{
	if (endpoint->handed || endpoint->still) { /* who waits in it may be another process's client */
		drop_fd(endpoint->drop, &endpoint->listener.fd);
		free(endpoint->listener.path);
		endpoint->listener.path = NULL;
	} else {
		unix_unlisten(&endpoint->listener, endpoint->drop);
	}
}

static void endpoint_free(struct vhost_user_endpoint *endpoint)
{
	assert(!endpoint->session);
	loop_remove(&endpoint->listen_watch);
	listener_close(endpoint);
	if (endpoint->still)
		drop_fd(endpoint->drop, &endpoint->connected_fd);
	drop_socket(endpoint->drop, &endpoint->connected_fd);
	handover_free(&endpoint->state);
	drop_unref(endpoint->drop);
	loop_timer_free(&endpoint->timer);
	loop_free(endpoint->loop);
	free(endpoint->path);
	free(endpoint);
}

static void endpoint_gone(struct vhost_user_endpoint *endpoint)
{
	void (*done)(void *opaque) = endpoint->done;
	void *opaque = endpoint->done_opaque;

	/* The fd that the caller may still be watching goes last. */
	device_detach(endpoint->device);
	if (done)
		done(opaque);
	endpoint_free(endpoint);
}

static void retry_later(struct vhost_user_endpoint *endpoint)
{
	loop_timer_start(endpoint->timer, endpoint->retry_ms);
	endpoint->retry_ms = min_u64(endpoint->retry_ms * 2, endpoint->retry_max_ms);
}

/* The fd becomes readable, for the caller to be told. */
static void endpoint_lose(struct vhost_user_endpoint *endpoint, int err)
{
	endpoint->lost = err;
	loop_timer_start(endpoint->timer, 0);
}

/* One line for a row of failures. */
static void complain(struct vhost_user_endpoint *endpoint, const char *what, int r)
{
	if (!endpoint->told)
		log_warning(device_log(endpoint->device), "%s: %s: %s: %s; trying again",
			    device_name(endpoint->device), endpoint->path, what, system_errno_text(-r));
	endpoint->told = true;
}

/* 0: not known, as that of one in another pid namespace is not. */
static pid_t peer_process(const struct vhost_user_endpoint *endpoint)
{
	struct ucred peer = { 0 };
	socklen_t bytes = sizeof(peer);

	if (!endpoint->session || getsockopt(endpoint->session->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes))
		return 0;
	return peer.pid;
}

/* Another client has come while there is one. Edge-triggered: it stays in the backlog. */
static void listener_somebody_waits(void *opaque, uint32_t events)
{
	struct vhost_user_endpoint *endpoint = opaque;

	if (!endpoint->session)
		return;
	if (!endpoint->somebody_waits)
		log_info(device_log(endpoint->device), "%s: another front end waits; process %d is connected",
			 device_name(endpoint->device), (int)peer_process(endpoint));
	endpoint->somebody_waits = true;
	loop_timer_start(endpoint->timer, endpoint->hello_ms);
}

static bool listener_has_clients(const struct unix_listener *listener)
{
	struct pollfd poll_fd = { .fd = listener->fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

/* The timer of a server with a session: somebody waits, or has waited. */
static void endpoint_look_at_peer(struct vhost_user_endpoint *endpoint)
{
	uint64_t owes_ms = session_owes_ms(endpoint->session);

	if (endpoint->client || !listener_has_clients(&endpoint->listener))
		return;
	if (owes_ms < endpoint->hello_ms) {
		loop_timer_start(endpoint->timer, endpoint->hello_ms - owes_ms);
		return;
	}
	log_warning(device_log(endpoint->device),
		    "%s: process %d holds the connection, and has left a message unsaid, or a reply unread, for %u s while another front end waits; session closed",
		    device_name(endpoint->device), (int)peer_process(endpoint), (unsigned)(owes_ms / 1000));
	session_end(endpoint->session);
}

/* There is a session: it is told of those that come from now on; one that is there already counts, too. */
void vhost_user_look_on(struct vhost_user_endpoint *endpoint)
{
	loop_remove(&endpoint->listen_watch);
	endpoint->somebody_waits = false;
	if (!endpoint->client)
		loop_add(endpoint->loop, endpoint->listener.fd, EPOLLIN | EPOLLET, listener_somebody_waits, endpoint,
			 &endpoint->listen_watch);
}

/* The last thing to do with the endpoint: see session_new(). */
static void endpoint_connected_to(struct vhost_user_endpoint *endpoint, int fd)
{
	int r;

	endpoint->told = false;
	vhost_user_look_on(endpoint);
	log_info(device_log(endpoint->device), "%s: connected at %s", device_name(endpoint->device),
		 endpoint->path);
	r = session_new(endpoint->device, endpoint->loop, fd, endpoint->offered, vhost_user_session_ended, endpoint, &endpoint->session);
	if (r) {
		complain(endpoint, "session", r);
		if (endpoint->client && endpoint->handed)
			endpoint_lose(endpoint, r);
		else
			retry_later(endpoint);
	}
}

/* Each peer leaves a socket behind, at least: none is taken as long as those of its predecessors are not closed. */
static bool endpoint_crowded(struct vhost_user_endpoint *endpoint)
{
	if (drop_waiting(endpoint->drop) <= DROP_WAITING_MAX)
		return false;
	complain(endpoint, "what peers have handed over is not closed yet", -EMFILE);
	loop_remove(&endpoint->listen_watch);
	retry_later(endpoint);
	return true;
}

static void listener_readable(void *opaque, uint32_t events)
{
	struct vhost_user_endpoint *endpoint = opaque;
	int fd;

	if (endpoint_crowded(endpoint))
		return;
	fd = listener_accept(&endpoint->listener);
	if (fd >= 0) {
		endpoint_connected_to(endpoint, fd);
		return;
	}
	if (fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED)
		return;
	/* No fds or memory left: the client stays in the backlog, and this loop must not spin on it. */
	complain(endpoint, "accept", fd);
	loop_remove(&endpoint->listen_watch);
	retry_later(endpoint);
}

/* Waits for the next peer, where there can be one. */
void vhost_user_await(struct vhost_user_endpoint *endpoint)
{
	loop_remove(&endpoint->listen_watch);
	if (endpoint->client && endpoint->handed) {
		endpoint_lose(endpoint, -ENOTCONN);
		return;
	}
	if (endpoint->client) {
		retry_later(endpoint);
		return;
	}
	if (loop_add(endpoint->loop, endpoint->listener.fd, EPOLLIN, listener_readable, endpoint,
		     &endpoint->listen_watch))
		retry_later(endpoint);
}

static void endpoint_retry(void *opaque)
{
	struct vhost_user_endpoint *endpoint = opaque;
	int fd, r;

	if (endpoint->holds) {
		vhost_user_hold_late(endpoint);
		return;
	}
	if (endpoint->session) {
		endpoint_look_at_peer(endpoint);
		return;
	}
	if (!endpoint->client) {
		vhost_user_await(endpoint);
		return;
	}
	if (endpoint->lost || endpoint_crowded(endpoint))
		return;
	if (endpoint->handed) {
		endpoint_connected_to(endpoint, fd_take(&endpoint->connected_fd));
		return;
	}
	r = unix_connect(endpoint->path, endpoint->drop, &fd);
	if (!r) {
		endpoint_connected_to(endpoint, fd);
		return;
	}
	complain(endpoint, "connect", r);
	retry_later(endpoint);
}

void vhost_user_session_ended(void *opaque, bool fruitful)
{
	struct vhost_user_endpoint *endpoint = opaque;

	endpoint->session = NULL;
	if (endpoint->closing) {
		endpoint_gone(endpoint);
		return;
	}
	if (fruitful)
		endpoint->retry_ms = endpoint->retry_min_ms;
	if (endpoint->held)
		vhost_user_hold_ended(endpoint, 0);
	else if (!endpoint->holds)
		vhost_user_await(endpoint);
}

/* ---- what the device tells ---- */

static void device_config_changed(void *opaque)
{
	struct vhost_user_endpoint *endpoint = opaque;

	if (endpoint->session)
		channel_config_changed(endpoint->session);
}

static bool device_config_is_told(void *opaque)
{
	const struct vhost_user_endpoint *endpoint = opaque;

	return endpoint->session && channel_tells(endpoint->session);
}

static void device_broken(void *opaque, const char *why)
{
	struct vhost_user_endpoint *endpoint = opaque;

	if (endpoint->session)
		session_end(endpoint->session);
}

static void device_missed(void *opaque)
{
	struct vhost_user_endpoint *endpoint = opaque;

	if (endpoint->session)
		session_missed(endpoint->session);
}

static const struct device_transport endpoint_transport = {
	.config_changed = device_config_changed,
	.config_told = device_config_is_told,
	.broken = device_broken,
	.missed = device_missed,
	.tells_memory = true,
	.halts = true,
};

/* ---- what the caller asks ---- */

/* By postcopy rings are looked into, and by in-band notifications answers are read, in a thread that the program lends. */
static int endpoint_offer(struct vhost_user_endpoint *endpoint, const struct vireo_vhost_user_config *config)
{
	endpoint->offered = config->postcopy << VU_PROTO_PAGEFAULT_BIT | config->inband << VU_PROTO_INBAND_NOTIFICATIONS_BIT;
	endpoint->keeps = config->handover;
	return config->handover > 1 || config->postcopy > 1 || config->inband > 1 || (endpoint->offered && !endpoint->drop) ? -EINVAL : 0;
}

/* What can fail before the device is attached; endpoint_free() undoes any part of it. */
static int endpoint_prepare(struct vhost_user_endpoint *endpoint, const char *path,
			    const struct vireo_endpoint_config *config)
{
	int r;

	endpoint->path = strdup(path);
	if (!endpoint->path)
		return -ENOMEM;
	r = endpoint_drop_new(config, true, &endpoint->drop);
	if (!r)
		r = endpoint_offer(endpoint, &config->vhost_user);
	if (!r)
		r = loop_new(&endpoint->loop);
	if (!r)
		r = loop_timer_new(endpoint->loop, endpoint_retry, endpoint, &endpoint->timer);
	if (!r && !endpoint->client && !endpoint->handed && !config->state)
		r = listener_open(path, config, endpoint->drop, &endpoint->listener);
	return r;
}

/* The socket says itself whether it is a server's, and has its mode and owner. It stays the caller's until all else is done. */
static int endpoint_look_at_handed(struct vhost_user_endpoint *endpoint, const char *where,
				   const struct vireo_vhost_user_config *config, int *ret_fd)
{
	bool listening = false;
	int r = handed_look(where, ret_fd, &listening);

	if (!r && (config->client || config->access.mode || config->access.set_owner))
		r = -EINVAL;
	endpoint->client = !listening;
	return r;
}

static int endpoint_attach(struct vhost_user_endpoint *endpoint, int handed_fd)
{
	int r = device_attach(endpoint->device, endpoint->loop, &endpoint_transport, endpoint);

	if (r || handed_fd < 0)
		return r;
	r = handed_take(handed_fd);
	if (r)
		device_detach(endpoint->device);
	else if (endpoint->client)
		endpoint->connected_fd = handed_fd;
	else
		endpoint->listener.fd = handed_fd;
	return r;
}

static void vhost_user_close(struct vireo_endpoint *base, void (*done)(void *opaque), void *opaque)
{
	struct vhost_user_endpoint *endpoint = endpoint_of(base);

	assert(!endpoint->closing);
	endpoint->closing = true;
	endpoint->done = done;
	endpoint->done_opaque = opaque;
	if (endpoint->held)
		vhost_user_hold_ended(endpoint, -ECANCELED);
	loop_remove(&endpoint->listen_watch);
	listener_close(endpoint);
	loop_timer_stop(endpoint->timer);
	if (endpoint->session)
		session_end(endpoint->session);
	else
		endpoint_gone(endpoint);
}

static uint64_t hello_or_default(unsigned hello_ms)
{
	return hello_ms ? hello_ms : HELLO_MS;
}

static int vhost_user_open(struct vireo_device *device, const char *path,
			   const struct vireo_endpoint_config *config, struct vireo_endpoint **ret_endpoint)
{
	struct vhost_user_endpoint *endpoint;
	int handed_fd = -1, r = 0;

	if (!*path)
		return -EINVAL;
	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;
	endpoint->base.ops = &vhost_user_endpoint_ops;
	endpoint->device = device;
	endpoint->client = config->vhost_user.client;
	endpoint->listener.fd = endpoint->connected_fd = -1;
	endpoint->retry_min_ms = config->vhost_user.reconnect_min_ms ? config->vhost_user.reconnect_min_ms : RETRY_MIN_MS;
	endpoint->retry_max_ms = config->vhost_user.reconnect_max_ms ? config->vhost_user.reconnect_max_ms : RETRY_MAX_MS;
	if (endpoint->retry_max_ms < endpoint->retry_min_ms)
		endpoint->retry_max_ms = endpoint->retry_min_ms;
	endpoint->retry_ms = endpoint->retry_min_ms;
	endpoint->hello_ms = hello_or_default(config->vhost_user.hello_ms);
	endpoint->holds = endpoint->still = config->state;
	endpoint->handed = handed_is(path);
	if (endpoint->handed && !config->state)
		r = endpoint_look_at_handed(endpoint, path, &config->vhost_user, &handed_fd);
	if (!r)
		r = endpoint_prepare(endpoint, path, config);
	if (!r)
		r = endpoint_attach(endpoint, handed_fd);
	if (r) {
		endpoint_free(endpoint);
		return r;
	}
	device_drop_set(device, endpoint->drop);
	device_disks_permit(device, config->files == VIREO_FILES_ANY);
	device_files_keep(device, config->vhost_user.handover);
	if (!config->state)
		loop_timer_start(endpoint->timer, 0);
	else if ((r = vhost_user_import(endpoint, config->state))) {
		vhost_user_close(&endpoint->base, NULL, NULL);
		return r;
	}
	*ret_endpoint = &endpoint->base;
	return 0;
}

static int vhost_user_fd(const struct vireo_endpoint *base)
{
	return loop_fd(endpoint_of_const(base)->loop);
}

/* The endpoint may be gone afterwards: a callback may have closed it. */
static int vhost_user_dispatch(struct vireo_endpoint *base)
{
	int lost = endpoint_of(base)->lost;
	int r = loop_dispatch(endpoint_of(base)->loop, 0);

	return r < 0 ? r : lost;
}

static bool vhost_user_connected(const struct vireo_endpoint *base)
{
	return endpoint_of_const(base)->session;
}

static bool vhost_user_peer(const struct vireo_endpoint *base, struct vireo_endpoint_peer *ret_peer)
{
	const struct vhost_user_endpoint *endpoint = endpoint_of_const(base);

	if (!endpoint->session)
		return false;
	ret_peer->process = peer_process(endpoint);
	ret_peer->started = endpoint->session->ran;
	return true;
}

static int vhost_user_hello_set(struct vireo_endpoint *base, unsigned hello_ms)
{
	struct vhost_user_endpoint *endpoint = endpoint_of(base);

	if (endpoint->client)
		return -EOPNOTSUPP;
	endpoint->hello_ms = hello_or_default(hello_ms);
	if (endpoint->session && endpoint->somebody_waits && !endpoint->holds)
		loop_timer_start(endpoint->timer, 0); /* looks, and goes by the new one */
	return 0;
}

const struct endpoint_ops vhost_user_endpoint_ops = {
	.prefix = "vhost-user:",
	.open = vhost_user_open,
	.fd = vhost_user_fd,
	.dispatch = vhost_user_dispatch,
	.connected = vhost_user_connected,
	.peer = vhost_user_peer,
	.hello_set = vhost_user_hello_set,
	.hold = vhost_user_hold,
	.export = vhost_user_export,
	.go_on = vhost_user_go_on,
	.close = vhost_user_close,
};
