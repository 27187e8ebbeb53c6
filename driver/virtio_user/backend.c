/* SPDX-License-Identifier: BSD-3-Clause */

/* The channel on which the back end sends messages of its own (BACKEND_REQ): CONFIG_CHANGE is understood. */

#include "base/fd.h"
#include "base/log.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int front_backend_open(struct vireo_front *front)
{
	int pair[2], ret;

	if (!front_protocol(front, VU_PROTO_BACKEND_REQ_BIT))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return -errno;
	front->backend_fd = pair[0];
	ret = front_set(front, VU_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	fd_close(&pair[1]);
	return ret;
}

static void channel_close(struct vireo_front *front, const char *why)
{
	log_warning(&front->config.log, "%s: the back end's channel: %s", front->config.path, why);
	fd_close(&front->backend_fd);
}

static void answer(struct vireo_front *front, const struct vu_header *header, uint64_t result)
{
	struct {
		struct vu_header header;
		uint32_t value[2]; /* keeps the struct free of padding */
	} reply = {
		.header = { .request = header->request,
			    .flags = VU_VERSION | VU_FLAG_REPLY,
			    .size_bytes = 8 },
		.value = { (uint32_t)result, (uint32_t)result },
	};

	if (!(header->flags & VU_FLAG_NEED_REPLY) || !front_protocol(front, VU_PROTO_REPLY_ACK_BIT))
		return;
	if (send(front->backend_fd, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
		channel_close(front, "it does not take an answer");
}

/* Returns the bytes of the message that is complete at the front of the buffer, 0 if none is. */
static size_t message_take(struct vireo_front *front)
{
	struct vu_header header;

	if (front->backend_bytes < sizeof(header))
		return 0;
	memcpy(&header, front->backend_data, sizeof(header));
	if ((header.flags & VU_VERSION_MASK) != VU_VERSION || header.size_bytes > VU_PAYLOAD_BYTES_MAX) {
		channel_close(front, "nonsense in a header");
		return 0;
	}
	if (front->backend_bytes < sizeof(header) + header.size_bytes)
		return 0;
	if (header.request == VU_BACKEND_CONFIG_CHANGE_MSG)
		front->config_changed = true;
	else
		log_debug(&front->config.log, "%s: back-end message %u refused", front->config.path,
			  header.request);
	answer(front, &header, header.request != VU_BACKEND_CONFIG_CHANGE_MSG);
	return sizeof(header) + header.size_bytes;
}

/* A back end that never stops talking is heard again the next time. */
#define READS_MAX 16u

void front_backend_serve(struct vireo_front *front)
{
	for (unsigned reads = 0; front->backend_fd >= 0 && reads < READS_MAX; reads++) {
		size_t room = sizeof(front->backend_data) - front->backend_bytes, taken;
		ssize_t n = recv(front->backend_fd, front->backend_data + front->backend_bytes, room, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fd_close(&front->backend_fd);
			return;
		}
		front->backend_bytes += (size_t)n;
		while ((taken = message_take(front)) != 0 && front->backend_fd >= 0) {
			front->backend_bytes -= taken;
			memmove(front->backend_data, front->backend_data + taken, front->backend_bytes);
		}
	}
}
