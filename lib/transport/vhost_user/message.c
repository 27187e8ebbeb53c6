/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/vhost_user/session_internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define FDS_AT_ONCE_MAX 253u /* that one sendmsg(2) may carry: SCM_MAX_FD, see unix(7) */

/* ---- receiving ---- */

/* All fds of one control message become the message's, or are let go of. */
static bool message_own(struct message *message, const struct cmsghdr *cmsg)
{
	const unsigned char *data = CMSG_DATA(cmsg);
	size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fits = true;

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
		if (message->fd_count < VU_FDS_MAX) {
			message->fds[message->fd_count++] = fd;
		} else {
			drop_fd(message->drop, &fd);
			fits = false;
		}
	}
	return fits;
}

/* A front end may send an empty SCM_RIGHTS message (DPDK's does). */
static int message_own_all(struct message *message, struct msghdr *msg, const char **why)
{
	bool fits = true;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			fits &= message_own(message, cmsg);
	if (!fits || (msg->msg_flags & MSG_CTRUNC)) {
		*why = "more file descriptors than a message may carry, or than this process may open";
		return -EPROTO;
	}
	return 0;
}

/* One recvmsg. */
ssize_t message_read(struct message *message, int socket_fd, void *data, size_t bytes, const char **why)
{
	/* Room for all that can come: what finds none, the kernel closes, in this thread. */
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FDS_AT_ONCE_MAX)];
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = bytes };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;
	int r;

	do
		got = recvmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		*why = "the connection is lost";
		return errno == EAGAIN ? 0 : -errno;
	}
	r = message_own_all(message, &msg, why);
	if (r)
		return r;
	if (!got) {
		*why = "hung up in the middle of a message";
		return message_begun(message) ? -EPROTO : -EPIPE;
	}
	return got;
}

static int message_read_header(struct message *message, int socket_fd, const char **why)
{
	ssize_t got = message_read(message, socket_fd, message->raw_header + message->have_bytes,
				   VU_HEADER_BYTES - message->have_bytes, why);

	if (got <= 0)
		return (int)got;
	message->have_bytes += (uint32_t)got;
	if (message->have_bytes < VU_HEADER_BYTES)
		return 1;
	memcpy(&message->header.request, message->raw_header,
	       sizeof(message->header.request)); /* for the log */
	if (vu_parse_header(message->raw_header, &message->header, why))
		return -EPROTO;
	assert(message->header.size_bytes <= VU_PAYLOAD_BYTES_MAX);
	if (message->header.flags & VU_FLAG_REPLY) {
		*why = "a reply to nothing";
		return -EPROTO;
	}
	return 1;
}

static int message_read_payload(struct message *message, int socket_fd, const char **why)
{
	uint32_t have = message->have_bytes - VU_HEADER_BYTES;
	ssize_t got = message_read(message, socket_fd, message->payload + have,
				   message->header.size_bytes - have, why);

	if (got > 0)
		message->have_bytes += (uint32_t)got;
	return (int)got;
}

int message_receive(struct message *message, int socket_fd, const char **why)
{
	int r = 1;

	while (r > 0) {
		if (message->have_bytes < VU_HEADER_BYTES)
			r = message_read_header(message, socket_fd, why);
		else if (message->have_bytes < VU_HEADER_BYTES + message->header.size_bytes)
			r = message_read_payload(message, socket_fd, why);
		else
			return 1;
	}
	return r;
}

void message_clear(struct message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		drop_fd(message->drop, &message->fds[i]);
	message->fd_count = 0;
	message->have_bytes = 0;
	message->header = (struct vu_header){ 0 };
}

int message_fd_take(struct message *message, unsigned i)
{
	return i < message->fd_count ? fd_take(&message->fds[i]) : -1;
}

bool message_begun(const struct message *message)
{
	return message->have_bytes || message->fd_count;
}

/* ---- replying ---- */

static void reply_header(struct reply *reply, uint32_t request, uint32_t size_bytes)
{
	const uint32_t words[] = { request, VU_VERSION | VU_FLAG_REPLY, size_bytes };

	_Static_assert(sizeof(words) == VU_HEADER_BYTES, "header of a message");
	memcpy(reply->data, words, sizeof(words));
}

void reply_begin(struct reply *reply, uint32_t request)
{
	reply_header(reply, request, 0);
	reply->bytes = VU_HEADER_BYTES;
	reply->sent_bytes = 0;
}

void reply_add(struct reply *reply, const void *data, uint32_t bytes)
{
	uint32_t request;

	assert(bytes <= sizeof(reply->data) - reply->bytes);
	memcpy(reply->data + reply->bytes, data, bytes);
	reply->bytes += bytes;
	memcpy(&request, reply->data, sizeof(request));
	reply_header(reply, request, reply->bytes - VU_HEADER_BYTES);
}

/* Ours, and a copy of it is on its way or will never be: nobody else can let the close wait. */
void reply_fd(struct reply *reply, int fd)
{
	assert(reply->fd < 0);
	reply->fd = fd;
}

void reply_clear(struct reply *reply)
{
	fd_close(&reply->fd);
	reply->bytes = 0;
}

static ssize_t reply_send_some(struct reply *reply, int socket_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = reply->data + reply->sent_bytes, .iov_len = reply->bytes - reply->sent_bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (reply->fd >= 0) {
		control.align = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))
		};
		memcpy(CMSG_DATA(&control.align), &reply->fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	return sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int reply_send(struct reply *reply, int socket_fd)
{
	while (reply->sent_bytes < reply->bytes) {
		ssize_t sent = reply_send_some(reply, socket_fd);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		fd_close(&reply->fd);
		reply->sent_bytes += (uint32_t)sent;
	}
	reply->bytes = 0;
	return 1;
}
