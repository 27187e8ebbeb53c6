/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge_netlink.h"
#include "base/util.h"
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define TAP 7
#define BRIDGE 5

/* What a kernel says, put together; each test tells one lie in it. */
struct told {
	uint8_t bytes[512];
	size_t used;
};

static void put(struct told *told, const void *what, size_t bytes)
{
	if (bytes)
		memcpy(told->bytes + told->used, what, bytes);
	told->used += align_up(bytes, 4);
}

static struct told begin(uint16_t type, const void *header, size_t bytes)
{
	struct told told = {.used = 0};
	const struct nlmsghdr message = {.nlmsg_type = type, .nlmsg_seq = 3};

	put(&told, &message, sizeof(message));
	put(&told, header, bytes);
	return told;
}

static void attribute(struct told *told, uint16_t type, const void *value, uint16_t bytes)
{
	const struct nlattr header = {.nla_len = (uint16_t)(sizeof(header) + bytes), .nla_type = type};

	put(told, &header, sizeof(header));
	put(told, value, bytes);
}

static size_t nest(struct told *told, uint16_t type)
{
	const struct nlattr header = {.nla_type = type};

	put(told, &header, sizeof(header));
	return told->used - sizeof(header);
}

static void nest_end(struct told *told, size_t at)
{
	const uint16_t bytes = (uint16_t)(told->used - at);

	memcpy(told->bytes + at, &bytes, sizeof(bytes));
}

static struct bridge_message message_of(struct told *told)
{
	const uint32_t bytes = (uint32_t)told->used;
	const uint8_t *at = told->bytes;
	size_t left = told->used;
	struct bridge_message message = {.type = 0};

	memcpy(told->bytes, &bytes, sizeof(bytes));
	assert_true(bridge_message_next(&at, &left, &message));
	assert_int_equal(left, 0);
	return message;
}

static struct told link_told(uint8_t family, int interface)
{
	const struct ifinfomsg link = {.ifi_family = family, .ifi_index = interface};

	return begin(RTM_NEWLINK, &link, sizeof(link));
}

static struct told address_told(int interface, uint8_t flags)
{
	const struct ndmsg neighbour = {.ndm_family = AF_BRIDGE, .ndm_ifindex = interface, .ndm_flags = flags};

	return begin(RTM_NEWNEIGH, &neighbour, sizeof(neighbour));
}

static const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};

static void a_request_says_where_an_address_is(void **state)
{
	const struct bridge_change add = {.address = {.mac = {2, 1, 2, 3, 4, 5}, .vid = 100}, .add = true};
	uint8_t bytes[BRIDGE_REQUEST_BYTES];
	size_t count = bridge_request_change(bytes, 9, TAP, &add);
	struct nlmsghdr header;
	struct ndmsg neighbour;

	memcpy(&header, bytes, sizeof(header));
	memcpy(&neighbour, bytes + sizeof(header), sizeof(neighbour));
	assert_int_equal(header.nlmsg_len, count);
	assert_int_equal(header.nlmsg_type, RTM_NEWNEIGH);
	assert_int_equal(header.nlmsg_seq, 9);
	assert_int_equal(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
	assert_int_equal(neighbour.ndm_family, AF_BRIDGE);
	assert_int_equal(neighbour.ndm_ifindex, TAP);
	assert_int_equal(neighbour.ndm_flags, NTF_MASTER | NTF_EXT_LEARNED);
	assert_int_equal(neighbour.ndm_state, NUD_REACHABLE);
	assert_memory_equal(bytes + sizeof(header) + sizeof(neighbour) + 4, mac, 6);
	assert_int_equal(count, sizeof(header) + sizeof(neighbour) + 12 + 8);
}

static void an_address_without_a_vlan_names_none_and_one_that_goes_is_deleted(void **state)
{
	const struct bridge_change drop = {.address = {.mac = {2, 1, 2, 3, 4, 5}}};
	uint8_t bytes[BRIDGE_REQUEST_BYTES];
	size_t count = bridge_request_change(bytes, 9, TAP, &drop);
	struct nlmsghdr header;

	memcpy(&header, bytes, sizeof(header));
	assert_int_equal(header.nlmsg_type, RTM_DELNEIGH);
	assert_int_equal(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(count, sizeof(header) + sizeof(struct ndmsg) + 12);
	assert_true(bridge_request_vlans(bytes, 1) <= BRIDGE_REQUEST_BYTES);
	assert_true(bridge_request_addresses(bytes, 1, TAP) <= BRIDGE_REQUEST_BYTES);
	assert_true(bridge_request_link(bytes, 1, TAP) <= BRIDGE_REQUEST_BYTES);
}

static void an_entry_is_asked_for_at_the_bridge_of_the_port(void **state)
{
	const struct bridge_address address = {.mac = {2, 1, 2, 3, 4, 5}, .vid = 100};
	uint8_t bytes[BRIDGE_REQUEST_BYTES];
	size_t count = bridge_request_entry(bytes, 9, TAP, &address);
	struct nlmsghdr header;
	struct ndmsg neighbour;

	memcpy(&header, bytes, sizeof(header));
	memcpy(&neighbour, bytes + sizeof(header), sizeof(neighbour));
	assert_int_equal(header.nlmsg_len, count);
	assert_int_equal(header.nlmsg_type, RTM_GETNEIGH);
	assert_int_equal(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(neighbour.ndm_family, AF_BRIDGE);
	assert_int_equal(neighbour.ndm_ifindex, TAP);
	assert_int_equal(neighbour.ndm_flags, NTF_MASTER);
	assert_int_equal(neighbour.ndm_state, 0); /* the kernel refuses others */
	assert_memory_equal(bytes + sizeof(header) + sizeof(neighbour) + 4, mac, 6);
	assert_int_equal(count, sizeof(header) + sizeof(neighbour) + 12 + 8);
}

static void a_port_of_a_bridge_is_known_and_the_bridge(void **state)
{
	struct told told = link_told(AF_UNSPEC, TAP);
	const int master = BRIDGE;
	struct bridge_message message;
	struct bridge_link link;
	const uint8_t yes = 1;
	size_t info, data;

	attribute(&told, IFLA_IFNAME, "tap0", 5);
	attribute(&told, IFLA_MASTER, &master, sizeof(master));
	info = nest(&told, IFLA_LINKINFO);
	attribute(&told, IFLA_INFO_KIND, "tun", 4);
	attribute(&told, IFLA_INFO_SLAVE_KIND, "bridge", 7);
	nest_end(&told, info);
	message = message_of(&told);
	assert_false(bridge_message_link(&message, TAP + 1, &link));
	assert_true(bridge_message_link(&message, TAP, &link));
	assert_true(link.master == BRIDGE && link.of_bridge && !link.filters);
	assert_string_equal(link.name, "tap0");

	told = link_told(AF_UNSPEC, BRIDGE);
	info = nest(&told, IFLA_LINKINFO);
	attribute(&told, IFLA_INFO_KIND, "bridge", 7);
	data = nest(&told, IFLA_INFO_DATA);
	attribute(&told, IFLA_BR_VLAN_FILTERING, &yes, 1);
	nest_end(&told, data);
	nest_end(&told, info);
	message = message_of(&told);
	assert_true(bridge_message_link(&message, BRIDGE, &link));
	assert_true(!link.master && !link.of_bridge && link.filters);
}

static void a_master_that_is_no_bridge_is_none(void **state)
{
	struct told told = link_told(AF_UNSPEC, TAP);
	struct bridge_message message;
	struct bridge_link link;
	const int master = BRIDGE;
	size_t info;

	attribute(&told, IFLA_IFNAME, "a-name-that-is-longer-than-any", 30);
	attribute(&told, IFLA_MASTER, &master, 2); /* cut short */
	info = nest(&told, IFLA_LINKINFO);
	attribute(&told, IFLA_INFO_SLAVE_KIND, "bridged", 8);
	nest_end(&told, info);
	message = message_of(&told);
	assert_true(bridge_message_link(&message, TAP, &link));
	assert_true(!link.master && !link.of_bridge);
	assert_int_equal(strlen(link.name), sizeof(link.name) - 1);
}

static void vlan(struct told *told, uint16_t flags, uint16_t vid)
{
	const struct bridge_vlan_info info = {.flags = flags, .vid = vid};

	attribute(told, IFLA_BRIDGE_VLAN_INFO, &info, sizeof(info));
}

static void the_vlan_of_frames_without_a_tag_is_found(void **state)
{
	struct told told = link_told(AF_BRIDGE, TAP);
	struct bridge_message message;
	uint16_t pvid = 77;
	size_t spec = nest(&told, IFLA_AF_SPEC);

	vlan(&told, 0, 10);
	vlan(&told, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, 20);
	vlan(&told, BRIDGE_VLAN_INFO_PVID, 4095); /* none */
	attribute(&told, IFLA_BRIDGE_VLAN_INFO, "xx", 2);
	nest_end(&told, spec);
	message = message_of(&told);
	assert_false(bridge_message_pvid(&message, BRIDGE, &pvid));
	assert_int_equal(pvid, 77);
	assert_true(bridge_message_pvid(&message, TAP, &pvid));
	assert_int_equal(pvid, 20);

	told = link_told(AF_BRIDGE, TAP);
	spec = nest(&told, IFLA_AF_SPEC);
	nest_end(&told, spec);
	message = message_of(&told);
	assert_true(bridge_message_pvid(&message, TAP, &pvid));
	assert_int_equal(pvid, 0);
	told = link_told(AF_UNSPEC, TAP);
	spec = nest(&told, IFLA_AF_SPEC);
	vlan(&told, BRIDGE_VLAN_INFO_PVID, 20);
	nest_end(&told, spec);
	message = message_of(&told);
	assert_false(bridge_message_pvid(&message, TAP, &pvid));
}

static bool address_is_taken(struct told told, struct bridge_address *ret)
{
	struct bridge_message message = message_of(&told);

	return bridge_message_address(&message, TAP, ret);
}

static void only_addresses_that_were_given_to_our_port_are_ours(void **state)
{
	struct bridge_address address = {.vid = 9};
	const uint16_t vid = 30, none = 4095;
	struct told told = address_told(TAP, NTF_EXT_LEARNED);

	assert_false(address_is_taken(told, &address)); /* no address at all */
	attribute(&told, NDA_LLADDR, mac, 6);
	assert_true(address_is_taken(told, &address));
	assert_memory_equal(address.mac, mac, 6);
	assert_int_equal(address.vid, 0);
	attribute(&told, NDA_VLAN, &vid, 2);
	assert_true(address_is_taken(told, &address));
	assert_int_equal(address.vid, 30);
	for (unsigned i = 0; i < 4; i++) {
		const int port = i == 0 ? BRIDGE : TAP;
		const uint8_t flags = i == 1 ? 0 : i == 2 ? NTF_EXT_LEARNED | NTF_SELF : NTF_EXT_LEARNED;

		told = address_told(port, flags);
		attribute(&told, NDA_LLADDR, mac, i == 3 ? 4 : 6);
		assert_false(address_is_taken(told, &address));
	}
	told = address_told(TAP, NTF_EXT_LEARNED);
	attribute(&told, NDA_LLADDR, mac, 6);
	attribute(&told, NDA_VLAN, &none, 2);
	assert_false(address_is_taken(told, &address));
	assert_int_equal(address.vid, 30);
}

static bool is_kept(uint8_t family, int interface, uint16_t state, uint8_t flags)
{
	const struct ndmsg neighbour = {.ndm_family = family, .ndm_ifindex = interface, .ndm_state = state, .ndm_flags = flags};
	struct told told = begin(RTM_NEWNEIGH, &neighbour, sizeof(neighbour));
	struct bridge_message message = message_of(&told);
	struct bridge_address address;
	bool kept = bridge_message_kept(&message, TAP);

	attribute(&told, NDA_LLADDR, mac, 6);
	message = message_of(&told);
	assert_false(state & NUD_PERMANENT && bridge_message_address(&message, TAP, &address)); /* nor is it found as one of ours */
	return kept;
}

static void what_the_bridge_keeps_for_itself_or_by_hand_is_known(void **state)
{
	assert_true(is_kept(AF_BRIDGE, BRIDGE, NUD_PERMANENT, 0)); /* its own address */
	assert_true(is_kept(AF_BRIDGE, TAP, NUD_PERMANENT, 0));	   /* its port's */
	assert_true(is_kept(AF_BRIDGE, TAP, NUD_PERMANENT, NTF_EXT_LEARNED));
	assert_true(is_kept(AF_BRIDGE, BRIDGE, NUD_NOARP, 0));
	assert_true(is_kept(AF_BRIDGE, TAP, NUD_NOARP, 0));
	assert_true(is_kept(AF_BRIDGE, BRIDGE, NUD_NOARP, NTF_EXT_LEARNED)); /* of another port */
	assert_true(is_kept(AF_BRIDGE, BRIDGE, NUD_REACHABLE, NTF_STICKY));
	assert_false(is_kept(AF_BRIDGE, BRIDGE, NUD_REACHABLE, 0));
	assert_false(is_kept(AF_BRIDGE, BRIDGE, NUD_STALE, NTF_EXT_LEARNED)); /* it has been there, and has moved */
	assert_false(is_kept(AF_BRIDGE, TAP, NUD_REACHABLE, NTF_EXT_LEARNED));
	assert_false(is_kept(AF_BRIDGE, TAP, NUD_NOARP, NTF_EXT_LEARNED)); /* ours, which somebody has made static */
	assert_false(is_kept(AF_INET, BRIDGE, NUD_PERMANENT, 0));
}

static bool ends(uint16_t type, const void *body, size_t bytes, int *ret_err)
{
	struct told told = begin(type, body, bytes);
	struct bridge_message message = message_of(&told);

	return bridge_message_ends(&message, ret_err);
}

static void an_answer_ends_with_an_errno(void **state)
{
	const int refused = -EPERM, well = 0, lie = 5;
	int err = 77;

	assert_true(ends(NLMSG_ERROR, &refused, sizeof(refused), &err));
	assert_int_equal(err, -EPERM);
	assert_true(ends(NLMSG_ERROR, &well, sizeof(well), &err));
	assert_int_equal(err, 0);
	assert_true(ends(NLMSG_ERROR, &lie, sizeof(lie), &err));
	assert_int_equal(err, -EPROTO);
	assert_true(ends(NLMSG_ERROR, NULL, 0, &err));
	assert_int_equal(err, -EPROTO);
	assert_true(ends(NLMSG_DONE, NULL, 0, &err));
	assert_int_equal(err, 0);
	assert_false(ends(RTM_NEWLINK, NULL, 0, &err));
}

/* Its bytes lie at the end of an allocation: who reads beyond them is found out by a build with AddressSanitizer. */
static void read_all(const uint8_t *bytes, size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);
	const uint8_t *at = copy;
	struct bridge_message message;
	struct bridge_address address;
	struct bridge_link link;
	uint16_t pvid;
	int err;

	assert_non_null(copy);
	if (count)
		memcpy(copy, bytes, count);
	while (bridge_message_next(&at, &count, &message)) {
		bridge_message_ends(&message, &err);
		bridge_message_link(&message, TAP, &link);
		bridge_message_pvid(&message, TAP, &pvid);
		bridge_message_address(&message, TAP, &address);
	}
	free(copy);
}

/* A length that the message, or what it lies in, does not have. */
static void what_is_cut_short_or_lies_about_its_length_is_not_read(void **state)
{
	struct told told = link_told(AF_BRIDGE, TAP);
	const uint16_t vid = 30;
	size_t at = nest(&told, IFLA_AF_SPEC);

	vlan(&told, BRIDGE_VLAN_INFO_PVID, 20);
	nest_end(&told, at);
	at = nest(&told, IFLA_LINKINFO);
	attribute(&told, IFLA_INFO_SLAVE_KIND, "bridge", 7);
	nest_end(&told, at);
	message_of(&told);
	for (size_t count = 0; count <= told.used; count++)
		read_all(told.bytes, count);
	for (size_t byte = 0; byte < told.used; byte++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t was = told.bytes[byte];

			told.bytes[byte] = (uint8_t)value;
			read_all(told.bytes, told.used);
			told.bytes[byte] = was;
		}
	}
	told = address_told(TAP, NTF_EXT_LEARNED);
	attribute(&told, NDA_LLADDR, mac, 6);
	attribute(&told, NDA_VLAN, &vid, 2);
	message_of(&told);
	for (size_t byte = 0; byte < told.used; byte++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t was = told.bytes[byte];

			told.bytes[byte] = (uint8_t)value;
			read_all(told.bytes, told.used);
			told.bytes[byte] = was;
		}
	}
}

static void messages_come_one_after_the_other(void **state)
{
	struct told told = link_told(AF_UNSPEC, TAP), second = link_told(AF_UNSPEC, BRIDGE);
	const uint8_t *at = told.bytes;
	struct bridge_message message;
	struct bridge_link link;
	size_t bytes;

	message_of(&told);
	message_of(&second);
	put(&told, second.bytes, second.used);
	bytes = told.used;
	assert_true(bridge_message_next(&at, &bytes, &message) && bridge_message_link(&message, TAP, &link));
	assert_true(bridge_message_next(&at, &bytes, &message) && bridge_message_link(&message, BRIDGE, &link));
	assert_int_equal(message.number, 3);
	assert_false(bridge_message_next(&at, &bytes, &message));
	at = told.bytes;
	bytes = second.used + 3; /* the second one is cut off */
	assert_true(bridge_message_next(&at, &bytes, &message));
	assert_false(bridge_message_next(&at, &bytes, &message));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_says_where_an_address_is),
		cmocka_unit_test(an_address_without_a_vlan_names_none_and_one_that_goes_is_deleted),
		cmocka_unit_test(an_entry_is_asked_for_at_the_bridge_of_the_port),
		cmocka_unit_test(what_the_bridge_keeps_for_itself_or_by_hand_is_known),
		cmocka_unit_test(a_port_of_a_bridge_is_known_and_the_bridge),
		cmocka_unit_test(a_master_that_is_no_bridge_is_none),
		cmocka_unit_test(the_vlan_of_frames_without_a_tag_is_found),
		cmocka_unit_test(only_addresses_that_were_given_to_our_port_are_ours),
		cmocka_unit_test(an_answer_ends_with_an_errno),
		cmocka_unit_test(what_is_cut_short_or_lies_about_its_length_is_not_read),
		cmocka_unit_test(messages_come_one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
