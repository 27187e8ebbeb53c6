/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_KERNEL_FRAME_H
#define SWITCHD_KERNEL_FRAME_H

#include "vireo/frame.h"
#include "wire/virtio_net.h"

/* A frame as the host's kernel takes it, in one writev(2) or as one message: virtio-net header, the private head, what follows that. */

#define KERNEL_FRAME_BYTES (65536u + 256u) /* the largest GSO frame is 64 KiB and a link header */
#define KERNEL_PIECES 256u /* more pieces are first laid together */

struct kernel_frame {
	struct virtio_net_header header;
	struct iovec *iov; /* the caller's room for kernel_frame_room() of them */
	unsigned pieces;
};

/* Of frame->iov_count pieces, how many the kernel may get. */
static inline unsigned kernel_frame_room(const struct vireo_frame *frame)
{
	return frame->iov_count > KERNEL_PIECES - 2 ? 3 : 2 + frame->iov_count;
}

/* Does it need the bounce buffer? That holds one frame, until the kernel has it. */
static inline bool kernel_frame_bounces(const struct vireo_frame *frame)
{
	return frame->iov_count > KERNEL_PIECES - 2;
}

/*
 * Lays a frame out with its edit (vireo/frame.h). Refers to the frame and its pieces. header_bytes: so much of the header, as the
 * fd takes it. *bounce: KERNEL_FRAME_BYTES, the queue's, made when first needed. -EINVAL: its edit leaves no place for its
 * checksum; -EMSGSIZE: too many pieces, and too long to be laid together; -ENOMEM.
 */
int kernel_frame_lay(struct kernel_frame *out, const struct vireo_frame *frame, unsigned header_bytes, uint8_t **bounce);

/* As long as this at most, a frame is cheaper to copy than to have the kernel collect it. */
#define KERNEL_SMALL_BYTES 256u

/*
 * The same as one piece: header and frame are written to `to`, header_bytes + KERNEL_SMALL_BYTES. Returns how many bytes that is, or
 * -EINVAL, as above. Of a frame that is longer (vireo_frame_bytes()), it must not be asked.
 */
int kernel_frame_copy(uint8_t *to, const struct vireo_frame *frame, unsigned header_bytes);

#endif
