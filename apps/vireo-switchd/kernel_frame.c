/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel_frame.h"
#include "vireo/cursor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What follows the head, piece by piece. */
static unsigned lay_pieces(struct iovec *out, const struct vireo_frame *frame)
{
	uint32_t skip = vireo_frame_skip_bytes(frame);
	unsigned n = 0;

	for (uint32_t i = 0; i < frame->iov_count; i++) {
		struct iovec piece = frame->iov[i];
		uint32_t cut = piece.iov_len < skip ? (uint32_t)piece.iov_len : skip;

		skip -= cut;
		piece.iov_base = (uint8_t *)piece.iov_base + cut;
		piece.iov_len -= cut;
		if (piece.iov_len)
			out[n++] = piece;
	}
	return n;
}

/* The same, laid together. 1 or -errno. */
static int lay_together(struct iovec *out, const struct vireo_frame *frame, uint8_t **bounce)
{
	struct vireo_cursor rest = vireo_cursor_of(frame->iov, frame->iov_count);
	uint32_t skip = vireo_frame_skip_bytes(frame);

	if (frame->len_bytes > KERNEL_FRAME_BYTES)
		return -EMSGSIZE;
	if (!*bounce)
		*bounce = malloc(KERNEL_FRAME_BYTES);
	if (!*bounce)
		return -ENOMEM;
	vireo_cursor_skip(&rest, skip);
	vireo_cursor_take(&rest, *bounce, frame->len_bytes - skip);
	*out = (struct iovec){*bounce, frame->len_bytes - skip};
	return 1;
}

int kernel_frame_lay(struct kernel_frame *out, const struct vireo_frame *frame, unsigned header_bytes, uint8_t **bounce)
{
	struct vireo_frame_offload offload;
	int n;

	if (!vireo_frame_offload_moved(frame, &offload))
		return -EINVAL;
	out->header = net_header_build(&offload);
	out->iov[0] = (struct iovec){&out->header, header_bytes};
	out->iov[1] = (struct iovec){(void *)(uintptr_t)frame->head, vireo_frame_head_bytes(frame)};
	if (kernel_frame_bounces(frame))
		n = lay_together(&out->iov[2], frame, bounce);
	else
		n = (int)lay_pieces(&out->iov[2], frame);
	if (n < 0)
		return n;
	out->pieces = 2 + (unsigned)n;
	return 0;
}

int kernel_frame_copy(uint8_t *to, const struct vireo_frame *frame, unsigned header_bytes)
{
	uint32_t skip = vireo_frame_skip_bytes(frame);
	uint8_t *at = to + header_bytes;
	struct vireo_frame_offload offload;
	struct virtio_net_header header;

	if (!vireo_frame_offload_moved(frame, &offload))
		return -EINVAL;
	header = net_header_build(&offload);
	memcpy(to, &header, header_bytes);
	memcpy(at, frame->head, vireo_frame_head_bytes(frame));
	at += vireo_frame_head_bytes(frame);
	for (uint32_t i = 0; i < frame->iov_count; i++) {
		const struct iovec *piece = &frame->iov[i];
		uint32_t cut = piece->iov_len < skip ? (uint32_t)piece->iov_len : skip;

		memcpy(at, (const uint8_t *)piece->iov_base + cut, piece->iov_len - cut);
		at += piece->iov_len - cut;
		skip -= cut;
	}
	return (int)(at - to);
}
