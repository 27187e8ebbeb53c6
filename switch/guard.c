/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Who wants to get round a rule hides what it says: behind tags, in 802.3 frames with LLC or SNAP, behind IPv4 options, behind IPv6
 * extension headers, in fragments, or beyond the end of what is looked at. So all of these are looked through, up to a bound, and what
 * goes beyond the bound or is cut short is refused, not passed: a frame passes because it was understood, or because its type
 * is none that a rule is about.
 *
 * A later fragment cannot bring what the first one lacks: UDP's ports and ICMPv6's type lie in the first eight bytes, and a first fragment
 * without them is refused. Neighbour discovery in fragments is refused as a whole, which hosts do as well (RFC 6980).
 */

#include "switch/guard.h"
#include "switch/headers.h"
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define TYPE_AT        12u
#define SOURCE_AT      6u
#define MAC_BYTES      6u
#define TAG_BYTES      4u
#define LLC_BYTES      3u
#define SNAP_BYTES     8u
#define LENGTH_MAX     0x05ffu /* a type below is a length */
#define ARP_BYTES      28u
#define IPV4_BYTES     20u
#define IPV6_BYTES     40u
#define PORTS_BYTES    4u
#define EXTENSIONS_MAX 8u
#define ND_OPTION_BYTES 8u

enum { ND_RS = 133, ND_RA, ND_NS, ND_NA, ND_REDIRECT };
enum { MLD_REPORT = 131, MLD_DONE, MLD2_REPORT = 143 };
enum { OPTION_SOURCE = 1, OPTION_TARGET = 2 };

struct look {
	const struct sw_guard *guard;
	const uint8_t *bytes;
	uint32_t have, len;
	uint32_t *looked; /* the end of what has been needed so far */
};

/* PASS: bytes `at` to at + count - 1 can be looked at. */
static enum guard_verdict need(const struct look *look, uint32_t at, uint32_t count)
{
	if (at + count > *look->looked)
		*look->looked = at + count;
	if (at + count <= look->have)
		return GUARD_PASS;
	return at + count <= look->len ? GUARD_MORE : GUARD_UNREADABLE;
}

bool guard_wanted(const struct sw_guard *guard)
{
	return guard->address_count || guard->neighbours || guard->dhcp_servers || guard->routers;
}

/* Neighbours' tables are to be kept from lies. */
static bool keeps_neighbours(const struct sw_guard *guard)
{
	return guard->address_count || guard->neighbours;
}

static bool prefix_has(const struct sw_prefix *prefix, const uint8_t *address)
{
	unsigned bytes = prefix->bits / 8u, rest = prefix->bits % 8u;

	if (memcmp(prefix->address, address, bytes) != 0)
		return false;
	return !rest || !((prefix->address[bytes] ^ address[bytes]) >> (8 - rest));
}

static bool is_own(const struct sw_guard *guard, unsigned family, const uint8_t *address)
{
	for (unsigned i = 0; i < guard->address_count; i++)
		if (guard->addresses[i].family == family && prefix_has(&guard->addresses[i], address))
			return true;
	return !guard->address_count;
}

static bool is_zero(const uint8_t *address, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		if (address[i])
			return false;
	return true;
}

static bool is_source(const struct look *look, const uint8_t *mac)
{
	return memcmp(mac, look->bytes + SOURCE_AT, MAC_BYTES) == 0;
}

/* ---- ARP and RARP ---- */

/* Who has no address yet asks whether another has the one that it is to get (RFC 5227), or for its own (RFC 903). */
static bool asks_without_address(const struct look *look, const uint8_t *arp, bool reverse)
{
	uint16_t operation = load_be16(arp + 6);

	if (reverse)
		return operation == 3;
	return operation == 1 && is_own(look->guard, 4, arp + 24);
}

static enum guard_verdict check_arp(const struct look *look, uint32_t at, bool reverse)
{
	const uint8_t *arp = look->bytes + at;
	enum guard_verdict there;

	if (!keeps_neighbours(look->guard))
		return GUARD_PASS;
	there = need(look, at, ARP_BYTES);
	if (there)
		return there;
	if (load_be16(arp + 2) != ETHERTYPE_IP || arp[4] != MAC_BYTES || arp[5] != 4)
		return GUARD_ARP;
	if (!is_source(look, arp + 8))
		return GUARD_ARP;
	if (!look->guard->address_count)
		return GUARD_PASS;
	if (is_zero(arp + 14, 4))
		return asks_without_address(look, arp, reverse) ? GUARD_PASS : GUARD_ARP;
	return is_own(look->guard, 4, arp + 14) ? GUARD_PASS : GUARD_ARP;
}

/* ---- IPv4 ---- */

/* UDP of the first fragment. A source of 0 is a DHCP client's. */
static enum guard_verdict check_udp4(const struct look *look, uint32_t at, bool nobody)
{
	enum guard_verdict there = need(look, at, PORTS_BYTES);
	uint16_t from, to;

	if (there)
		return there;
	from = load_be16(look->bytes + at);
	to = load_be16(look->bytes + at + 2);
	if (look->guard->dhcp_servers && (from == 67 || to == 68))
		return GUARD_DHCP;
	return nobody && (from != 68 || to != 67) ? GUARD_IP : GUARD_PASS;
}

static enum guard_verdict check_ipv4(const struct look *look, uint32_t at)
{
	const uint8_t *ip = look->bytes + at;
	enum guard_verdict there = need(look, at, IPV4_BYTES);
	bool nobody;

	if (there)
		return there;
	if (ip[0] >> 4 != 4 || (ip[0] & 0xf) < 5)
		return GUARD_UNREADABLE;
	nobody = look->guard->address_count && is_zero(ip + 12, 4);
	if (!nobody && !is_own(look->guard, 4, ip + 12))
		return GUARD_IP;
	if (ip[9] != IPPROTO_UDP || load_be16(ip + 6) & 0x1fff)
		return nobody ? GUARD_IP : GUARD_PASS;
	if (!nobody && !look->guard->dhcp_servers)
		return GUARD_PASS;
	return check_udp4(look, at + (ip[0] & 0xfu) * 4u, nobody);
}

/* ---- IPv6 ---- */

/* An IPv6 packet on its way through its headers. */
struct packet {
	uint32_t at, end;
	uint8_t next;
	bool nobody; /* the source is the unspecified address */
	bool fragment, later; /* of several; and not the first */
};

/* Options tell the sender's own link-layer address, or that of the target. */
static enum guard_verdict check_options(const struct look *look, const struct packet *p, uint32_t at, uint8_t kind)
{
	while (at + 2 <= p->end) {
		enum guard_verdict there = need(look, at, 2);
		const uint8_t *option = look->bytes + at;
		uint32_t bytes;

		if (there)
			return there;
		bytes = option[1] * 8u;
		if (!bytes || at + bytes > p->end)
			return GUARD_ND;
		there = option[0] == kind ? need(look, at, ND_OPTION_BYTES) : GUARD_PASS;
		if (there)
			return there;
		if (option[0] == kind && (bytes != ND_OPTION_BYTES || p->nobody || !is_source(look, option + 2)))
			return GUARD_ND;
		at += bytes;
	}
	return GUARD_PASS;
}

static enum guard_verdict check_nd(const struct look *look, const struct packet *p, uint8_t type)
{
	static const uint8_t fixed_bytes[] = {8, 16, 24, 24, 40}; /* from ND_RS on */
	uint8_t kind = type == ND_NA || type == ND_REDIRECT ? OPTION_TARGET : OPTION_SOURCE;
	uint32_t bytes = fixed_bytes[type - ND_RS];
	bool target = type == ND_NA || (type == ND_NS && p->nobody);
	enum guard_verdict there;

	if (p->fragment)
		return GUARD_ND;
	if (p->nobody && type != ND_NS && type != ND_RS)
		return GUARD_IP;
	there = need(look, p->at, bytes);
	if (there)
		return there;
	if (target && !is_own(look->guard, 6, look->bytes + p->at + 8))
		return GUARD_ND;
	return check_options(look, p, p->at + bytes, kind);
}

static enum guard_verdict check_icmp6(const struct look *look, const struct packet *p)
{
	enum guard_verdict there = need(look, p->at, PORTS_BYTES);
	uint8_t type;

	if (there)
		return there;
	type = look->bytes[p->at];
	if (look->guard->routers && (type == ND_RA || type == ND_REDIRECT))
		return GUARD_ROUTER;
	if (type >= ND_RS && type <= ND_REDIRECT && keeps_neighbours(look->guard))
		return check_nd(look, p, type);
	if (p->nobody && type != MLD_REPORT && type != MLD_DONE && type != MLD2_REPORT)
		return GUARD_IP;
	return GUARD_PASS;
}

static enum guard_verdict check_udp6(const struct look *look, const struct packet *p)
{
	enum guard_verdict there;

	if (p->nobody)
		return GUARD_IP;
	if (!look->guard->dhcp_servers)
		return GUARD_PASS;
	there = need(look, p->at, PORTS_BYTES);
	if (there)
		return there;
	if (load_be16(look->bytes + p->at) == 547 || load_be16(look->bytes + p->at + 2) == 546)
		return GUARD_DHCP;
	return GUARD_PASS;
}

static bool extension_is_next(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_AH;
}

/* RFC 8200, 4; RFC 4302, 2.2 */
static enum guard_verdict pass_extension(const struct look *look, struct packet *p)
{
	const uint8_t *header = look->bytes + p->at;
	enum guard_verdict there = need(look, p->at, 8);
	uint8_t type = p->next;

	if (there)
		return there;
	p->next = header[0];
	if (type == IPPROTO_FRAGMENT) {
		p->fragment |= (load_be16(header + 2) & 0xfff9) != 0;
		p->later |= (load_be16(header + 2) & 0xfff8) != 0;
		p->at += 8;
	} else {
		p->at += type == IPPROTO_AH ? (header[1] + 2u) * 4u : (header[1] + 1u) * 8u;
	}
	return GUARD_PASS;
}

static enum guard_verdict check_headers(const struct look *look, struct packet *p)
{
	enum guard_verdict there = GUARD_PASS;

	for (unsigned i = 0; i < EXTENSIONS_MAX && !there && !p->later && extension_is_next(p->next); i++)
		there = pass_extension(look, p);
	if (there)
		return there;
	if (p->later)
		return p->nobody ? GUARD_IP : GUARD_PASS;
	if (extension_is_next(p->next))
		return GUARD_UNREADABLE;
	if (p->next == IPPROTO_ICMPV6)
		return check_icmp6(look, p);
	if (p->next == IPPROTO_UDP)
		return check_udp6(look, p);
	return p->nobody ? GUARD_IP : GUARD_PASS;
}

static enum guard_verdict check_ipv6(const struct look *look, uint32_t at)
{
	const uint8_t *ip = look->bytes + at;
	enum guard_verdict there = need(look, at, IPV6_BYTES);
	struct packet p = {.at = at + IPV6_BYTES, .end = look->len};
	uint32_t end;

	if (there)
		return there;
	if (ip[0] >> 4 != 6)
		return GUARD_UNREADABLE;
	p.nobody = look->guard->address_count && is_zero(ip + 8, 16);
	if (!p.nobody && !is_own(look->guard, 6, ip + 8))
		return GUARD_IP;
	p.next = ip[6];
	end = p.at + load_be16(ip + 4);
	if (end > p.at && end < p.end)
		p.end = end;
	return check_headers(look, &p);
}

/* ---- what the frame carries ---- */

static bool is_tag(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200 || type == 0x9300;
}

static enum guard_verdict check_type(const struct look *look, uint16_t type, uint32_t at)
{
	switch (type) {
	case ETHERTYPE_ARP:
	case ETHERTYPE_REVARP:
		return check_arp(look, at, type == ETHERTYPE_REVARP);
	case ETHERTYPE_IP:
		return check_ipv4(look, at);
	case ETHERTYPE_IPV6:
		return check_ipv6(look, at);
	default:
		return is_tag(type) ? GUARD_UNREADABLE : GUARD_PASS;
	}
}

/* IEEE 802.3 with LLC: IPv4 has a number of its own there, and by SNAP there are all types (RFC 1042; 0000f8: IEEE 802.1H). */
static enum guard_verdict check_llc(const struct look *look, uint32_t at)
{
	const uint8_t *llc = look->bytes + at;
	enum guard_verdict there;

	if (at + LLC_BYTES > look->len)
		return GUARD_PASS;
	there = need(look, at, LLC_BYTES);
	if (there)
		return there;
	if ((llc[0] & 0xfe) == 0x06)
		return check_ipv4(look, at + LLC_BYTES);
	if ((llc[0] & 0xfe) != 0xaa)
		return GUARD_PASS;
	there = need(look, at, SNAP_BYTES);
	if (there)
		return there;
	if (llc[3] || llc[4] || (llc[5] && llc[5] != 0xf8))
		return GUARD_PASS;
	return check_type(look, load_be16(llc + 6), at + SNAP_BYTES);
}

enum guard_verdict guard_check(const struct sw_guard *guard, const uint8_t *bytes, uint32_t have_bytes, uint32_t len_bytes,
			       uint32_t *ret_looked)
{
	const struct look look = {guard, bytes, have_bytes, len_bytes, ret_looked};
	enum guard_verdict there;
	uint32_t at = TYPE_AT;

	*ret_looked = 0;
	for (unsigned tags = 0;; tags++, at += TAG_BYTES) {
		there = need(&look, at, 2);
		if (there)
			return there;
		if (!is_tag(load_be16(bytes + at)))
			break;
		if (tags == HEADERS_VLAN_TAGS_MAX)
			return GUARD_UNREADABLE;
	}
	if (load_be16(bytes + at) <= LENGTH_MAX)
		return check_llc(&look, at + 2);
	return check_type(&look, load_be16(bytes + at), at + 2);
}
