/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * What is no message about groups, by its own type, is none of our business, and is passed on as what it is: data, to the address that it
 * names. What is one has to be right in full, or is bad: lengths, addresses, checksum, and each record of a report before the first
 * of them is believed. Later readers trust what has been checked here.
 *
 * Nobody hides a message: in a fragment of IPv4 it is bad; in one of IPv6, or without the hop-by-hop header, hosts and routers do not take
 * it for one, and neither do we.
 */

#include "switch/membership.h"
#include "switch/checksum.h"
#include "switch/headers.h"
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define IPV4_BYTES   20u
#define IPV6_BYTES   40u
#define IGMP_BYTES   8u
#define IGMP3_QUERY_BYTES 12u
#define MLD_BYTES    24u
#define MLD2_QUERY_BYTES 28u
#define V1_RESPONSE_MS 10000u

enum { IGMP_QUERY = 0x11, IGMP1_REPORT = 0x12, IGMP2_REPORT = 0x16, IGMP2_LEAVE = 0x17, IGMP3_REPORT = 0x22 };
enum { MLD_QUERY = 130, MLD_REPORT = 131, MLD_DONE = 132, MLD2_REPORT = 143 };
enum { IS_INCLUDE = 1, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW_NEW, BLOCK_OLD };

struct look {
	const uint8_t *bytes;
	uint32_t have;
	bool summed;
	struct membership *ret;
};

/* A message, from its type on. */
struct message {
	uint32_t at, bytes;
	uint64_t sum; /* of the pseudo-header */
};

static bool is_mcast(const struct mcast_address *address)
{
	return address->family == 4 ? address->bytes[0] >> 4 == 0xe : address->bytes[0] == 0xff;
}

static struct mcast_address address_at(const uint8_t *at, uint8_t family)
{
	struct mcast_address address = {.family = family};

	memcpy(address.bytes, at, family == 4 ? 4 : 16);
	return address;
}

static bool is_zero(const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (bytes[i])
			return false;
	return true;
}

bool mcast_is_local(const struct mcast_address *address)
{
	static const uint8_t local4[3] = {224, 0, 0};

	if (address->family == 4)
		return memcmp(address->bytes, local4, sizeof(local4)) == 0;
	return address->bytes[0] == 0xff && ((address->bytes[1] & 0xf) == 1 || (address->bytes[1] & 0xf) == 2);
}

/* A number with a mantissa of so many bits, and three of an exponent (RFC 3376, 4.1.1; RFC 3810, 5.1.3). */
static uint32_t decode(uint32_t code, unsigned bits)
{
	uint32_t mantissa = code & ((1u << bits) - 1);

	return code >> (bits + 3) ? (mantissa | 1u << bits) << ((code >> bits & 7) + 3) : code;
}

static bool sum_is_right(const struct look *look, const struct message *m)
{
	return !look->summed || !checksum_fold(checksum_add(m->sum, look->bytes + m->at, m->bytes));
}

/* Of a record: its own header, and what lies behind that. */
static uint32_t record_bytes(const uint8_t *record, uint8_t family)
{
	uint32_t address_bytes = family == 4 ? 4 : 16;

	return 4 + address_bytes + load_be16(record + 2) * address_bytes + record[1] * 4u;
}

/* Each record lies in the message, and is about a group. */
static enum membership_kind check_records(const struct look *look, const struct message *m)
{
	uint32_t head_bytes = look->ret->family == 4 ? 8 : 20, end = m->at + m->bytes, at = m->at + 8;
	uint16_t records = load_be16(look->bytes + m->at + 6);

	for (unsigned i = 0; i < records; i++) {
		struct mcast_address group;

		if (end - at < head_bytes || end - at < record_bytes(look->bytes + at, look->ret->family))
			return MEMBERSHIP_BAD;
		group = address_at(look->bytes + at + 4, look->ret->family);
		if (!is_mcast(&group))
			return MEMBERSHIP_BAD;
		at += record_bytes(look->bytes + at, look->ret->family);
	}
	look->ret->records = records;
	look->ret->at = m->at + 8;
	return MEMBERSHIP_REPORT;
}

/* A message of an older version, about one group. */
static enum membership_kind one_group(const struct look *look, uint32_t group_at)
{
	struct mcast_address group = address_at(look->bytes + group_at, look->ret->family);

	look->ret->records = 1;
	look->ret->at = group_at;
	return is_mcast(&group) ? MEMBERSHIP_REPORT : MEMBERSHIP_BAD;
}

/* What a query is about: one group; or all, and then it goes to all hosts. */
static enum membership_kind check_asked(const struct look *look, uint32_t group_at, const uint8_t *all_hosts)
{
	uint8_t family = look->ret->family;
	struct mcast_address group = address_at(look->bytes + group_at, family);

	if (is_zero(group.bytes, sizeof(group.bytes)))
		return memcmp(look->ret->to.bytes, all_hosts, 16) == 0 ? MEMBERSHIP_QUERY : MEMBERSHIP_BAD;
	look->ret->group = group;
	return is_mcast(&group) ? MEMBERSHIP_QUERY : MEMBERSHIP_BAD;
}

/* ---- IGMP ---- */

static enum membership_kind check_igmp_query(const struct look *look, const struct message *m)
{
	static const uint8_t all_hosts[16] = {224, 0, 0, 1};
	const uint8_t *igmp = look->bytes + m->at;

	look->ret->response_ms = igmp[1] ? igmp[1] * 100u : V1_RESPONSE_MS;
	if (m->bytes > IGMP_BYTES) {
		if (m->bytes < IGMP3_QUERY_BYTES || m->bytes < IGMP3_QUERY_BYTES + 4u * load_be16(igmp + 10))
			return MEMBERSHIP_BAD;
		look->ret->response_ms = decode(igmp[1], 4) * 100;
	}
	return check_asked(look, m->at + 4, all_hosts);
}

static enum membership_kind check_igmp(const struct look *look, const struct message *m)
{
	uint8_t type;

	if (m->bytes < IGMP_BYTES)
		return MEMBERSHIP_BAD;
	type = look->ret->type = look->bytes[m->at];
	if (type != IGMP_QUERY && type != IGMP1_REPORT && type != IGMP2_REPORT && type != IGMP2_LEAVE && type != IGMP3_REPORT)
		return MEMBERSHIP_NONE;
	if (look->have < m->at + m->bytes)
		return MEMBERSHIP_MORE;
	if (!sum_is_right(look, m))
		return MEMBERSHIP_BAD;
	if (type == IGMP_QUERY)
		return check_igmp_query(look, m);
	return type == IGMP3_REPORT ? check_records(look, m) : one_group(look, m->at + 4);
}

static enum membership_kind check_ipv4(const struct look *look, uint32_t at, uint32_t end)
{
	const uint8_t *ip = look->bytes + at;
	uint32_t header_bytes, total;

	if (end - at < IPV4_BYTES)
		return MEMBERSHIP_NONE;
	if (look->have < at + IPV4_BYTES)
		return MEMBERSHIP_MORE;
	header_bytes = (ip[0] & 0xfu) * 4u;
	total = load_be16(ip + 2);
	if (ip[0] >> 4 != 4)
		return MEMBERSHIP_NONE;
	look->ret->to = address_at(ip + 16, 4);
	if (!is_mcast(&look->ret->to))
		look->ret->to.family = 0;
	if (ip[9] != IPPROTO_IGMP)
		return MEMBERSHIP_NONE;
	if (header_bytes < IPV4_BYTES || total < header_bytes || total > end - at || load_be16(ip + 6) & 0x3fff || !look->ret->to.family)
		return MEMBERSHIP_BAD;
	if (look->have < at + header_bytes + 1)
		return end > at + header_bytes ? MEMBERSHIP_MORE : MEMBERSHIP_BAD;
	look->ret->family = 4;
	memcpy(look->ret->source, ip + 12, 4);
	return check_igmp(look, &(struct message){.at = at + header_bytes, .bytes = total - header_bytes});
}

/* ---- MLD ---- */

static enum membership_kind check_mld_query(const struct look *look, const struct message *m)
{
	static const uint8_t all_hosts[16] = {0xff, 2, [15] = 1};
	const uint8_t *mld = look->bytes + m->at;

	look->ret->response_ms = load_be16(mld + 4);
	if (is_zero(look->ret->source, 16))
		return MEMBERSHIP_BAD;
	if (m->bytes > MLD_BYTES) {
		if (m->bytes < MLD2_QUERY_BYTES || m->bytes < MLD2_QUERY_BYTES + 16u * load_be16(mld + 26))
			return MEMBERSHIP_BAD;
		look->ret->response_ms = decode(load_be16(mld + 4), 12);
	}
	return check_asked(look, m->at + 8, all_hosts);
}

/* Routers forward none of these, and nobody from elsewhere says one (RFC 2710, 3; RFC 3810, 5). */
static bool is_from_link(const struct look *look, const uint8_t *ip)
{
	const uint8_t *source = look->ret->source;

	return ip[7] == 1 && ((source[0] == 0xfe && source[1] >> 6 == 2) || is_zero(source, 16));
}

static enum membership_kind check_mld(const struct look *look, const uint8_t *ip, const struct message *m)
{
	uint8_t type = look->ret->type = look->bytes[m->at];

	if (type != MLD_QUERY && type != MLD_REPORT && type != MLD_DONE && type != MLD2_REPORT)
		return MEMBERSHIP_NONE;
	if (m->bytes < (type == MLD2_REPORT ? 8 : MLD_BYTES) || !is_from_link(look, ip) || !look->ret->to.family)
		return MEMBERSHIP_BAD;
	if (look->have < m->at + m->bytes)
		return MEMBERSHIP_MORE;
	if (!sum_is_right(look, m))
		return MEMBERSHIP_BAD;
	if (type == MLD_QUERY)
		return check_mld_query(look, m);
	return type == MLD2_REPORT ? check_records(look, m) : one_group(look, m->at + 8);
}

static enum membership_kind check_hop_by_hop(const struct look *look, const uint8_t *ip, uint32_t at, uint32_t end)
{
	const uint8_t *options = look->bytes + at;
	struct message m;

	if (end - at < 8)
		return MEMBERSHIP_NONE;
	if (look->have < at + 8)
		return MEMBERSHIP_MORE;
	m.at = at + (options[1] + 1u) * 8u;
	if (options[0] != IPPROTO_ICMPV6 || m.at >= end)
		return MEMBERSHIP_NONE;
	if (look->have <= m.at)
		return MEMBERSHIP_MORE;
	m.bytes = end - m.at;
	m.sum = checksum_add(0, ip + 8, 32);
	m.sum = checksum_add_u16(checksum_add_u16(m.sum, (uint16_t)m.bytes), IPPROTO_ICMPV6);
	return check_mld(look, ip, &m);
}

static enum membership_kind check_ipv6(const struct look *look, uint32_t at, uint32_t end)
{
	const uint8_t *ip = look->bytes + at;

	if (end - at < IPV6_BYTES)
		return MEMBERSHIP_NONE;
	if (look->have < at + IPV6_BYTES)
		return MEMBERSHIP_MORE;
	if (ip[0] >> 4 != 6)
		return MEMBERSHIP_NONE;
	look->ret->to = address_at(ip + 24, 6);
	if (!is_mcast(&look->ret->to))
		look->ret->to.family = 0;
	if (ip[6] != IPPROTO_HOPOPTS || load_be16(ip + 4) > end - at - IPV6_BYTES)
		return MEMBERSHIP_NONE;
	look->ret->family = 6;
	memcpy(look->ret->source, ip + 8, 16);
	return check_hop_by_hop(look, ip, at + IPV6_BYTES, at + IPV6_BYTES + load_be16(ip + 4));
}

enum membership_kind membership_look(const uint8_t *bytes, uint32_t have_bytes, uint32_t len_bytes, uint32_t type_at, bool summed,
				     struct membership *ret)
{
	const struct look look = {bytes, have_bytes, summed, ret};

	memset(ret, 0, sizeof(*ret));
	if (len_bytes < type_at + 2)
		return MEMBERSHIP_NONE;
	if (have_bytes < type_at + 2)
		return MEMBERSHIP_MORE;
	switch (load_be16(bytes + type_at)) {
	case ETHERTYPE_IP:
		return check_ipv4(&look, type_at + 2, len_bytes);
	case ETHERTYPE_IPV6:
		return check_ipv6(&look, type_at + 2, len_bytes);
	default:
		return MEMBERSHIP_NONE;
	}
}

/* ---- reports ---- */

/* Members that name their sources are members all the same: who sends is none of our business. */
static enum membership_step record_says(uint8_t type, uint16_t sources)
{
	switch (type) {
	case IS_INCLUDE:
	case TO_INCLUDE:
		return sources ? MEMBERSHIP_JOIN : MEMBERSHIP_LEAVE;
	case IS_EXCLUDE:
	case TO_EXCLUDE:
		return MEMBERSHIP_JOIN;
	case ALLOW_NEW:
		return sources ? MEMBERSHIP_JOIN : MEMBERSHIP_END;
	default:
		return MEMBERSHIP_END;
	}
}

static bool of_one_group(const struct membership *report)
{
	return report->family == 4 ? report->type != IGMP3_REPORT : report->type != MLD2_REPORT;
}

enum membership_step membership_next(const uint8_t *bytes, struct membership *report, struct mcast_address *ret_group)
{
	if (of_one_group(report) && report->records) {
		report->records = 0;
		*ret_group = address_at(bytes + report->at, report->family);
		return report->type == IGMP2_LEAVE || report->type == MLD_DONE ? MEMBERSHIP_LEAVE : MEMBERSHIP_JOIN;
	}
	while (report->records) {
		const uint8_t *record = bytes + report->at;
		enum membership_step step = record_says(record[0], load_be16(record + 2));

		report->records--;
		report->at += record_bytes(record, report->family);
		if (step != MEMBERSHIP_END) {
			*ret_group = address_at(record + 4, report->family);
			return step;
		}
	}
	return MEMBERSHIP_END;
}
