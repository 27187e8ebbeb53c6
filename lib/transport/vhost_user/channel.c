/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

/*
 * Messages to the front end (vhost-user: "Back-end message types"). The channel is the front end's: it may be
 * full. Nobody waits for it; what finds no room is told again after the next message of the session. Notifications alone ask for
 * a reply (inband.c).
 */

/*
 * Of no other family, and no pipe: those are locked while somebody sends or reads, who may have the kernel wait for his memory
 * meanwhile, and neither MSG_DONTWAIT nor O_NONBLOCK looks at that.
 */
static bool is_unix_socket(int fd)
{
	int domain;
	socklen_t bytes = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) && domain == AF_UNIX;
}

int channel_set(struct session *session, int fd)
{
	int r = is_unix_socket(fd) ? 0 : -EINVAL;

	if (!r && session->inband)
		r = inband_channel_set(session->inband, fd);
	if (r)
		return r;
	drop_fd(session->message.drop, &session->channel_fd);
	session->channel_fd = fd;
	return 0;
}

void channel_drop(struct session *session)
{
	if (session->inband)
		inband_channel_set(session->inband, -1);
	drop_fd(session->message.drop, &session->channel_fd);
}

bool channel_full(const struct session *session)
{
	struct pollfd poll_fd = { .fd = session->channel_fd, .events = POLLOUT };

	return session->channel_fd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

static int send_flagged(struct session *session, uint32_t request, uint32_t flags, const void *payload, uint32_t bytes)
{
	uint32_t words[VU_HEADER_BYTES / sizeof(uint32_t)] = { request, VU_VERSION | flags, bytes };
	struct iovec iov[] = { { words, sizeof(words) }, { (void *)(uintptr_t)payload, bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	ssize_t n;

	if (session->channel_fd < 0)
		return -ENOTCONN;
	n = sendmsg(session->channel_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n == (ssize_t)(sizeof(words) + bytes))
		return 0;
	channel_drop(session); /* gone, or cut short: of no use any more */
	return -ENOTCONN;
}

int channel_send(struct session *session, uint32_t request, const void *payload, uint32_t bytes)
{
	return send_flagged(session, request, 0, payload, bytes);
}

int channel_ask(struct session *session, uint32_t request, const void *payload, uint32_t bytes)
{
	return send_flagged(session, request, VU_FLAG_NEED_REPLY, payload, bytes);
}

bool channel_tells(const struct session *session)
{
	return session->channel_fd >= 0 && session_accepted(session, VU_PROTO_CONFIG_BIT) &&
	       session_accepted(session, VU_PROTO_BACKEND_REQ_BIT);
}

/* A device whose rings are all stopped keeps silent (vhost-user: "Suspended device state"). */
void channel_tell(struct session *session)
{
	if (!session->config_changed || !device_running(session->device) || !channel_tells(session))
		return;
	session->config_changed = channel_send(session, VU_BACKEND_CONFIG_CHANGE_MSG, NULL, 0) == -EAGAIN;
}

void channel_config_changed(struct session *session)
{
	session->config_changed = true;
	channel_tell(session);
}
