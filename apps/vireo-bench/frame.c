/* SPDX-License-Identifier: BSD-3-Clause */
#include "frame.h"
#include "vireo/cursor.h"
#include "wire/virtio_net.h"
#include <endian.h>
#include <string.h>

#define MAGIC 0x76626e63u

_Static_assert(sizeof(struct frame_header) == 40, "fits the smallest frame");

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x9fb21c651e98df25);
	x ^= x >> 28;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

static uint32_t header_check(const struct frame_header *header)
{
	uint64_t words[sizeof(*header) / 8], sum = MAGIC;
	struct frame_header h = *header;

	h.check = 0;
	memcpy(words, &h, sizeof(words));
	for (unsigned i = 0; i < sizeof(words) / 8; i++)
		sum = mix(sum + words[i]);
	return (uint32_t)sum;
}

/*
 * Word i of the pattern is base + i * PATTERN_STEP: no word is repeated in a frame, and the base differs
 * between any two frames that can meet. Both ends walk it word by word, the last one cut.
 */
#define PATTERN_STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t pattern_base(const struct frame_header *header)
{
	return mix(header->number ^ (uint64_t)header->stream << 48 ^ (uint64_t)header->run << 16);
}

static void pattern_write(uint8_t *at, uint32_t bytes, uint64_t word)
{
	for (; bytes >= 8; at += 8, bytes -= 8, word += PATTERN_STEP)
		memcpy(at, &word, 8);
	memcpy(at, &word, bytes);
}

static bool pattern_holds(const uint8_t *at, uint32_t bytes, uint64_t word)
{
	uint64_t wrong = 0, have;

	for (; bytes >= 8; at += 8, bytes -= 8, word += PATTERN_STEP) {
		memcpy(&have, at, 8);
		wrong |= have ^ word;
	}
	return !wrong && !memcmp(at, &word, bytes);
}

void frame_write(uint8_t *at, const uint8_t to[6], const uint8_t from[6], const struct frame_header *header)
{
	struct frame_header h = *header;

	h.magic = MAGIC;
	h.reserved = 0;
	h.check = header_check(&h);
	memcpy(at, to, 6);
	memcpy(at + 6, from, 6);
	at[12] = FRAME_ETHERTYPE >> 8;
	at[13] = FRAME_ETHERTYPE & 0xff;
	memcpy(at + FRAME_ETHERNET_BYTES, &h, sizeof(h));
	if (h.pattern)
		pattern_write(at + FRAME_HEAD_BYTES, h.frame_bytes - FRAME_HEAD_BYTES, pattern_base(&h));
}

/* A word of the pattern may lie in two pieces: those are gathered, the rest is checked in place. */
static bool pieces_hold(struct vireo_cursor at, uint64_t word)
{
	while (at.left_bytes) {
		const struct iovec *piece = at.iov;
		uint32_t here = (uint32_t)(piece->iov_len - at.offset), whole;

		whole = here < at.left_bytes ? here & ~7u : here;
		if (whole) {
			if (!pattern_holds((const uint8_t *)piece->iov_base + at.offset, whole, word))
				return false;
			word += PATTERN_STEP * (whole / 8);
			vireo_cursor_skip(&at, whole);
		} else {
			uint8_t bytes[8];
			uint32_t n = at.left_bytes < 8 ? (uint32_t)at.left_bytes : 8;

			vireo_cursor_take(&at, bytes, n);
			if (!pattern_holds(bytes, n, word))
				return false;
			word += PATTERN_STEP;
		}
	}
	return true;
}

enum frame_verdict frame_check(const struct iovec *pieces, unsigned count, uint32_t bytes,
			       const uint8_t to[6], uint32_t run, struct frame_header *ret)
{
	struct vireo_cursor at = vireo_cursor_of(pieces, count);
	uint8_t ethernet[FRAME_ETHERNET_BYTES];
	struct frame_header h;
	bool addressed, ours;

	if (!vireo_cursor_take(&at, ethernet, sizeof(ethernet)))
		return FRAME_FOREIGN;
	addressed = !memcmp(ethernet, to, 6) && ethernet[12] == FRAME_ETHERTYPE >> 8 &&
		    ethernet[13] == (FRAME_ETHERTYPE & 0xff);
	ours = vireo_cursor_take(&at, &h, sizeof(h)) && h.magic == MAGIC && h.check == header_check(&h);
	if (!ours)
		return addressed ? FRAME_CORRUPT : FRAME_FOREIGN;
	if (h.run != run)
		return FRAME_FOREIGN;
	if (!addressed || h.frame_bytes != bytes || (h.pattern && !pieces_hold(at, pattern_base(&h))))
		return FRAME_CORRUPT;
	*ret = h;
	return FRAME_GOOD;
}

enum header_verdict header_judge(const struct virtio_net_header *header, bool mergeable)
{
	if (header->flags || header->gso_type != NET_HDR_GSO_NONE)
		return HEADER_BAD;
	if (mergeable || header->num_buffers == htole16(1))
		return HEADER_GOOD;
	return header->num_buffers ? HEADER_BAD : HEADER_ZERO_COUNT;
}
