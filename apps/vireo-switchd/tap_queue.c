/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap_queue.h"
#include "base/fd.h"
#include "base/util.h"
#include "kernel_frame.h"
#include "vireo/memory.h"
#include "wire/virtio_net.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define TAP_BUFFER_BYTES (NET_HDR_BYTES + KERNEL_FRAME_BYTES)

int tap_queue_init(struct tap_queue *queue)
{
	return kernel_buffers_new(KERNEL_BURST * TAP_BUFFER_BYTES, &queue->buffers);
}

void tap_queue_fini(struct tap_queue *queue)
{
	fd_close(&queue->fd);
	kernel_buffers_free(&queue->buffers, KERNEL_BURST * TAP_BUFFER_BYTES);
	free(queue->bounce);
}

/* 1: *frame holds, 0: a frame that is not to be shown (counted). */
static int frame_of(struct tap_queue *q, unsigned offloads, unsigned slot, size_t bytes, struct vireo_frame *frame)
{
	uint8_t *buffer = q->buffers + (size_t)slot * TAP_BUFFER_BYTES;
	struct virtio_net_header header;
	uint32_t len = (uint32_t)(bytes - NET_HDR_BYTES), head = min_u32(len, VIREO_FRAME_HEAD_BYTES);
	const char *why;

	if (bytes < NET_HDR_BYTES + 14) {
		counter_add(&q->in.runt, 1);
		return 0;
	}
	memcpy(&header, buffer, sizeof(header));
	q->iov[slot] = (struct iovec){buffer + NET_HDR_BYTES, len};
	frame->iov = &q->iov[slot];
	frame->iov_count = 1;
	frame->len_bytes = len;
	frame->head_bytes = frame->head_skip = 0;
	memcpy(frame->head, buffer + NET_HDR_BYTES, head);
	if (net_header_parse(&header, len, frame->head, head, offloads, &frame->offload, &why)) {
		counter_add(&q->in.bad_offload, 1);
		return 0;
	}
	counter_add(&q->in.frames, 1);
	counter_add(&q->in.bytes, len);
	return 1;
}

int tap_queue_receive(struct tap_queue *q, unsigned offloads, struct vireo_frame *frames, unsigned max)
{
	unsigned shown = 0;

	/* A frame that is not shown leaves its slot to the next one, so reads are bounded apart from it. */
	for (unsigned reads = 0; reads < 2 * KERNEL_BURST && shown < min_u32(max, KERNEL_BURST); reads++) {
		ssize_t n = read(q->fd, q->buffers + (size_t)shown * TAP_BUFFER_BYTES, TAP_BUFFER_BYTES);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0 && errno == EIO) /* down */
			break;
		if (n < 0)
			return shown ? (int)shown : -errno; /* it comes again */
		shown += (unsigned)frame_of(q, offloads, shown, (size_t)n, &frames[shown]);
	}
	return (int)shown;
}

/* As write(2), or -1 and errno of what was to lay the frame out. */
static ssize_t send_small(struct tap_queue *q, const struct vireo_frame *frame)
{
	uint8_t copy[NET_HDR_BYTES + KERNEL_SMALL_BYTES];
	int bytes = kernel_frame_copy(copy, frame, NET_HDR_BYTES);

	if (bytes < 0) {
		errno = -bytes;
		return -1;
	}
	return write(q->fd, copy, (size_t)bytes);
}

static ssize_t send_pieces(struct tap_queue *q, const struct vireo_frame *frame)
{
	struct iovec room[KERNEL_PIECES];
	struct kernel_frame out = {.iov = room};
	int err = kernel_frame_lay(&out, frame, NET_HDR_BYTES, &q->bounce);
	ssize_t n;

	if (err) {
		errno = -err;
		return -1;
	}
	n = writev(q->fd, out.iov, (int)out.pieces);
	if (unlikely(n < 0 && errno == EFAULT)) { /* pages that the guest has never touched: see vireo/memory.h */
		vireo_memory_touch(out.iov, out.pieces);
		n = writev(q->fd, out.iov, (int)out.pieces);
	}
	return n;
}

bool tap_queue_send(struct tap_queue *q, const struct vireo_frame *frame)
{
	ssize_t n = vireo_frame_bytes(frame) <= KERNEL_SMALL_BYTES ? send_small(q, frame) : send_pieces(q, frame);

	if (n < 0) {
		kernel_refusal_count(&q->out, errno);
		return false;
	}
	counter_add(&q->out.frames, 1);
	counter_add(&q->out.bytes, vireo_frame_bytes(frame));
	return true;
}
