/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TAP_FRAME_H
#define SWITCHD_TAP_FRAME_H

#include "vireo/frame.h"
#include "wire/virtio_net.h"

/* A frame as it is written to a TAP queue's fd, in one writev(2): virtio-net header, the private head, what follows that. */

#define TAP_FRAME_BYTES (65536u + 256u) /* the largest GSO frame is 64 KiB and a link header */
#define TAP_PIECES 256u /* more pieces are first laid together */

struct tap_frame {
	struct virtio_net_header header;
	struct iovec iov[TAP_PIECES];
	unsigned pieces;
};

/*
 * Lays a frame out with its edit (vireo/frame.h). Refers to the frame and its pieces. *bounce: TAP_FRAME_BYTES, the queue's,
 * made when first needed. -EINVAL: its edit leaves no place for its checksum; -EMSGSIZE: too many pieces, and too long to
 * be laid together; -ENOMEM.
 */
int tap_frame_lay(struct tap_frame *out, const struct vireo_frame *frame, uint8_t **bounce);

#endif
