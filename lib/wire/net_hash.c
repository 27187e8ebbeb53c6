/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which fields of a frame are hashed. The rules are those of virtio 1.3, 5.1.6.4.3; what they leave open:
 * - VLAN tags, two at most, are looked through; what follows more of them has no hash;
 * - a fragment has no TCP or UDP header, the first one as little as the others, so all of a datagram have the same hash;
 * - headers that lie (a length beyond what is there) end the search: the packet counts as one without a transport header.
 */
#include "wire/net_hash.h"
#include "base/util.h"
#include <string.h>

#define ETH_BYTES      14u
#define TAG_BYTES      4u
#define TAGS_MAX       2u
#define IPV4_BYTES     20u
#define IPV6_BYTES     40u
#define TCP_BYTES      20u
#define UDP_BYTES      8u
#define PORTS_BYTES    4u
#define EXTENSIONS_MAX 8u

#define TYPE_IPV4	0x0800u
#define TYPE_IPV6	0x86ddu
#define TYPE_TAG	0x8100u
#define TYPE_SERVICE	0x88a8u

#define HEADER_HOP_BY_HOP  0u
#define HEADER_TCP	   6u
#define HEADER_UDP	   17u
#define HEADER_ROUTING	   43u
#define HEADER_FRAGMENT	   44u
#define HEADER_AUTH	   51u
#define HEADER_NONE	   59u
#define HEADER_DESTINATION 60u

#define ROUTING_TYPE_2	    2u /* RFC 6275, 6.4 */
#define OPTION_PAD	    0u
#define OPTION_HOME_ADDRESS 0xc9u /* RFC 6275, 6.3 */
#define ADDRESS6_BYTES	    16u

/* What has been found in a frame so far; offsets from its first byte. */
struct found {
	const uint8_t *bytes;
	uint32_t have_bytes, at;
	uint8_t next;	  /* the header at `at`; HEADER_NONE: not known, or there is none */
	bool extended;	  /* IPv6: there are extension headers */
	uint32_t source, target;   /* addresses */
	uint32_t home, routed;	   /* those of extension headers; 0: there are none */
};

static uint16_t be16_of(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* What lies behind the link header and its tags; 0: that does not show. */
static uint16_t skip_link(struct found *f)
{
	f->at = ETH_BYTES;
	for (unsigned tags = 0; f->at <= f->have_bytes; tags++, f->at += TAG_BYTES) {
		uint16_t type = be16_of(f->bytes + f->at - 2);

		if (type != TYPE_TAG && type != TYPE_SERVICE)
			return type;
		if (tags == TAGS_MAX)
			return 0;
	}
	return 0;
}

static bool look_ipv4(struct found *f)
{
	const uint8_t *ip = f->bytes + f->at;
	uint32_t header_bytes;

	if (f->have_bytes - f->at < IPV4_BYTES || ip[0] >> 4 != 4)
		return false;
	header_bytes = (ip[0] & 15u) * 4u;
	if (header_bytes < IPV4_BYTES)
		return false;
	f->source = f->at + 12;
	f->target = f->at + 16;
	f->next = be16_of(ip + 6) & 0x3fff ? HEADER_NONE : ip[9]; /* more fragments, or not the first */
	f->at += header_bytes;
	return true;
}

/* The home address among a destination options header's options; 0: there is none. */
static uint32_t home_address(const struct found *f, uint32_t bytes)
{
	uint32_t at = f->at + 2, end = f->at + bytes;

	while (at + 2 <= end) {
		uint32_t len_bytes = f->bytes[at] == OPTION_PAD ? 1 : 2u + f->bytes[at + 1];

		if (f->bytes[at] == OPTION_HOME_ADDRESS && len_bytes == 2 + ADDRESS6_BYTES && at + len_bytes <= end)
			return at + 2;
		at += len_bytes;
	}
	return 0;
}

static uint32_t extension_bytes(uint8_t header, const uint8_t *extension)
{
	if (header == HEADER_FRAGMENT)
		return 8;
	if (header == HEADER_AUTH)
		return (extension[1] + 2u) * 4u;
	return (extension[1] + 1u) * 8u;
}

/* One extension header. False: what follows it cannot be told. */
static bool skip_extension(struct found *f)
{
	const uint8_t *extension = f->bytes + f->at;
	uint32_t bytes;

	if (f->at > f->have_bytes || f->have_bytes - f->at < 8)
		return false;
	bytes = extension_bytes(f->next, extension);
	if (bytes > f->have_bytes - f->at)
		return false;
	if (f->next == HEADER_ROUTING && extension[2] == ROUTING_TYPE_2 && bytes == 8 + ADDRESS6_BYTES)
		f->routed = f->at + 8;
	if (f->next == HEADER_DESTINATION && !f->home)
		f->home = home_address(f, bytes);
	if (f->next == HEADER_FRAGMENT && be16_of(extension + 2) & 0xfff9)
		return false; /* it has a part of its datagram */
	f->next = extension[0];
	f->at += bytes;
	return true;
}

static bool is_extension(uint8_t header)
{
	return header == HEADER_HOP_BY_HOP || header == HEADER_ROUTING || header == HEADER_FRAGMENT || header == HEADER_AUTH ||
	       header == HEADER_DESTINATION;
}

static bool look_ipv6(struct found *f)
{
	const uint8_t *ip = f->bytes + f->at;

	if (f->have_bytes - f->at < IPV6_BYTES || ip[0] >> 4 != 6)
		return false;
	f->source = f->at + 8;
	f->target = f->at + 24;
	f->next = ip[6];
	f->extended = is_extension(f->next);
	f->at += IPV6_BYTES;
	for (unsigned i = 0; is_extension(f->next); i++)
		if (i == EXTENSIONS_MAX || !skip_extension(f)) {
			f->next = HEADER_NONE;
			break;
		}
	return true;
}

static bool has_transport(const struct found *f, uint8_t header, uint32_t bytes)
{
	return f->next == header && f->at <= f->have_bytes && f->have_bytes - f->at >= bytes;
}

static void input_add(struct net_hash_input *input, const struct found *f, uint32_t at, uint32_t bytes)
{
	memcpy(input->bytes + input->len_bytes, f->bytes + at, bytes);
	input->len_bytes = (uint8_t)(input->len_bytes + bytes);
}

/* The first of TCP, UDP and addresses alone, in this order, that is enabled and there. */
static uint32_t type_of(const struct found *f, uint32_t enabled, uint32_t tcp, uint32_t udp, uint32_t ip)
{
	if (enabled & tcp && has_transport(f, HEADER_TCP, TCP_BYTES))
		return tcp;
	if (enabled & udp && has_transport(f, HEADER_UDP, UDP_BYTES))
		return udp;
	return enabled & ip;
}

static void input_fill(struct net_hash_input *input, const struct found *f, uint32_t type, uint32_t address_bytes)
{
	const uint32_t without_ports = NET_HASH_TYPE_IPV4 | NET_HASH_TYPE_IPV6 | NET_HASH_TYPE_IP_EX;
	const uint32_t extended = NET_HASH_TYPE_IP_EX | NET_HASH_TYPE_TCP_EX | NET_HASH_TYPE_UDP_EX;

	if (!type)
		return;
	input->report = (uint16_t)__builtin_ffs((int)type);
	input_add(input, f, type & extended && f->home ? f->home : f->source, address_bytes);
	input_add(input, f, type & extended && f->routed ? f->routed : f->target, address_bytes);
	if (!(type & without_ports))
		input_add(input, f, f->at, PORTS_BYTES);
}

void net_hash_input_of(const uint8_t *bytes, uint32_t have_bytes, uint32_t types, struct net_hash_input *ret_input)
{
	struct found f = { .bytes = bytes, .have_bytes = have_bytes, .next = HEADER_NONE };
	uint16_t ethertype = skip_link(&f);
	uint32_t type = 0;

	ret_input->report = NET_HASH_REPORT_NONE;
	ret_input->len_bytes = 0;
	if (ethertype == TYPE_IPV4 && look_ipv4(&f)) {
		type = type_of(&f, types, NET_HASH_TYPE_TCPV4, NET_HASH_TYPE_UDPV4, NET_HASH_TYPE_IPV4);
		input_fill(ret_input, &f, type, 4);
	} else if (ethertype == TYPE_IPV6 && look_ipv6(&f)) {
		if (f.extended)
			type = type_of(&f, types, NET_HASH_TYPE_TCP_EX, NET_HASH_TYPE_UDP_EX, NET_HASH_TYPE_IP_EX);
		if (!type)
			type = type_of(&f, types, NET_HASH_TYPE_TCPV6, NET_HASH_TYPE_UDPV6, NET_HASH_TYPE_IPV6);
		input_fill(ret_input, &f, type, ADDRESS6_BYTES);
	}
}

/* The 32 bits of the key that begin at one of its bits. */
static uint32_t window_at(const uint8_t key[NET_HASH_KEY_BYTES], unsigned bit)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 5; i++) /* 36 bytes of input: the last window begins at bit 287 */
		bits = bits << 8 | key[bit / 8 + i];
	return (uint32_t)(bits >> (8 - bit % 8));
}

void net_hash_table_fill(struct net_hash_table *table, const uint8_t key[NET_HASH_KEY_BYTES])
{
	for (unsigned i = 0; i < ARRAY_SIZE(table->words); i++) {
		uint32_t windows[4];

		for (unsigned bit = 0; bit < 4; bit++)
			windows[bit] = window_at(key, 4 * i + 3 - bit);
		for (unsigned value = 0; value < 16; value++) {
			uint32_t word = 0;

			for (unsigned bit = 0; bit < 4; bit++)
				word ^= value >> bit & 1 ? windows[bit] : 0;
			__atomic_store_n(&table->words[i][value], word, __ATOMIC_RELEASE);
		}
	}
}
