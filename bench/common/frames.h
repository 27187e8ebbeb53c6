/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * The frames that the programs send each other: Ethernet, addressed by port and flow, then a tag (who sent
 * it, which one it is) and a pattern computed from the tag, up to the last byte. Frame number k of a
 * sender belongs to flow k % flows and is number k / flows in it.
 */

#define FRAMES_BYTES_MIN 64u
#define FRAMES_BYTES_MAX 1518u
#define FRAMES_FLOWS_MAX 65536u
#define FRAMES_LINE_BYTES 64u /* what "touching" a frame rewrites */

/* ---- sizes: one size, or a repeated sequence ("imix") ---- */

#define FRAMES_SIZES_MAX 12

struct frame_sizes {
	uint16_t bytes[FRAMES_SIZES_MAX];
	unsigned count;
	unsigned at; /* the next one */
};

/* "64".."1518" or "imix". False: neither. */
bool frame_sizes_parse(const char *text, struct frame_sizes *ret);

static inline uint16_t frame_sizes_next(struct frame_sizes *sizes)
{
	uint16_t bytes = sizes->bytes[sizes->at];

	sizes->at = sizes->at + 1 < sizes->count ? sizes->at + 1 : 0;
	return bytes;
}

/* As if only the first `n` of `taken` sizes had been asked for: the rest will be told again. */
static inline void frame_sizes_return(struct frame_sizes *sizes, unsigned taken, unsigned n)
{
	sizes->at = (sizes->at + sizes->count - (taken - n) % sizes->count) % sizes->count;
}

/* ---- writing ---- */

/* What frames of a sender have in common. Port 0 sends as 02:00:00:00:00:01 to ..:02, port 1 back; 2 and 3
 * likewise. */
struct frame_source {
	uint8_t port;
	uint32_t flows; /* 1..FRAMES_FLOWS_MAX */
};

/* The whole frame number `k`. */
void frame_write(uint8_t *at, uint32_t bytes, const struct frame_source *source, uint64_t k);

/* The first FRAMES_LINE_BYTES of frame number `k`, addresses included; for traffic that is not verified. */
static inline void frame_touch(uint8_t *at, const struct frame_source *source, uint64_t k)
{
	uint64_t line[FRAMES_LINE_BYTES / 8] = { 0 };
	uint8_t *head = (uint8_t *)line;
	uint32_t flow = source->flows > 1 ? (uint32_t)(k % source->flows) : 0;
	uint8_t from = source->port;

	head[0] = head[6] = 2;
	head[2] = head[8] = (uint8_t)(flow >> 16);
	head[3] = head[9] = (uint8_t)(flow >> 8);
	head[4] = head[10] = (uint8_t)flow;
	head[5] = (uint8_t)(1 + (from ^ 1));
	head[11] = (uint8_t)(1 + from);
	head[12] = 0x88; /* IEEE 802: local experimental */
	head[13] = 0xb5;
	line[2] = k;
	memcpy(at, line, sizeof(line));
}

/* ---- checking ---- */

/* Does a frame (FRAMES_BYTES_MIN or more) come from this port? */
static inline bool frame_is_from(const uint8_t *at, const struct frame_source *source)
{
	return at[11] == (uint8_t)(1 + source->port);
}

/* What a receiver knows of the sender's flows. */
struct frame_check {
	struct frame_source source;
	bool any_address; /* whoever forwards the frames rewrites addresses */
	uint64_t *next; /* per flow: the lowest number that may come */
	unsigned long long skipped; /* numbers left out so far */
};

int frame_check_init(struct frame_check *check, struct frame_source source,
		     bool any_address); /* or -ENOMEM */
void frame_check_free(struct frame_check *check);

/* True: each byte is as it was sent, it is new, and none of its flow that was sent later came before. */
bool frame_check(struct frame_check *check, const uint8_t *at, uint32_t bytes);

#endif
