/* SPDX-License-Identifier: BSD-3-Clause */
#include "frames.h"
#include <errno.h>
#include <stdlib.h>

#define ETHERNET_BYTES 14u
#define PATTERN_AT (ETHERNET_BYTES + (uint32_t)sizeof(struct tag))
/* From word to word of the pattern: odd, so that no word comes twice in a frame. */
#define PATTERN_STEP UINT64_C(0x9e3779b97f4a7c15)

struct tag {
	uint64_t number; /* in its flow */
	uint32_t flow;
	uint16_t bytes; /* of the whole frame */
	uint16_t port;
};

_Static_assert(PATTERN_AT <= FRAMES_BYTES_MIN, "the tag fits the smallest frame");

bool frame_sizes_parse(const char *text, struct frame_sizes *ret)
{
	/* 7 : 4 : 1 of 64, 594 and 1518, spread evenly. */
	static const struct frame_sizes imix = {
		.bytes = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594 },
		.count = FRAMES_SIZES_MAX,
	};
	unsigned long bytes;
	char *end;

	if (!strcmp(text, "imix")) {
		*ret = imix;
		return true;
	}
	bytes = strtoul(text, &end, 10);
	if (*end || bytes < FRAMES_BYTES_MIN || bytes > FRAMES_BYTES_MAX)
		return false;
	*ret = (struct frame_sizes){ .bytes = { (uint16_t)bytes }, .count = 1 };
	return true;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xe9846af9b1a615d);
	x ^= x >> 32;
	x *= UINT64_C(0xe9846af9b1a615d);
	return x ^ x >> 28;
}

/* Each bit of the tag changes it: a frame whose tag was damaged has the wrong pattern, too. */
static uint64_t pattern_first(const struct tag *tag)
{
	return mix(tag->number + mix((uint64_t)tag->flow << 32 | (uint32_t)tag->bytes << 16 | tag->port));
}

void frame_write(uint8_t *at, uint32_t bytes, const struct frame_source *source, uint64_t k)
{
	struct tag tag = {
		.number = k / source->flows,
		.flow = (uint32_t)(k % source->flows),
		.bytes = (uint16_t)bytes,
		.port = source->port,
	};
	uint64_t word = pattern_first(&tag);
	uint8_t *end = at + bytes;

	frame_touch(at, source, k);
	memcpy(at + ETHERNET_BYTES, &tag, sizeof(tag));
	for (at += PATTERN_AT; end - at >= 8; at += 8, word += PATTERN_STEP)
		memcpy(at, &word, 8);
	memcpy(at, &word, (size_t)(end - at));
}

int frame_check_init(struct frame_check *check, struct frame_source source, bool any_address)
{
	*check = (struct frame_check){ .source = source, .any_address = any_address };
	check->next = calloc(source.flows, sizeof(*check->next));
	return check->next ? 0 : -ENOMEM;
}

void frame_check_free(struct frame_check *check)
{
	free(check->next);
	check->next = NULL;
}

static bool pattern_holds(const uint8_t *at, const uint8_t *end, uint64_t word)
{
	uint64_t wrong = 0, have;

	for (; end - at >= 8; at += 8, word += PATTERN_STEP) {
		memcpy(&have, at, 8);
		wrong |= have ^ word;
	}
	return !wrong && !memcmp(at, &word, (size_t)(end - at));
}

static bool addresses_hold(const struct frame_check *check, const uint8_t *at, uint32_t flow)
{
	uint8_t line[FRAMES_LINE_BYTES];

	frame_touch(line, &check->source, flow);
	return check->any_address ? !memcmp(at + 12, line + 12, 2) : !memcmp(at, line, ETHERNET_BYTES);
}

bool frame_check(struct frame_check *check, const uint8_t *at, uint32_t bytes)
{
	struct tag tag;

	if (bytes < FRAMES_BYTES_MIN)
		return false;
	memcpy(&tag, at + ETHERNET_BYTES, sizeof(tag));
	if (tag.bytes != bytes || tag.port != check->source.port || tag.flow >= check->source.flows ||
	    !pattern_holds(at + PATTERN_AT, at + bytes, pattern_first(&tag)) ||
	    !addresses_hold(check, at, tag.flow) || tag.number < check->next[tag.flow])
		return false;
	check->skipped += tag.number - check->next[tag.flow];
	check->next[tag.flow] = tag.number + 1;
	return true;
}
