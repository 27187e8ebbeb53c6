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

void frame_make(uint8_t *frame, const struct bench_case *c, uint8_t from, uint8_t to, uint32_t number)
{
	const uint8_t flow = c->flows ? number % BURST : 0;
	const uint8_t head[] = {2, 0, 0, 0, flow, to, 2, 0, 0, 0, flow, from, 0x88, 0xb5}; /* local experimental */
	const uint8_t udp[] = {0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to, 4, (uint8_t)number, 0, 53, 0, 30, 0, 0};
	uint32_t at = sizeof(head);

	if (c->gro) {
		segment_make(frame, c->size_bytes, number);
		memcpy(frame, head, 12); /* addresses */
		return;
	}
	memcpy(frame, head, sizeof(head));
	if (c->rss || c->hashed || c->snooped) {
		memcpy(frame + 12, "\x08", 2); /* IPv4 */
		memcpy(frame + at, udp, sizeof(udp));
		at += sizeof(udp);
	}
	if (c->snooped) { /* 239.1.1.1 */
		memcpy(frame, "\x01\x00\x5e\x01\x01\x01", 6);
		memcpy(frame + 30, "\xef\x01\x01\x01", 4);
	}
	memcpy(frame + at, &number, sizeof(number));
	for (uint32_t i = at + sizeof(number); i < c->size_bytes; i++)
		frame[i] = (uint8_t)(number + i);
}

void frame_check(const uint8_t *frame, uint32_t len_bytes, const struct bench_case *c, uint8_t from, uint8_t to,
		 uint32_t number)
{
	uint8_t expected[FRAME_BYTES_MAX];

	frame_make(expected, c, from, to, number);
	must(len_bytes == c->size_bytes && !memcmp(frame, expected, len_bytes), "a frame arrived changed or misplaced");
}
