/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Software segmentation and checksums over frames of any content. What comes out must add up: no byte of payload more or
 * fewer than went in, and no piece longer than asked for.
 */
#include "fuzz.h"
#include "switch/offload.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 9000u

static struct offload_arena *arena;

static uint32_t sum_bytes(const struct vireo_frame *frame)
{
	uint32_t bytes = 0, sum = 0;

	for (uint32_t i = 0; i < frame->iov_count; i++) {
		for (size_t j = 0; j < frame->iov[i].iov_len; j++)
			sum += ((const volatile uint8_t *)frame->iov[i].iov_base)[j];
		bytes += (uint32_t)frame->iov[i].iov_len;
	}
	assert(bytes == frame->len_bytes && bytes >= 14);
	return sum;
}

static void cut(const struct vireo_frame *frame)
{
	struct offload_job job;
	struct vireo_frame *piece;
	uint64_t payload = 0;
	unsigned pieces = 0;
	int ret = offload_begin(&job, arena, frame);

	if (ret == -ENOSPC) {
		offload_reset(arena);
		ret = offload_begin(&job, arena, frame);
		assert(ret != -ENOSPC);
	}
	if (ret)
		return;
	for (;;) {
		if (!offload_has_slot(arena)) {
			/* Delivered: the slots are free again, the job goes on. */
			arena->slots_used = 0;
		}
		piece = offload_next(&job);
		if (!piece)
			break;
		sum_bytes(piece);
		assert(piece->offload.gso == VIREO_GSO_NONE && !(piece->offload.flags & VIREO_FRAME_NEEDS_CSUM));
		payload += piece->len_bytes;
		pieces++;
		assert(pieces <= OFFLOAD_SEGMENTS_MAX);
	}
	assert(pieces);
	if (pieces > 1)
		assert(payload >= frame->len_bytes);
}

/* A plausible start, so that not each input ends at the first check: Ethernet, IPv4 or IPv6, TCP or UDP. */
static void dress(uint8_t *bytes, uint32_t len, uint8_t kind)
{
	static const uint8_t ipv4[] = {0x08, 0, 0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	static const uint8_t ipv6[] = {0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64};

	if (len < 60)
		return;
	if (kind & 1)
		memcpy(bytes + 12, ipv6, sizeof(ipv6));
	else
		memcpy(bytes + 12, ipv4, sizeof(ipv4));
	if (kind & 2)
		bytes[kind & 1 ? 20 : 23] = 17;
	if (kind & 4)
		bytes[(kind & 1 ? 54 : 34) + 12 < (int)len ? (kind & 1 ? 54 : 34) + 12 : 0] = 0x50;
	if (kind & 8) { /* a VLAN tag before it */
		memmove(bytes + 16, bytes + 12, len - 16);
		memcpy(bytes + 12, (uint8_t[]){0x81, 0, 0, 5}, 4);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	static uint8_t bytes[FRAME_BYTES_MAX];
	struct vireo_frame frame = {0};
	struct iovec iov[3];
	uint32_t first, second;
	uint8_t kind;

	if (!arena && offload_arena_new(64, 128 * 1024, &arena))
		abort();
	offload_reset(arena);
	kind = fuzz_u8(&in);
	frame.offload.gso = fuzz_u8(&in) % 6;
	frame.offload.flags = fuzz_u8(&in) & 7;
	frame.offload.header_bytes = fuzz_u16(&in);
	frame.offload.segment_bytes = fuzz_u16(&in);
	frame.len_bytes = 14 + fuzz_u16(&in) % (FRAME_BYTES_MAX - 14);
	frame.offload.csum_start = 14 + fuzz_u8(&in);
	frame.offload.csum_offset = fuzz_u8(&in);
	if (!frame.offload.segment_bytes)
		frame.offload.segment_bytes = 1;
	if ((uint32_t)frame.offload.csum_start + frame.offload.csum_offset + 2 > frame.len_bytes) {
		frame.offload.csum_start = 14; /* what a model lets through always lies inside */
		frame.offload.csum_offset = 0;
		if (frame.len_bytes < 16)
			frame.offload.flags &= (uint8_t)~VIREO_FRAME_NEEDS_CSUM;
	}
	memset(bytes, 0xa5, sizeof(bytes));
	fuzz_take(&in, bytes, in.left < frame.len_bytes ? in.left : frame.len_bytes);
	dress(bytes, frame.len_bytes, kind);
	memcpy(frame.head, bytes, frame.len_bytes < sizeof(frame.head) ? frame.len_bytes : sizeof(frame.head));
	first = 1 + kind % frame.len_bytes;
	first = first < frame.len_bytes ? first : frame.len_bytes;
	second = (frame.len_bytes - first) / 2;
	iov[0] = (struct iovec){bytes, first};
	iov[1] = (struct iovec){bytes + first, second};
	iov[2] = (struct iovec){bytes + first + second, frame.len_bytes - first - second};
	frame.iov = iov;
	frame.iov_count = 3;
	cut(&frame);
	return 0;
}
