/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_CHECKSUM_H
#define SWITCH_CHECKSUM_H

/*
 * The Internet checksum (RFC 1071). Sums are kept as they lie in memory, in 64 bits; the folded value is
 * stored with memcpy and never byte-swapped. A piece that is not the last has an even length.
 */

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes);

/* A 16-bit number in host order, as it would lie in the packet. */
static inline uint64_t checksum_add_u16(uint64_t sum, uint16_t value)
{
	return sum + htons(value);
}

/* The field's value: the complement of the folded sum. */
static inline uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

#endif
