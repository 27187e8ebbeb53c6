/* SPDX-License-Identifier: BSD-3-Clause */

/* One message out, one answer in, both before a deadline. */

#include "base/log.h"
#include "base/clock.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static int die(struct vireo_front *front, uint32_t request, int error, const char *why)
{
	enum vireo_log_level level = front->closing ? VIREO_LOG_DEBUG : VIREO_LOG_ERROR;

	front->dead = true;
	log_write(&front->config.log, level, "%s: %s: %s", front->config.path, vu_request_name(request), why);
	return error;
}

static uint64_t deadline_of(const struct vireo_front *front)
{
	return front->deadline_ms ? front->deadline_ms : clock_now_ms() + front->config.timeout_ms;
}

static const char *why_of(int error)
{
	if (error == -EPROTO)
		return "the back end hung up";
	return error == -ETIMEDOUT ? "no answer from the back end" : strerror(-error);
}

/* Waits until the socket is ready, and serves the back end's channel meanwhile. */
static int wait_for(struct vireo_front *front, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[2] = {
			{ .fd = front->socket, .events = events },
			{ .fd = front->backend_fd, .events = POLLIN },
		};
		uint64_t now = clock_now_ms();
		int n = poll(p, 2, now < deadline_ms ? (int)(deadline_ms - now) : 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			front_backend_serve(front);
		if (n > 0 && p[0].revents)
			return 0;
		if (now >= deadline_ms)
			return -ETIMEDOUT;
	}
}

static int send_all(struct vireo_front *front, struct msghdr *msg, size_t bytes, uint64_t deadline_ms)
{
	while (bytes) {
		ssize_t n = sendmsg(front->socket, msg, MSG_NOSIGNAL);
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return errno == EPIPE || errno == ECONNRESET ? -EPROTO : -errno;
		if (n < 0) {
			ret = wait_for(front, POLLOUT, deadline_ms);
			if (ret)
				return ret;
			continue;
		}
		bytes -= (size_t)n;
		msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + n;
		msg->msg_iov->iov_len -= (size_t)n;
		msg->msg_control = NULL; /* fds ride with the first byte */
		msg->msg_controllen = 0;
	}
	return 0;
}

static int send_message(struct vireo_front *front, const struct vu_header *header, const void *payload,
			const int *fds, unsigned fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)] = { 0 };
	uint8_t bytes[sizeof(*header) + VU_PAYLOAD_BYTES_MAX];
	size_t length = sizeof(*header) + header->size_bytes;
	struct iovec iov = { .iov_base = bytes, .iov_len = length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	memcpy(bytes, header, sizeof(*header));
	if (header->size_bytes)
		memcpy(bytes + sizeof(*header), payload, header->size_bytes);
	if (fd_count) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	return send_all(front, &msg, length, deadline_of(front));
}

static int send_flagged(struct vireo_front *front, uint32_t request, uint32_t flags, const void *payload,
			uint32_t bytes, const int *fds, unsigned fd_count)
{
	struct vu_header header = { .request = request, .flags = VU_VERSION | flags, .size_bytes = bytes };
	int ret;

	if (front->dead)
		return -EPROTO;
	if (bytes > VU_PAYLOAD_BYTES_MAX || fd_count > VU_FDS_MAX)
		return -EINVAL;
	log_debug(&front->config.log, "%s: %s (%u bytes, %u fds)", front->config.path,
		  vu_request_name(request), bytes, fd_count);
	ret = send_message(front, &header, payload, fds, fd_count);
	if (ret)
		return die(front, request, ret, why_of(ret));
	return 0;
}

int front_send(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes)
{
	return send_flagged(front, request, 0, payload, bytes, NULL, 0);
}

/* No room for control data is offered: the kernel drops fds that nobody asked for. */
static int receive_all(struct vireo_front *front, void *data, size_t bytes, uint64_t deadline_ms)
{
	while (bytes) {
		ssize_t n = recv(front->socket, data, bytes, 0);
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (!n || (n < 0 && errno == ECONNRESET))
			return -EPROTO;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			ret = wait_for(front, POLLIN, deadline_ms);
			if (ret)
				return ret;
			continue;
		}
		data = (char *)data + n;
		bytes -= (size_t)n;
	}
	return 0;
}

int front_reply(struct vireo_front *front, uint32_t request, void *payload, uint32_t bytes_max,
		uint32_t *ret_bytes)
{
	uint64_t deadline_ms = deadline_of(front);
	uint8_t data[VU_PAYLOAD_BYTES_MAX];
	struct vu_header header;
	int ret;

	if (front->dead)
		return -EPROTO;
	ret = receive_all(front, &header, sizeof(header), deadline_ms);
	if (ret)
		return die(front, request, ret, why_of(ret));
	if (header.request != request || !(header.flags & VU_FLAG_REPLY) ||
	    (header.flags & VU_VERSION_MASK) != VU_VERSION || header.size_bytes > bytes_max ||
	    header.size_bytes > sizeof(data))
		return die(front, request, -EPROTO, "the back end answers with something else");
	ret = receive_all(front, data, header.size_bytes, deadline_ms);
	if (ret)
		return die(front, request, ret, why_of(ret));
	memcpy(payload, data, header.size_bytes);
	*ret_bytes = header.size_bytes;
	return 0;
}

static int reply_u64(struct vireo_front *front, uint32_t request, uint64_t *ret_value)
{
	uint32_t bytes;
	uint64_t value;
	int ret = front_reply(front, request, &value, sizeof(value), &bytes);

	if (ret)
		return ret;
	if (bytes != sizeof(value))
		return die(front, request, -EPROTO, "the answer is no 64-bit number");
	*ret_value = value;
	return 0;
}

int front_set_fds(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes,
		  const int *fds, unsigned fd_count)
{
	bool ack = front_protocol(front, VU_PROTO_REPLY_ACK_BIT);
	uint64_t result = 0;
	int ret;

	ret = send_flagged(front, request, ack ? VU_FLAG_NEED_REPLY : 0, payload, bytes, fds, fd_count);
	if (!ret && ack)
		ret = reply_u64(front, request, &result);
	if (ret)
		return ret;
	if (result)
		log_warning(&front->config.log, "%s: the back end refuses %s (%llu)", front->config.path,
			    vu_request_name(request), (unsigned long long)result);
	return result ? -EINVAL : 0;
}

int front_set(struct vireo_front *front, uint32_t request, const void *payload, uint32_t bytes, int fd)
{
	return front_set_fds(front, request, payload, bytes, &fd, fd >= 0);
}

int front_set_u64(struct vireo_front *front, uint32_t request, uint64_t value)
{
	return front_set(front, request, &value, sizeof(value), -1);
}

int front_get_u64(struct vireo_front *front, uint32_t request, uint64_t *ret_value)
{
	int ret = front_send(front, request, NULL, 0);

	return ret ? ret : reply_u64(front, request, ret_value);
}
