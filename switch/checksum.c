/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/checksum.h"
#include <string.h>

/*
 * 16-bit words may be added up two at a time in 32 bits, since 2^16 is 1 modulo 2^16 - 1. 64 bits hold the sum of
 * 2^32 such pairs.
 */
static uint64_t add_u64(uint64_t sum, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return sum + (word & UINT32_MAX) + (word >> 32);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint64_t other = 0;
	uint8_t tail[8] = {0};

	for (; bytes >= 32; bytes -= 32, at += 32) {
		sum = add_u64(sum, at);
		other = add_u64(other, at + 8);
		sum = add_u64(sum, at + 16);
		other = add_u64(other, at + 24);
	}
	for (; bytes >= 8; bytes -= 8, at += 8)
		sum = add_u64(sum, at);
	memcpy(tail, at, bytes);
	return add_u64(sum + other, tail);
}
