/* SPDX-License-Identifier: BSD-3-Clause */

/* What guests send each other. */

#include "bench/instructions/guest.h"
#include "switch/gro_frames.h"
#include <string.h>

#define SEGMENT_HEADERS 54u /* Ethernet, IPv4, TCP */

/* A segment of a flow that goes on and on. */
static void segment_make(uint8_t *frame, uint32_t size_bytes, uint32_t number)
{
	struct gframe made;
	uint32_t payload = size_bytes - SEGMENT_HEADERS;

	gframe_make(&made, 0, number, number * payload, payload);
	memcpy(frame, made.at, size_bytes);
}

static uint32_t tag_put(uint8_t *frame, uint32_t len_bytes, uint16_t type)
{
	const uint8_t tag[] = {(uint8_t)(type >> 8), (uint8_t)type, 0, BENCH_VLAN};

	memmove(frame + 16, frame + 12, len_bytes - 12);
	memcpy(frame + 12, tag, sizeof(tag));
	return len_bytes + (uint32_t)sizeof(tag);
}

/* What this guest's port sends with a tag, and gets with one: the first of a pair has a trunk. */
static uint32_t tags_put(uint8_t *frame, uint32_t len_bytes, const struct bench_case *c, uint8_t side)
{
	if (c->qinq)
		len_bytes = tag_put(frame, len_bytes, 0x8100); /* the guests' own */
	if (c->trunked || (c->tagged && side % 2 == 0))
		len_bytes = tag_put(frame, len_bytes, 0x8100);
	if (c->qinq && side % 2 == 0)
		len_bytes = tag_put(frame, len_bytes, 0x88a8);
	return len_bytes;
}

/* The checksum of UDP that the sender has left to others. */
static void sum_put(uint8_t *frame, uint32_t len_bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = BENCH_SUM_START; i < len_bytes; i += 2)
		sum += (uint32_t)frame[i] << 8 | (i + 1 < len_bytes ? frame[i + 1] : 0);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16)) & 0xffff;
	sum = sum ? sum : 0xffff;
	frame[BENCH_SUM_START + BENCH_SUM_OFFSET] = (uint8_t)(sum >> 8);
	frame[BENCH_SUM_START + BENCH_SUM_OFFSET + 1] = (uint8_t)sum;
}

static bool is_udp(const struct bench_case *c)
{
	return c->rss || c->hashed || c->snooped || c->addressed || c->spread || c->summed || c->passed;
}

static uint32_t udp_put(uint8_t *frame, const struct bench_case *c, uint8_t from, uint8_t to, uint32_t number)
{
	const uint8_t port = c->spread ? 7 : (uint8_t)number;
	const uint8_t udp[] = {0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to, 4, port, 0, 53, 0, 30, 0, 0};

	memcpy(frame + 12, "\x08", 2); /* IPv4 */
	memcpy(frame + 14, udp, sizeof(udp));
	if (c->snooped) { /* 239.1.1.1 */
		memcpy(frame, "\x01\x00\x5e\x01\x01\x01", 6);
		memcpy(frame + 30, "\xef\x01\x01\x01", 4);
	}
	return 14 + (uint32_t)sizeof(udp);
}

uint32_t frame_make(uint8_t *frame, const struct bench_case *c, uint8_t side, uint8_t from, uint8_t to, uint32_t number)
{
	const uint8_t flow = c->flows ? number % BURST : 0;
	const uint8_t head[] = {2, 0, 0, 0, flow, to, 2, 0, 0, 0, flow, from, 0x88, 0xb5}; /* local experimental */
	uint32_t at = sizeof(head);

	if (c->gro) {
		segment_make(frame, c->size_bytes, number);
		memcpy(frame, head, 12); /* addresses */
		return c->size_bytes;
	}
	memcpy(frame, head, sizeof(head));
	if (c->stormed)
		memset(frame, 0xff, 6);
	if (is_udp(c))
		at = udp_put(frame, c, from, to, number);
	memcpy(frame + at, &number, sizeof(number));
	for (uint32_t i = at + sizeof(number); i < c->size_bytes; i++)
		frame[i] = (uint8_t)(number + i);
	if (c->summed && side == to)
		sum_put(frame, c->size_bytes);
	return tags_put(frame, c->size_bytes, c, side);
}

void frame_check(const uint8_t *frame, uint32_t len_bytes, const struct bench_case *c, uint8_t from, uint8_t to,
		 uint32_t number)
{
	uint8_t expected[FRAME_BYTES_MAX];
	uint32_t expected_bytes = frame_make(expected, c, to, from, to, number);

	must(len_bytes == expected_bytes && !memcmp(frame, expected, len_bytes), "a frame arrived changed or misplaced");
}
