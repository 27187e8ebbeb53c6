/* SPDX-License-Identifier: BSD-3-Clause */

/* A guest tries to get round each rule. Frames are built layer by layer, so that each can be hidden in another. */

#include "switch/guard.h"
#include "switch/headers.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants those above */
#include <cmocka.h>

#define OWN    0x0a000005u /* 10.0.0.5 */
#define OTHERS 0x0a000006u

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 5}, others_mac[6] = {2, 0, 0, 0, 0, 6};
static const uint8_t own6[16] = {0x20, 1, 0xd, 0xb8, [15] = 5}, others6[16] = {0x20, 1, 0xd, 0xb8, [15] = 6};
static const uint8_t link6[16] = {0xfe, 0x80, [15] = 5}, nobody6[16];

static const struct sw_guard addresses = {
	.addresses = {{4, 32, {10, 0, 0, 5}}, {6, 128, {0x20, 1, 0xd, 0xb8, [15] = 5}}, {6, 10, {0xfe, 0x80}}},
	.address_count = 3,
};
static const struct sw_guard four_only = {.addresses = {{4, 24, {10, 0, 0}}}, .address_count = 1};
static const struct sw_guard neighbours = {.neighbours = true};
static const struct sw_guard dhcp = {.dhcp_servers = true}, router = {.routers = true};

struct bytes {
	uint32_t count;
	uint8_t at[2048];
};

static void put(struct bytes *b, const void *data, uint32_t count)
{
	memcpy(b->at + b->count, data, count);
	b->count += count;
}

static void put16(struct bytes *b, uint16_t value)
{
	put(b, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put32(struct bytes *b, uint32_t value)
{
	put16(b, (uint16_t)(value >> 16));
	put16(b, (uint16_t)value);
}

static void put_zeros(struct bytes *b, uint32_t count)
{
	static const uint8_t zeros[512];

	put(b, zeros, count);
}

static struct bytes ethernet(void)
{
	struct bytes b = {0};

	put(&b, (uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 6);
	put(&b, own_mac, 6);
	return b;
}

/* The verdict, and that it does not depend on how much is seen at first. */
static enum guard_verdict ask(const struct sw_guard *guard, const struct bytes *b)
{
	uint32_t looked;
	enum guard_verdict whole = guard_check(guard, b->at, b->count, b->count, &looked);

	for (uint32_t have = 14; have < b->count; have++) {
		enum guard_verdict part = guard_check(guard, b->at, have, b->count, &looked);

		assert_true(part == whole || part == GUARD_MORE);
	}
	assert_int_not_equal(whole, GUARD_MORE);
	return whole;
}

/* ---- layers ---- */

static void put_arp(struct bytes *b, uint16_t operation, const uint8_t *mac, uint32_t sender, uint32_t target)
{
	put(b, (uint8_t[]){0, 1, 8, 0, 6, 4}, 6);
	put16(b, operation);
	put(b, mac, 6);
	put32(b, sender);
	put_zeros(b, 6);
	put32(b, target);
}

static struct bytes arp(uint16_t operation, const uint8_t *mac, uint32_t sender, uint32_t target)
{
	struct bytes b = ethernet();

	put16(&b, 0x0806);
	put_arp(&b, operation, mac, sender, target);
	return b;
}

static void put_ipv4(struct bytes *b, uint32_t source, uint8_t protocol, uint16_t fragment, unsigned options)
{
	put(b, (uint8_t[]){(uint8_t)(0x45 + options), 0}, 2);
	put16(b, (uint16_t)(28 + 4 * options));
	put16(b, 1);
	put16(b, fragment);
	put(b, (uint8_t[]){64, protocol, 0, 0}, 4);
	put32(b, source);
	put32(b, OTHERS);
	put_zeros(b, 4 * options);
}

static void put_udp(struct bytes *b, uint16_t from, uint16_t to)
{
	put16(b, from);
	put16(b, to);
	put_zeros(b, 20);
}

static struct bytes udp4(uint32_t source, uint16_t from, uint16_t to)
{
	struct bytes b = ethernet();

	put16(&b, 0x0800);
	put_ipv4(&b, source, 17, 0, 0);
	put_udp(&b, from, to);
	return b;
}

static struct bytes ipv6(const uint8_t *source, uint8_t next, uint16_t payload)
{
	struct bytes b = ethernet();

	put16(&b, 0x86dd);
	put32(&b, 0x60000000);
	put16(&b, payload);
	put(&b, (uint8_t[]){next, 255}, 2);
	put(&b, source, 16);
	put(&b, (uint8_t[16]){0xff, 2, [15] = 1}, 16);
	return b;
}

/* With an option, if that has a kind. */
static void put_nd(struct bytes *b, uint8_t type, const uint8_t *target, uint8_t option, const uint8_t *mac)
{
	put(b, (uint8_t[]){type, 0, 0, 0, 0, 0, 0, 0}, 8);
	if (type == 134)
		put_zeros(b, 8);
	if (target)
		put(b, target, 16);
	if (option) {
		put(b, (uint8_t[]){option, 1}, 2);
		put(b, mac, 6);
	}
}

static struct bytes nd(const uint8_t *source, uint8_t type, const uint8_t *target, uint8_t option, const uint8_t *mac)
{
	struct bytes b = ipv6(source, 58, 0);

	put_nd(&b, type, target, option, mac);
	b.at[19] = (uint8_t)(b.count - 54);
	return b;
}

static struct bytes tagged(const struct bytes *frame, unsigned tags, uint16_t type)
{
	struct bytes b = {0};

	put(&b, frame->at, 12);
	for (unsigned i = 0; i < tags; i++) {
		put16(&b, type);
		put16(&b, 5);
	}
	put(&b, frame->at + 12, frame->count - 12);
	return b;
}

static struct bytes in_snap(const struct bytes *frame, uint8_t oui)
{
	struct bytes b = {0};

	put(&b, frame->at, 12);
	put16(&b, (uint16_t)(frame->count - 12 + 6));
	put(&b, (uint8_t[]){0xaa, 0xaa, 3, 0, 0, oui}, 6);
	put(&b, frame->at + 12, frame->count - 12);
	return b;
}

static void assert_verdict(const struct sw_guard *guard, struct bytes frame, enum guard_verdict expected)
{
	static const uint16_t types[] = {0x8100, 0x88a8, 0x9100};

	assert_int_equal(ask(guard, &frame), expected);
	for (unsigned i = 0; i < 3; i++) {
		struct bytes one = tagged(&frame, 1, types[i]), two = tagged(&frame, 2, types[i]), three = tagged(&frame, 3, types[i]);

		assert_int_equal(ask(guard, &one), expected);
		assert_int_equal(ask(guard, &two), expected);
		assert_int_equal(ask(guard, &three), GUARD_UNREADABLE);
	}
}

/* ---- tests ---- */

static void own_frames_pass(void **state)
{
	assert_verdict(&addresses, arp(1, own_mac, OWN, OTHERS), GUARD_PASS);
	assert_verdict(&addresses, arp(2, own_mac, OWN, OTHERS), GUARD_PASS);
	assert_verdict(&addresses, arp(1, own_mac, OWN, OWN), GUARD_PASS); /* gratuitous */
	assert_verdict(&addresses, udp4(OWN, 1000, 53), GUARD_PASS);
	assert_verdict(&addresses, nd(own6, 135, others6, 1, own_mac), GUARD_PASS);
	assert_verdict(&addresses, nd(own6, 136, own6, 2, own_mac), GUARD_PASS);
	assert_verdict(&addresses, nd(link6, 133, NULL, 1, own_mac), GUARD_PASS);
	assert_verdict(&addresses, nd(link6, 134, NULL, 1, own_mac), GUARD_PASS);
}

static void who_has_no_address_yet_may_ask(void **state)
{
	assert_verdict(&addresses, udp4(0, 68, 67), GUARD_PASS);
	assert_verdict(&addresses, arp(1, own_mac, 0, OWN), GUARD_PASS);
	assert_verdict(&addresses, nd(nobody6, 135, own6, 0, NULL), GUARD_PASS);
	assert_verdict(&addresses, nd(nobody6, 133, NULL, 0, NULL), GUARD_PASS);
	assert_verdict(&addresses, nd(nobody6, 143, NULL, 0, NULL), GUARD_PASS);
	/* and say nothing else */
	assert_verdict(&addresses, udp4(0, 68, 53), GUARD_IP);
	assert_verdict(&addresses, udp4(0, 1000, 67), GUARD_IP);
	assert_verdict(&addresses, arp(1, own_mac, 0, OTHERS), GUARD_ARP); /* it would keep another from its address */
	assert_verdict(&addresses, arp(2, own_mac, 0, OWN), GUARD_ARP);
	assert_verdict(&addresses, nd(nobody6, 135, others6, 0, NULL), GUARD_ND);
	assert_verdict(&addresses, nd(nobody6, 135, own6, 1, own_mac), GUARD_ND);
	assert_verdict(&addresses, nd(nobody6, 136, own6, 2, own_mac), GUARD_IP);
	assert_verdict(&addresses, nd(nobody6, 134, NULL, 0, NULL), GUARD_IP);
	assert_verdict(&addresses, nd(nobody6, 128, NULL, 0, NULL), GUARD_IP);
	assert_verdict(&addresses, ipv6(nobody6, 6, 20), GUARD_IP);
}

static void another_hosts_address_is_refused(void **state)
{
	struct bytes fragment = ethernet();

	assert_verdict(&addresses, udp4(OTHERS, 1000, 53), GUARD_IP);
	assert_verdict(&addresses, ipv6(others6, 6, 0), GUARD_IP);
	assert_verdict(&four_only, udp4(0x0a000107, 1, 2), GUARD_IP);
	assert_verdict(&four_only, udp4(0x0a0000ff, 1, 2), GUARD_PASS);
	assert_verdict(&four_only, ipv6(own6, 6, 0), GUARD_IP); /* no address of the family is in the list */
	put16(&fragment, 0x0800);
	put_ipv4(&fragment, OTHERS, 17, 100, 3);
	assert_verdict(&addresses, fragment, GUARD_IP);
}

static void another_hosts_arp_is_refused(void **state)
{
	struct bytes reverse = ethernet(), odd = arp(2, own_mac, OWN, OTHERS), ieee = arp(2, own_mac, OTHERS, OTHERS);

	assert_verdict(&addresses, arp(2, own_mac, OTHERS, OTHERS), GUARD_ARP);
	assert_verdict(&addresses, arp(1, own_mac, OTHERS, OTHERS), GUARD_ARP);
	assert_verdict(&addresses, arp(2, others_mac, OWN, OTHERS), GUARD_ARP);
	assert_verdict(&neighbours, arp(2, others_mac, OWN, OTHERS), GUARD_ARP);
	assert_verdict(&neighbours, arp(2, own_mac, OTHERS, OTHERS), GUARD_PASS);
	odd.at[14 + 4] = 8; /* what lies where is not known then */
	assert_verdict(&addresses, odd, GUARD_ARP);
	ieee.at[15] = 6; /* hosts take it for Ethernet's */
	assert_verdict(&addresses, ieee, GUARD_ARP);
	put16(&reverse, 0x8035);
	put_arp(&reverse, 3, own_mac, 0, 0);
	assert_verdict(&addresses, reverse, GUARD_PASS); /* as QEMU announces a guest that has moved */
	reverse.at[14 + 8] ^= 0x40;
	assert_verdict(&addresses, reverse, GUARD_ARP);
	assert_verdict(&neighbours, reverse, GUARD_ARP);
}

static void another_hosts_neighbour_discovery_is_refused(void **state)
{
	struct bytes two = nd(own6, 135, others6, 14, own_mac), none = nd(own6, 136, own6, 2, own_mac);

	assert_verdict(&addresses, nd(own6, 136, others6, 2, own_mac), GUARD_ND);
	assert_verdict(&addresses, nd(own6, 136, others6, 0, NULL), GUARD_ND);
	assert_verdict(&addresses, nd(own6, 136, own6, 2, others_mac), GUARD_ND);
	assert_verdict(&addresses, nd(own6, 135, others6, 1, others_mac), GUARD_ND);
	assert_verdict(&neighbours, nd(others6, 135, others6, 1, others_mac), GUARD_ND);
	assert_verdict(&neighbours, nd(others6, 133, NULL, 1, others_mac), GUARD_ND);
	assert_verdict(&neighbours, nd(others6, 134, NULL, 1, others_mac), GUARD_ND);
	assert_verdict(&neighbours, nd(others6, 136, others6, 2, own_mac), GUARD_PASS);
	/* behind an option that nobody knows */
	put(&two, (uint8_t[]){1, 1}, 2);
	put(&two, others_mac, 6);
	two.at[19] += 8;
	assert_verdict(&addresses, two, GUARD_ND);
	none.at[54 + 25] = 0; /* an option without a length */
	assert_verdict(&addresses, none, GUARD_ND);
}

/* A redirect that names a link-layer address makes an entry in the table of neighbours as an advertisement does. */
static void redirects_to_another_hosts_link_layer_address_are_refused(void **state)
{
	const uint8_t *const macs[] = {own_mac, others_mac};

	for (unsigned i = 0; i < 2; i++) {
		struct bytes b = nd(own6, 137, others6, 0, NULL);

		put(&b, others6, 16);
		put(&b, (uint8_t[]){2, 1}, 2);
		put(&b, macs[i], 6);
		b.at[19] = (uint8_t)(b.count - 54);
		assert_verdict(&addresses, b, i ? GUARD_ND : GUARD_PASS);
		assert_verdict(&neighbours, b, i ? GUARD_ND : GUARD_PASS);
	}
}

static void neighbour_discovery_in_fragments_is_refused(void **state)
{
	static const uint8_t first[] = {58, 0, 0, 1, 0, 0, 0, 1}, whole[] = {58, 0, 0, 0, 0, 0, 0, 1};
	struct bytes b = ipv6(own6, 44, 40), one = ipv6(own6, 44, 40), ra = ipv6(own6, 44, 24);

	put(&b, first, 8);
	put_nd(&b, 136, own6, 2, own_mac);
	assert_verdict(&addresses, b, GUARD_ND);
	put(&one, whole, 8);
	put_nd(&one, 136, others6, 2, own_mac);
	assert_verdict(&addresses, one, GUARD_ND);
	put(&ra, first, 8);
	put_nd(&ra, 134, NULL, 0, NULL);
	assert_verdict(&router, ra, GUARD_ROUTER);
}

static void put_hops(struct bytes *b, unsigned count, uint8_t last)
{
	for (unsigned i = 0; i < count; i++)
		put(b, (uint8_t[]){i + 1 < count ? 60 : last, 0, 1, 4, 0, 0, 0, 0}, 8);
}

static void hidden_router_advertisements_are_found(void **state)
{
	struct bytes bare = nd(link6, 134, NULL, 0, NULL), ah = ipv6(link6, 51, 40), far = ipv6(link6, 0, 0);
	uint32_t looked;

	assert_verdict(&router, bare, GUARD_ROUTER);
	assert_verdict(&router, nd(link6, 137, own6, 0, NULL), GUARD_ROUTER);
	assert_verdict(&router, nd(link6, 135, own6, 0, NULL), GUARD_PASS);
	assert_verdict(&dhcp, bare, GUARD_PASS);
	for (unsigned hops = 1; hops < 40; hops++) {
		struct bytes b = ipv6(link6, 60, (uint16_t)(8 * hops + 16));

		put_hops(&b, hops, 58);
		put_nd(&b, 134, NULL, 0, NULL);
		assert_verdict(&router, b, hops <= 8 ? GUARD_ROUTER : GUARD_UNREADABLE);
	}
	put(&ah, (uint8_t[]){58, 4, [23] = 0}, 24);
	put_nd(&ah, 134, NULL, 0, NULL);
	assert_verdict(&router, ah, GUARD_ROUTER);
	/* one header of two kilobytes: beyond what is looked at, but not beyond the frame */
	put(&far, (uint8_t[]){58, 180}, 2);
	put_zeros(&far, 500);
	assert_int_equal(guard_check(&router, far.at, 512, 2000, &looked), GUARD_MORE);
}

static void hidden_dhcp_servers_are_found(void **state)
{
	struct bytes six = ipv6(link6, 17, 24), options = ethernet(), fragment = ethernet(), tiny = ethernet(), later = ethernet();

	assert_verdict(&dhcp, udp4(OWN, 67, 68), GUARD_DHCP);
	assert_verdict(&dhcp, udp4(OWN, 4000, 68), GUARD_DHCP);
	assert_verdict(&dhcp, udp4(OWN, 67, 67), GUARD_DHCP);
	assert_verdict(&dhcp, udp4(0, 68, 67), GUARD_PASS);
	assert_verdict(&router, udp4(OWN, 67, 68), GUARD_PASS);
	put_udp(&six, 547, 546);
	assert_verdict(&dhcp, six, GUARD_DHCP);
	put16(&options, 0x0800);
	put_ipv4(&options, OWN, 17, 0, 10);
	put_udp(&options, 67, 68);
	assert_verdict(&dhcp, options, GUARD_DHCP);
	put16(&fragment, 0x0800);
	put_ipv4(&fragment, OWN, 17, 0x2000, 0);
	put_udp(&fragment, 67, 68);
	assert_verdict(&dhcp, fragment, GUARD_DHCP);
	put16(&tiny, 0x0800);
	put_ipv4(&tiny, OWN, 17, 0x2000, 0);
	put16(&tiny, 67);
	assert_verdict(&dhcp, tiny, GUARD_UNREADABLE);
	put16(&later, 0x0800);
	put_ipv4(&later, OWN, 17, 1, 0);
	put_udp(&later, 67, 68);
	assert_verdict(&dhcp, later, GUARD_PASS); /* its first fragment has the ports */
}

static void frames_with_a_length_are_looked_into(void **state)
{
	struct bytes frame = arp(2, own_mac, OTHERS, OTHERS), snap = in_snap(&frame, 0), bridge = in_snap(&frame, 0xf8), ip = ethernet();
	struct bytes ra = nd(link6, 134, NULL, 0, NULL), ra_snap = in_snap(&ra, 0), hidden = tagged(&frame, 1, 0x8100);
	struct bytes inside = in_snap(&hidden, 0), other = in_snap(&frame, 7), stp = ethernet();

	assert_verdict(&addresses, snap, GUARD_ARP);
	assert_verdict(&addresses, bridge, GUARD_ARP);
	assert_verdict(&router, ra_snap, GUARD_ROUTER);
	assert_verdict(&addresses, inside, GUARD_UNREADABLE);
	assert_verdict(&addresses, other, GUARD_PASS);
	put16(&ip, 31);
	put(&ip, (uint8_t[]){6, 6, 3}, 3);
	put_ipv4(&ip, OTHERS, 6, 0, 0);
	put_zeros(&ip, 8);
	assert_verdict(&addresses, ip, GUARD_IP);
	put16(&stp, 3);
	put(&stp, (uint8_t[]){0x42, 0x42, 3}, 3);
	assert_verdict(&addresses, stp, GUARD_PASS);
}

/* Each frame of the above, cut at each byte: never understood as something harmless that it is not. */
static void truncated_headers_are_refused(void **state)
{
	struct bytes frames[] = {arp(2, own_mac, OTHERS, OTHERS), udp4(OTHERS, 67, 68), nd(own6, 136, others6, 2, own_mac)};

	for (unsigned i = 0; i < 3; i++) {
		uint32_t whole = frames[i].count;

		for (uint32_t bytes = 14; bytes < whole; bytes++) {
			frames[i].count = bytes;
			assert_int_not_equal(ask(&addresses, &frames[i]), GUARD_PASS);
		}
	}
}

static void a_wrong_version_is_refused(void **state)
{
	struct bytes four = udp4(OWN, 1, 2), six = nd(own6, 136, own6, 2, own_mac), shorter = udp4(OWN, 1, 2);

	four.at[14] = 0x65;
	six.at[14] = 0x40;
	shorter.at[14] = 0x44;
	assert_verdict(&addresses, four, GUARD_UNREADABLE);
	assert_verdict(&addresses, six, GUARD_UNREADABLE);
	assert_verdict(&addresses, shorter, GUARD_UNREADABLE);
}

static void other_protocols_pass(void **state)
{
	struct bytes b = ethernet();

	put16(&b, 0x88b5);
	put_zeros(&b, 46);
	assert_verdict(&addresses, b, GUARD_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_frames_pass),
		cmocka_unit_test(who_has_no_address_yet_may_ask),
		cmocka_unit_test(another_hosts_address_is_refused),
		cmocka_unit_test(another_hosts_arp_is_refused),
		cmocka_unit_test(another_hosts_neighbour_discovery_is_refused),
		cmocka_unit_test(redirects_to_another_hosts_link_layer_address_are_refused),
		cmocka_unit_test(neighbour_discovery_in_fragments_is_refused),
		cmocka_unit_test(hidden_router_advertisements_are_found),
		cmocka_unit_test(hidden_dhcp_servers_are_found),
		cmocka_unit_test(frames_with_a_length_are_looked_into),
		cmocka_unit_test(truncated_headers_are_refused),
		cmocka_unit_test(a_wrong_version_is_refused),
		cmocka_unit_test(other_protocols_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
