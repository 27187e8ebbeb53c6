/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/loop.h"
#include "transport/vhost_user/endpoint_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/*
 * An endpoint that stands still, to go on here or in another process: its socket accepts nobody, and its session is held (hold.c).
 * What it has then (the socket, the connection, what the session has been told) is exported, and another endpoint of the same kind is made
 * of that, which holds until it is told to go on. Of the two exactly one goes on; the other one is closed, and neither peers nor
 * the path notice.
 */

#define HOLD_PATIENCE_MS 20u

void vhost_user_hold_ended(struct vhost_user_endpoint *endpoint, int err)
{
	void (*held)(void *opaque, int err) = endpoint->held;

	endpoint->held = NULL;
	endpoint->holds = endpoint->still = !err;
	loop_timer_stop(endpoint->timer);
	if (err && endpoint->session)
		vhost_user_look_on(endpoint);
	held(endpoint->held_opaque, err);
}

static void session_is_held(void *opaque, int err)
{
	vhost_user_hold_ended(opaque, err);
}

/* Half a message has come, or a reply is not read, by now or later, when queues have come to rest: nobody waits for that. */
void vhost_user_hold_late(struct vhost_user_endpoint *endpoint)
{
	if (!endpoint->held || !endpoint->session)
		return;
	if (session_hold_waits(endpoint->session))
		session_lies(endpoint->session, "its peer has left a message unsaid, or a reply unread, and it is to be handed over");
	else
		loop_timer_start(endpoint->timer, HOLD_PATIENCE_MS);
}

int vhost_user_hold(struct vireo_endpoint *base, void (*held)(void *opaque, int err), void *opaque)
{
	struct vhost_user_endpoint *endpoint = endpoint_of(base);

	if (!endpoint->keeps)
		return -EOPNOTSUPP;
	if (endpoint->holds || endpoint->closing || endpoint->lost)
		return -EBUSY;
	endpoint->holds = true;
	endpoint->held = held;
	endpoint->held_opaque = opaque;
	loop_remove(&endpoint->listen_watch);
	loop_timer_start(endpoint->timer, HOLD_PATIENCE_MS);
	if (endpoint->session)
		session_hold(endpoint->session, session_is_held);
	else
		vhost_user_hold_ended(endpoint, 0);
	return 0;
}

int vhost_user_export(struct vireo_endpoint *base, struct vireo_endpoint_state *ret_state)
{
	struct vhost_user_endpoint *endpoint = endpoint_of(base);
	struct handover_endpoint record = {
		.socket_device = endpoint->listener.device,
		.socket_inode = endpoint->listener.inode,
		.flags = (endpoint->client ? 0 : HANDOVER_LISTENS) | (endpoint->session ? HANDOVER_CONNECTED : 0),
	};
	struct handover_writer *writer = &endpoint->state;
	unsigned count = 0;
	int fds[2], r;

	if (!endpoint->still)
		return -EBUSY;
	if (!endpoint->client)
		fds[count++] = endpoint->listener.fd;
	if (endpoint->session)
		fds[count++] = endpoint->session->fd;
	if (endpoint->session && endpoint->session->ran)
		record.flags |= HANDOVER_RAN;
	if (endpoint->session && endpoint->session->config_changed)
		record.flags |= HANDOVER_TELLS;
	handover_free(writer);
	handover_begin(writer, HANDOVER_VHOST_USER);
	handover_add(writer, HANDOVER_ENDPOINT, &record, sizeof(record), fds, count);
	if (endpoint->session)
		session_export(endpoint->session, writer);
	r = handover_end(writer);
	if (r)
		return r;
	ret_state->data = writer->data;
	ret_state->bytes = writer->bytes;
	ret_state->fds = writer->fds;
	ret_state->fd_count = writer->fd_count;
	return 0;
}

int vhost_user_go_on(struct vireo_endpoint *base)
{
	struct vhost_user_endpoint *endpoint = endpoint_of(base);

	if (!endpoint->still)
		return -EBUSY;
	handover_free(&endpoint->state);
	endpoint->holds = endpoint->still = false;
	if (!endpoint->session) {
		vhost_user_await(endpoint);
		return 0;
	}
	vhost_user_look_on(endpoint);
	session_go_on(endpoint->session);
	return 0;
}

/* ---- from another process ---- */

static int socket_copy(int fd, bool listens, int *ret_fd, const char **why)
{
	bool listening = false;
	int r = handed_check(fd, &listening), copy;

	if (r || listening != listens)
		return refuse(-EINVAL, listens ? "its socket does not listen" : "its connection is none", why);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return refuse(-errno, "a file descriptor cannot be had", why);
	*ret_fd = copy;
	return 0;
}

static int listener_import(struct vhost_user_endpoint *endpoint, const struct handover_endpoint *told, int fd, const char **why)
{
	int r = socket_copy(fd, true, &endpoint->listener.fd, why);

	if (r || endpoint->handed)
		return r;
	endpoint->listener.path = strdup(endpoint->path);
	if (!endpoint->listener.path)
		return refuse(-ENOMEM, "out of memory", why);
	endpoint->listener.device = (dev_t)told->socket_device;
	endpoint->listener.inode = (ino_t)told->socket_inode;
	return 0;
}

static int connection_import(struct vhost_user_endpoint *endpoint, const struct handover_endpoint *told, int fd,
			     struct handover_reader *reader, const int *fds, const char **why)
{
	int copy = -1, r = socket_copy(fd, false, &copy, why);

	if (r)
		return r;
	r = session_new_held(endpoint->device, endpoint->loop, copy, endpoint->offered, vhost_user_session_ended, endpoint,
			     &endpoint->session);
	if (r)
		return refuse(r, "there is no memory for its session", why);
	endpoint->session->ran = told->flags & HANDOVER_RAN;
	endpoint->session->config_changed = told->flags & HANDOVER_TELLS;
	return session_import(endpoint->session, reader, fds, why);
}

static const char *endpoint_wrong(const struct vhost_user_endpoint *endpoint, const struct handover_record *record,
				  const struct handover_endpoint *told)
{
	bool listens = told->flags & HANDOVER_LISTENS, connected = told->flags & HANDOVER_CONNECTED;

	if (told->flags & ~(HANDOVER_LISTENS | HANDOVER_CONNECTED | HANDOVER_RAN | HANDOVER_TELLS) || told->zero)
		return "it says what is not known here";
	if (told->flags & (HANDOVER_RAN | HANDOVER_TELLS) && !connected)
		return "it has no session, and says more of it";
	if (record->fd_count != (unsigned)listens + connected)
		return "its sockets are not all there";
	if (endpoint->handed && !listens && !connected)
		return "its connection is over";
	return listens == endpoint->client ? "one that listens and one that connects are not the same" : NULL;
}

static int endpoint_import(struct vhost_user_endpoint *endpoint, struct handover_reader *reader, const int *fds, const char **why)
{
	struct handover_endpoint told;
	struct handover_record record;
	unsigned at;
	int r = handover_next(reader, &record, why);

	if (r < 0)
		return r;
	if (!r || record.what != HANDOVER_ENDPOINT || record.bytes != sizeof(told))
		return refuse(-EINVAL, "it does not begin with its endpoint", why);
	memcpy(&told, record.payload, sizeof(told));
	if (endpoint->handed)
		endpoint->client = !(told.flags & HANDOVER_LISTENS);
	*why = endpoint_wrong(endpoint, &record, &told);
	if (*why)
		return -EINVAL;
	at = record.fd_first;
	if (told.flags & HANDOVER_LISTENS)
		r = listener_import(endpoint, &told, fds[at++], why);
	else
		r = 0;
	if (!r && told.flags & HANDOVER_CONNECTED)
		return connection_import(endpoint, &told, fds[at], reader, fds, why);
	if (!r && handover_next(reader, &record, why))
		r = refuse(-EINVAL, "there is more than an endpoint without a session has", why);
	return r;
}

int vhost_user_import(struct vhost_user_endpoint *endpoint, const struct vireo_endpoint_state *state)
{
	struct handover_reader reader;
	const char *why = "refused";
	int r = handover_read(HANDOVER_VHOST_USER, state->data, state->bytes, state->fd_count, &reader, &why);

	if (!r)
		r = endpoint_import(endpoint, &reader, state->fds, &why);
	if (r)
		log_error(device_log(endpoint->device), "%s: the state of %zu bytes and %u fds that was handed over is refused: %s",
			  device_name(endpoint->device), state->bytes, state->fd_count, why);
	return r;
}
