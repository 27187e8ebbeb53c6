/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which of several out queues: frames of a flow must stay in order, so they share one. The headers are peeked at in
 * the sender's memory; a sender that changes them meanwhile reorders its own frames and nothing else.
 */

#include "switch/forward.h"
#include "switch/headers.h"
#include <netinet/in.h>
#include <string.h>

#define PEEK_BYTES 128u

static uint32_t peek(const struct vireo_frame *frame, uint8_t *dst)
{
	uint32_t want = min_u32(vireo_frame_bytes(frame), PEEK_BYTES), at = vireo_frame_head_bytes(frame);
	uint64_t skip = vireo_frame_skip_bytes(frame);

	memcpy(dst, frame->head, at);
	for (uint32_t i = 0; i < frame->iov_count && at < want; i++) {
		uint64_t skipped = min_u64(frame->iov[i].iov_len, skip);
		uint32_t bytes = (uint32_t)min_u64(frame->iov[i].iov_len - skipped, want - at);

		memcpy(dst + at, (const uint8_t *)frame->iov[i].iov_base + skipped, bytes);
		skip -= skipped;
		at += bytes;
	}
	return at;
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	for (; bytes; bytes -= 4, at += 4) {
		uint32_t word;

		memcpy(&word, at, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return hash;
}

static uint64_t mix_addresses(const uint8_t *bytes, const struct headers *h)
{
	uint64_t hash = h->protocol;

	if (h->ip == 4)
		hash = mix(hash, bytes + h->network + 12, 8);
	else
		hash = mix(hash, bytes + h->network + 8, 32);
	return hash;
}

static uint64_t mix_ip(const uint8_t *bytes, uint32_t have_bytes, const struct headers *h)
{
	uint64_t hash = mix_addresses(bytes, h);

	if (h->fragment || (h->protocol != IPPROTO_TCP && h->protocol != IPPROTO_UDP))
		return hash;
	return have_bytes >= h->transport + 4u ? mix(hash, bytes + h->transport, 4) : hash;
}

/* Both addresses, and the type behind tags. */
static uint64_t mix_link(const struct vireo_frame *frame, const uint8_t *bytes, uint32_t have_bytes)
{
	uint16_t network, type = headers_link(bytes, have_bytes, &network);

	return mix(type, frame->head, 12);
}

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

uint32_t flow_hash_of(const struct vireo_frame *frame, enum sw_bond_hash what)
{
	uint8_t bytes[PEEK_BYTES];
	uint32_t have_bytes = peek(frame, bytes);
	struct headers h;

	if (what == SW_BOND_LAYER2 || !headers_parse(bytes, have_bytes, vireo_frame_bytes(frame), &h))
		return fold(mix_link(frame, bytes, have_bytes));
	if (what == SW_BOND_LAYER34)
		return fold(mix_ip(bytes, have_bytes, &h));
	return fold(mix(mix_addresses(bytes, &h), frame->head, 12));
}

uint32_t flow_hash(const struct vireo_frame *frame)
{
	uint8_t bytes[PEEK_BYTES];
	uint32_t have_bytes = peek(frame, bytes);
	struct headers h;
	uint64_t hash;

	if (headers_parse(bytes, have_bytes, vireo_frame_bytes(frame), &h))
		hash = mix_ip(bytes, have_bytes, &h);
	else
		hash = mix(0, frame->head, 12);
	return fold(hash);
}

bool flow_is_udp(const struct vireo_frame *frame)
{
	uint8_t bytes[PEEK_BYTES];
	uint32_t have = peek(frame, bytes);
	struct headers headers;

	return headers_parse(bytes, have, vireo_frame_bytes(frame), &headers) && headers.protocol == IPPROTO_UDP;
}
