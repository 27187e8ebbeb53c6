/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FRAME_FIRST_H
#define SWITCH_FRAME_FIRST_H

/* A private copy of a frame's first bytes, for those who decide by what they say: the frame's own lie in its sender's memory. */

#include "base/util.h"
#include <string.h>
#include <vireo/frame.h>

/* At most the frame's length. The head is what was taken first, and what decisions are taken on. */
static inline void frame_copy_first(const struct vireo_frame *frame, uint8_t *to, uint32_t bytes)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < frame->iov_count && done < bytes; i++) {
		uint32_t part = (uint32_t)min_u64(frame->iov[i].iov_len, bytes - done);

		memcpy(to + done, frame->iov[i].iov_base, part);
		done += part;
	}
	memcpy(to, frame->head, min_u32(bytes, VIREO_FRAME_HEAD_BYTES));
}

/* At most vireo_frame_bytes(). The same of what a receiver gets: with the frame's edit. */
static inline void frame_copy_shown(const struct vireo_frame *frame, uint8_t *to, uint32_t bytes)
{
	uint32_t done = min_u32(bytes, vireo_frame_head_bytes(frame)), skip = vireo_frame_skip_bytes(frame);

	memcpy(to, frame->head, done);
	for (uint32_t i = 0; i < frame->iov_count && done < bytes; i++) {
		uint32_t skipped = (uint32_t)min_u64(frame->iov[i].iov_len, skip);
		uint32_t part = (uint32_t)min_u64(frame->iov[i].iov_len - skipped, bytes - done);

		memcpy(to + done, (const uint8_t *)frame->iov[i].iov_base + skipped, part);
		skip -= skipped;
		done += part;
	}
}

#endif
