/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_HEADERS_H
#define SWITCH_HEADERS_H

/*
 * Where the headers of a frame lie. Pure: bytes (a private copy) in, checked offsets out.
 */

#include <stdbool.h>
#include <stdint.h>

#define HEADERS_VLAN_TAGS_MAX 2u

struct headers {
	uint8_t ip;        /* 4 or 6 */
	uint8_t protocol;  /* of the transport header */
	bool fragment;     /* a fragment: transport says nothing */
	uint16_t network;  /* offset of the IP header */
	uint16_t transport; /* offset of what follows IP and its extension headers */
	uint32_t end;      /* where the IP packet ends, by its own length field (by the frame's if that is 0) */
	uint16_t final_address; /* offset of the destination that the pseudo-header takes */
	/* IPv6: a fragment header would go to `unfragmentable`; the byte that announces it is at `fragment_next`. */
	uint16_t unfragmentable, fragment_next;
};

/* Payload type and offset of a frame's link header, VLAN tags skipped. 0: too short, or more tags than two. */
uint16_t headers_link(const uint8_t *bytes, uint32_t have_bytes, uint16_t *ret_network);

/*
 * Parses the first `have_bytes` of a frame of `frame_bytes`. False: not IP, cut short, or the lengths lie.
 * Network and extension headers are inside have_bytes afterwards; the transport header is the caller's to check.
 */
bool headers_parse(const uint8_t *bytes, uint32_t have_bytes, uint32_t frame_bytes, struct headers *ret_headers);

static inline uint16_t load_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load_be32(const uint8_t *at)
{
	return (uint32_t)load_be16(at) << 16 | load_be16(at + 2);
}

static inline void store_be16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void store_be32(uint8_t *at, uint32_t value)
{
	store_be16(at, (uint16_t)(value >> 16));
	store_be16(at + 2, (uint16_t)value);
}

#endif
