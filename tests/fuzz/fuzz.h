/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

/* What the fuzz targets share: input taken apart piece by piece, and guest memory made of it. */

#include "base/util.h"
#include "mem/map.h"
#include <stdint.h>
#include <string.h>

struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

/* Zeroes once the input has run out, so that every input has a meaning. */
static inline void fuzz_take(struct fuzz_input *in, void *dst, size_t bytes)
{
	size_t n = bytes < in->left ? bytes : in->left;

	memset(dst, 0, bytes);
	if (n)
		memcpy(dst, in->data, n);
	in->data += n;
	in->left -= n;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

/*
 * Guest memory for a fuzz target: two regions of FUZZ_REGION_BYTES side by side in guest addresses, in one file but in
 * swapped order, so that what crosses the border is in two pieces.
 */
#define FUZZ_REGION_BYTES 0x8000u
#define FUZZ_MEMORY_BYTES (2 * FUZZ_REGION_BYTES)
#define FUZZ_UADDR UINT64_C(0x7f0000000000)

struct fuzz_memory {
	int memfd;
	uint8_t *host[2]; /* this side's own view of region 0 (guest address 0) and 1 */
	struct map_spec specs[2];
	struct map *map;
};

void fuzz_memory_init(struct fuzz_memory *memory);

/* Lays bytes at guest address `at`, across the border if need be; what goes beyond the end is cut off. */
void fuzz_memory_write(struct fuzz_memory *memory, uint32_t at, const void *data, uint32_t bytes);
void fuzz_memory_clear(struct fuzz_memory *memory);

#endif
