/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/headers.h"
#include "base/util.h"
#include <net/ethernet.h>
#include <netinet/in.h>

#define ETH_BYTES     14u
#define VLAN_BYTES    4u
#define IPV4_BYTES    20u
#define IPV6_BYTES    40u
#define EXTENSION_MIN 8u
#define EXTENSIONS_MAX 8u /* nobody sends more; bounds the walk */

#define ETHERTYPE_QINQ 0x88a8u

uint16_t headers_link(const uint8_t *bytes, uint32_t have_bytes, uint16_t *ret_network)
{
	uint16_t at = ETH_BYTES;

	if (have_bytes < ETH_BYTES)
		return 0;
	for (unsigned tags = 0; tags <= HEADERS_VLAN_TAGS_MAX; tags++) {
		uint16_t type = load_be16(bytes + at - 2);

		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ) {
			*ret_network = at;
			return type;
		}
		at += VLAN_BYTES;
		if (have_bytes < at)
			return 0;
	}
	return 0;
}

/* A length field of 0 is left by senders that expect the hardware to fill it in: the frame's length holds. */
static bool set_end(struct headers *h, uint32_t frame_bytes, uint32_t header_bytes, uint32_t packet_bytes)
{
	if (!packet_bytes)
		packet_bytes = frame_bytes - h->network;
	h->end = h->network + packet_bytes;
	return packet_bytes >= header_bytes && h->end <= frame_bytes;
}

/* RFC 791, 3.1 */
static bool parse_ipv4(const uint8_t *bytes, uint32_t have_bytes, uint32_t frame_bytes, struct headers *h)
{
	const uint8_t *ip = bytes + h->network;
	uint32_t header_bytes;

	if (have_bytes < h->network + IPV4_BYTES || ip[0] >> 4 != 4)
		return false;
	header_bytes = (ip[0] & 0xfu) * 4u;
	if (header_bytes < IPV4_BYTES || have_bytes < h->network + header_bytes)
		return false;
	if (!set_end(h, frame_bytes, header_bytes, load_be16(ip + 2)))
		return false;
	h->ip = 4;
	h->protocol = ip[9];
	h->fragment = load_be16(ip + 6) & 0x3fff; /* more fragments, or an offset */
	h->transport = (uint16_t)(h->network + header_bytes);
	h->final_address = h->network + 16;
	return true;
}

/* The pseudo-header takes the last hop's address while a routing header has segments left (RFC 8200, 8.1). */
static bool parse_routing(const uint8_t *bytes, uint32_t header_bytes, struct headers *h)
{
	const uint8_t *routing = bytes + h->transport;

	if (!routing[3])
		return true;
	if (header_bytes < 8 + 16)
		return false;
	switch (routing[2]) {
	case 0: /* source route: addresses in order */
	case 2: /* home address: one */
		h->final_address = (uint16_t)(h->transport + header_bytes - 16);
		return (header_bytes - 8) % 16 == 0;
	case 4: /* segment routing: addresses in reverse order (RFC 8754) */
		h->final_address = h->transport + 8;
		return true;
	default:
		return false;
	}
}

/* One extension header. False: it lies, or nothing behind it can be told. */
static bool parse_extension(const uint8_t *bytes, uint32_t have_bytes, struct headers *h)
{
	const uint8_t *extension = bytes + h->transport;
	uint32_t header_bytes;
	uint8_t type = h->protocol;

	if (have_bytes < h->transport + EXTENSION_MIN)
		return false;
	header_bytes = type == IPPROTO_FRAGMENT ? 8u : (extension[1] + 1u) * 8u;
	if (have_bytes < h->transport + header_bytes || h->end < h->transport + header_bytes)
		return false;
	if (type == IPPROTO_FRAGMENT)
		h->fragment = true;
	if (type == IPPROTO_ROUTING && !parse_routing(bytes, header_bytes, h))
		return false;
	if (type == IPPROTO_ROUTING || type == IPPROTO_HOPOPTS) {
		h->fragment_next = h->transport;
		h->unfragmentable = (uint16_t)(h->transport + header_bytes);
	}
	h->protocol = extension[0];
	h->transport = (uint16_t)(h->transport + header_bytes);
	return true;
}

static bool is_extension(uint8_t type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS ||
	       type == IPPROTO_FRAGMENT;
}

/* RFC 8200, 3 and 4 */
static bool parse_ipv6(const uint8_t *bytes, uint32_t have_bytes, uint32_t frame_bytes, struct headers *h)
{
	const uint8_t *ip = bytes + h->network;
	uint16_t payload_bytes;

	if (have_bytes < h->network + IPV6_BYTES || ip[0] >> 4 != 6)
		return false;
	payload_bytes = load_be16(ip + 4);
	if (!set_end(h, frame_bytes, IPV6_BYTES, payload_bytes ? payload_bytes + IPV6_BYTES : 0))
		return false;
	h->ip = 6;
	h->protocol = ip[6];
	h->transport = h->unfragmentable = h->network + IPV6_BYTES;
	h->fragment_next = h->network + 6;
	h->final_address = h->network + 24;
	for (unsigned i = 0; i < EXTENSIONS_MAX && is_extension(h->protocol) && !h->fragment; i++) {
		if (!parse_extension(bytes, have_bytes, h))
			return false;
	}
	return h->fragment || !is_extension(h->protocol);
}

bool headers_parse(const uint8_t *bytes, uint32_t have_bytes, uint32_t frame_bytes, struct headers *ret_headers)
{
	struct headers h = {0};
	uint16_t type = headers_link(bytes, have_bytes, &h.network);
	bool ok = false;

	if (type == ETHERTYPE_IP)
		ok = parse_ipv4(bytes, have_bytes, frame_bytes, &h);
	else if (type == ETHERTYPE_IPV6)
		ok = parse_ipv6(bytes, have_bytes, frame_bytes, &h);
	if (ok)
		*ret_headers = h;
	return ok;
}
