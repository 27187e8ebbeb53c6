/* SPDX-License-Identifier: BSD-3-Clause */

/* What is hashed of a frame, and the hash: against the values that Microsoft publishes for drivers to be verified with. */

#include "wire/net_hash.h"
#include "base/util.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* "Verifying the RSS hash calculation", Windows driver documentation. */
static const uint8_t key[NET_HASH_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct vector {
	int family;
	const char *target, *source;
	uint16_t target_port, source_port;
	uint32_t addresses, tcp;
} vectors[] = {
	{ AF_INET, "161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178 },
	{ AF_INET, "65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea },
	{ AF_INET, "12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a },
	{ AF_INET, "209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f },
	{ AF_INET, "202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2 },
	{ AF_INET6, "3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794, 0x2cc18cd5, 0x40207d3d },
	{ AF_INET6, "ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230, 0x0f0c461c, 0xdde51bbf },
	{ AF_INET6, "fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 38024, 44251, 0x4b61e985, 0x02d1feef },
};

#define FRAME_MAX 256u
#define TCP	  6u
#define UDP	  17u
#define HOPS	  0u
#define ROUTING	  43u
#define FRAGMENT  44u
#define DESTS	  60u
#define NOTHING	  59u

struct frame {
	uint8_t bytes[FRAME_MAX];
	uint32_t len;
};

static void put(struct frame *f, const void *bytes, uint32_t count)
{
	memcpy(f->bytes + f->len, bytes, count);
	f->len += count;
}

static void put16(struct frame *f, uint16_t value)
{
	put(f, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void frame_begin(struct frame *f, unsigned tags, uint16_t type)
{
	*f = (struct frame){ .len = 12 };
	for (unsigned i = 0; i < tags; i++) {
		put16(f, i ? 0x8100 : 0x88a8);
		put16(f, 7);
	}
	put16(f, type);
}

static void put_ipv4(struct frame *f, const struct vector *v, uint8_t protocol, uint16_t fragment, unsigned options)
{
	uint8_t ip[60] = { (uint8_t)(0x45 + options) };

	ip[6] = (uint8_t)(fragment >> 8);
	ip[7] = (uint8_t)fragment;
	ip[9] = protocol;
	assert_int_equal(inet_pton(AF_INET, v->source, ip + 12), 1);
	assert_int_equal(inet_pton(AF_INET, v->target, ip + 16), 1);
	put(f, ip, 20 + 4 * options);
}

static void put_ipv6(struct frame *f, const struct vector *v, uint8_t next)
{
	uint8_t ip[40] = { 0x60, [6] = next };

	assert_int_equal(inet_pton(AF_INET6, v->source, ip + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, v->target, ip + 24), 1);
	put(f, ip, sizeof(ip));
}

static void put_transport(struct frame *f, const struct vector *v, bool tcp)
{
	static const uint8_t rest[16];

	put16(f, v->source_port);
	put16(f, v->target_port);
	put(f, rest, tcp ? 16 : 4);
}

static void vector_frame(struct frame *f, const struct vector *v, bool tcp)
{
	frame_begin(f, 0, v->family == AF_INET ? 0x0800 : 0x86dd);
	if (v->family == AF_INET)
		put_ipv4(f, v, tcp ? TCP : UDP, 0, 0);
	else
		put_ipv6(f, v, tcp ? TCP : UDP);
	put_transport(f, v, tcp);
}

static uint32_t hash_of(const struct frame *f, uint32_t types, uint16_t *ret_report)
{
	struct net_hash_table table;
	struct net_hash_input input;

	net_hash_table_fill(&table, key);
	net_hash_input_of(f->bytes, f->len, types, &input);
	*ret_report = input.report;
	return net_hash_of(&table, &input);
}

static void has(const struct frame *f, uint32_t types, uint32_t type, uint32_t hash)
{
	uint16_t report;

	assert_int_equal(hash_of(f, types, &report), hash);
	assert_int_equal(report ? 1u << (report - 1) : 0, type);
}

static void has_none(const struct frame *f, uint32_t types)
{
	has(f, types, 0, 0);
}

static void hashes_are_those_that_are_published(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		bool four = v->family == AF_INET;
		struct frame f;

		vector_frame(&f, v, true);
		has(&f, NET_HASH_TYPES_ALL, four ? NET_HASH_TYPE_TCPV4 : NET_HASH_TYPE_TCPV6, v->tcp);
		has(&f, NET_HASH_TYPE_IPV4 | NET_HASH_TYPE_IPV6, four ? NET_HASH_TYPE_IPV4 : NET_HASH_TYPE_IPV6, v->addresses);
		vector_frame(&f, v, false); /* of the same numbers */
		has(&f, NET_HASH_TYPES_ALL, four ? NET_HASH_TYPE_UDPV4 : NET_HASH_TYPE_UDPV6, v->tcp);
	}
}

static void type_that_is_not_enabled_falls_back_to_addresses_or_to_none(void **state)
{
	const struct vector *four = &vectors[0], *six = &vectors[5];
	struct frame f;

	vector_frame(&f, four, true);
	has(&f, NET_HASH_TYPE_UDPV4 | NET_HASH_TYPE_IPV4, NET_HASH_TYPE_IPV4, four->addresses);
	has_none(&f, NET_HASH_TYPE_UDPV4);
	has_none(&f, NET_HASH_TYPES_ALL & ~(NET_HASH_TYPE_IPV4 | NET_HASH_TYPE_TCPV4));
	vector_frame(&f, four, false);
	has(&f, NET_HASH_TYPE_TCPV4 | NET_HASH_TYPE_IPV4, NET_HASH_TYPE_IPV4, four->addresses);
	vector_frame(&f, six, true);
	has(&f, NET_HASH_TYPE_UDPV6 | NET_HASH_TYPE_IPV6, NET_HASH_TYPE_IPV6, six->addresses);
	/* 5.1.6.4.3.3: those of extension headers are of packets that have some. */
	has_none(&f, NET_HASH_TYPE_TCP_EX | NET_HASH_TYPE_IP_EX);
	has_none(&f, 0);
}

static void tags_and_options_are_looked_through(void **state)
{
	const struct vector *v = &vectors[1];
	struct frame f;

	for (unsigned tags = 0; tags < 4; tags++) {
		frame_begin(&f, tags, 0x0800);
		put_ipv4(&f, v, TCP, 0, 10);
		put_transport(&f, v, true);
		if (tags <= 2)
			has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_TCPV4, v->tcp);
		else
			has_none(&f, NET_HASH_TYPES_ALL);
	}
}

static void all_fragments_have_the_hash_of_their_addresses(void **state)
{
	const uint16_t parts[] = { 0x2000, 0x20b9, 0x00b9 };
	const struct vector *four = &vectors[2], *six = &vectors[6];
	struct frame f;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		frame_begin(&f, 0, 0x0800);
		put_ipv4(&f, four, UDP, parts[i], 0);
		put_transport(&f, four, false);
		has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_IPV4, four->addresses);
		frame_begin(&f, 0, 0x86dd);
		put_ipv6(&f, six, FRAGMENT);
		put(&f, (uint8_t[]){ UDP, 0 }, 2);
		put16(&f, (uint16_t)((parts[i] & 0x1fff) << 3 | parts[i] >> 13));
		put(&f, "\0\0\0\1", 4);
		put_transport(&f, six, false);
		has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_IP_EX, six->addresses);
		has(&f, NET_HASH_TYPES_ALL & ~NET_HASH_TYPE_IP_EX, NET_HASH_TYPE_IPV6, six->addresses);
	}
	frame_begin(&f, 0, 0x86dd); /* the only part of its datagram */
	put_ipv6(&f, six, FRAGMENT);
	put(&f, (uint8_t[]){ UDP, 0, 0, 0, 0, 0, 0, 1 }, 8);
	put_transport(&f, six, false);
	has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_UDP_EX, six->tcp);
}

/* An address as an option of a destination options header, and one as a routing header of type 2. */
static void put_home(struct frame *f, uint8_t next, const char *home)
{
	uint8_t header[24] = { next, 2, 1, 2, 0, 0, 0xc9, 16 };

	assert_int_equal(inet_pton(AF_INET6, home, header + 8), 1);
	put(f, header, sizeof(header));
}

static void put_routing(struct frame *f, uint8_t next, const char *target, uint8_t type)
{
	uint8_t header[24] = { next, 2, type, 1 };

	assert_int_equal(inet_pton(AF_INET6, target, header + 8), 1);
	put(f, header, sizeof(header));
}

static void addresses_of_extension_headers_are_hashed_where_that_is_enabled(void **state)
{
	const struct vector *v = &vectors[7];
	const struct vector care = { AF_INET6, "2001:db8::1", "2001:db8::2", 0, 0, 0, 0 };

	for (unsigned tcp = 0; tcp < 2; tcp++) {
		uint32_t ex = tcp ? NET_HASH_TYPE_TCP_EX : NET_HASH_TYPE_UDP_EX;
		struct frame f;
		uint16_t report;

		frame_begin(&f, 0, 0x86dd);
		put_ipv6(&f, &care, ROUTING);
		put_routing(&f, DESTS, v->target, 2);
		put_home(&f, tcp ? TCP : UDP, v->source);
		put_transport(&f, v, tcp);
		has(&f, NET_HASH_TYPES_ALL, ex, v->tcp);
		has(&f, NET_HASH_TYPES_ALL & ~ex, NET_HASH_TYPE_IP_EX, v->addresses);
		/* "Else skip IPv6 extension headers": 5.1.6.4.3.4. */
		assert_int_not_equal(hash_of(&f, 0x3f, &report), v->tcp);
		assert_int_equal(report, tcp ? 5 : 6);
	}
}

static void headers_that_name_no_address_leave_those_of_the_packet(void **state)
{
	const struct vector *v = &vectors[5];
	struct frame f;

	frame_begin(&f, 0, 0x86dd);
	put_ipv6(&f, v, HOPS);
	put(&f, (uint8_t[]){ ROUTING, 0, 1, 4, 0, 0, 0, 0 }, 8);
	put_routing(&f, DESTS, "2001:db8::1", 0); /* of another type */
	put(&f, (uint8_t[]){ TCP, 0, 0, 0, 0, 1, 1, 0 }, 8); /* padding of both sorts */
	put_transport(&f, v, true);
	has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_TCP_EX, v->tcp);
	has(&f, 0x3f, NET_HASH_TYPE_TCPV6, v->tcp);
}

static void headers_that_lie_end_the_search(void **state)
{
	const struct vector *v = &vectors[5];
	struct frame f;

	for (unsigned which = 0; which < 4; which++) {
		frame_begin(&f, 0, 0x86dd);
		put_ipv6(&f, v, DESTS);
		put(&f, (uint8_t[]){ TCP, which == 0 ? 255 : 0, 0xc9, which == 1 ? 16 : 255, 0, 0, 0, 0 }, 8); /* beyond the header */
		if (which < 3)
			put_transport(&f, v, true);
		else
			f.len -= 4; /* the header itself is cut short */
		has(&f, NET_HASH_TYPES_ALL, which == 0 || which == 3 ? NET_HASH_TYPE_IP_EX : NET_HASH_TYPE_TCP_EX,
		    which == 0 || which == 3 ? v->addresses : v->tcp);
	}
	frame_begin(&f, 0, 0x86dd); /* more of them than anybody sends */
	put_ipv6(&f, v, DESTS);
	for (unsigned i = 0; i < 9; i++)
		put(&f, (uint8_t[]){ i == 8 ? TCP : DESTS, 0, 1, 4, 0, 0, 0, 0 }, 8);
	put_transport(&f, v, true);
	has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_IP_EX, v->addresses);
	frame_begin(&f, 0, 0x0800);
	put_ipv4(&f, &vectors[0], TCP, 0, 0);
	f.bytes[14] = 0x44; /* shorter than a header can be */
	has_none(&f, NET_HASH_TYPES_ALL);
	f.bytes[14] = 0x65;
	has_none(&f, NET_HASH_TYPES_ALL);
	f.bytes[14] = 0x4f; /* longer than the frame */
	has(&f, NET_HASH_TYPES_ALL, NET_HASH_TYPE_IPV4, vectors[0].addresses);
}

/* Each length that a frame may be cut to, in memory that ends there. */
static void frame_may_end_anywhere(void **state)
{
	const struct vector *v = &vectors[7];
	struct frame f;

	frame_begin(&f, 2, 0x86dd);
	put_ipv6(&f, v, ROUTING);
	put_routing(&f, DESTS, v->target, 2);
	put_home(&f, TCP, v->source);
	put_transport(&f, v, true);
	for (uint32_t len = 14; len <= f.len; len++) {
		uint8_t *exact = test_malloc(len);
		struct net_hash_input input;

		memcpy(exact, f.bytes, len);
		net_hash_input_of(exact, len, NET_HASH_TYPES_ALL, &input);
		assert_int_equal(input.report, len < 22 + 40 ? 0 : len == f.len ? 8 : 7);
		test_free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_those_that_are_published),
		cmocka_unit_test(type_that_is_not_enabled_falls_back_to_addresses_or_to_none),
		cmocka_unit_test(tags_and_options_are_looked_through),
		cmocka_unit_test(all_fragments_have_the_hash_of_their_addresses),
		cmocka_unit_test(addresses_of_extension_headers_are_hashed_where_that_is_enabled),
		cmocka_unit_test(headers_that_name_no_address_leave_those_of_the_packet),
		cmocka_unit_test(headers_that_lie_end_the_search),
		cmocka_unit_test(frame_may_end_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
