/* SPDX-License-Identifier: BSD-3-Clause */

/* VLANs, roles and addresses that change while the port is there, and frames are on their way. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "switch/headers.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define MOVING 3u
#define CHANGES 200u
#define FRAME_BYTES 64u

static void say_all(struct fixture *x, unsigned from)
{
	uint8_t source[6];

	mac_of(source, from, 0);
	send_raw(x, from, broadcast, source, 0);
	settle(x);
}

static void expect_got(struct fixture *x, unsigned p, unsigned count)
{
	assert_int_equal(fake_port_got(x->fake[p]), count);
}

/* Rounds that are under way end by the old rules. */
static void set(struct fixture *x, unsigned p, const struct sw_port_config *config)
{
	assert_int_equal(sw_port_rules_set(x->port[p], config), 0);
	pass_grace(x);
}

static void a_port_goes_from_vlan_to_vlan(void **state)
{
	struct fixture *x = *state;

	add_port_in(x, MOVING, 1, 10);
	add_port_in(x, 4, 1, 10);
	add_port_in(x, 5, 1, 20);
	say_all(x, 4);
	expect_got(x, MOVING, 1);
	set(x, MOVING, &(struct sw_port_config){.vlan = 20});
	say_all(x, 4);
	expect_got(x, MOVING, 1);
	say_all(x, 5);
	expect_got(x, MOVING, 2);
	say_all(x, MOVING);
	expect_got(x, 5, 1);
	expect_got(x, 4, 0);
}

static void a_ports_tags_change(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1ull << 10 | 1ull << 20};
	struct sw_port_config trunk = {.vlan_aware = true, .tagged = tagged};

	add_port_in(x, 4, 1, 10);
	add_port_with(x, MOVING, 1, &(struct sw_port_config){.vlan_aware = true, .vlan = 10});
	say_all(x, 4);
	assert_int_equal(x->fake[MOVING]->got.frames[0]->bytes, FRAME_BYTES);
	set(x, MOVING, &trunk);
	say_all(x, 4);
	assert_int_equal(x->fake[MOVING]->got.frames[1]->bytes, FRAME_BYTES + 4);
	assert_int_equal(load_be16(x->fake[MOVING]->got.frames[1]->data + 14), 10);
	trunk.tag_type = 0x88a8;
	set(x, MOVING, &trunk);
	say_all(x, 4);
	assert_int_equal(load_be16(x->fake[MOVING]->got.frames[2]->data + 12), 0x88a8);
	tagged[0] = 1ull << 30;
	set(x, MOVING, &trunk);
	say_all(x, 4);
	expect_got(x, MOVING, 3);
}

static void a_ports_role_changes(void **state)
{
	struct fixture *x = *state;

	add_port(x, MOVING, 1);
	say_all(x, 0);
	expect_got(x, MOVING, 1);
	set(x, MOVING, &(struct sw_port_config){.vm2vm = SW_VM2VM_OFF});
	say_all(x, 0);
	expect_got(x, MOVING, 1);
	set(x, 0, &(struct sw_port_config){.uplink = true});
	say_all(x, 0);
	expect_got(x, MOVING, 2);
	set(x, MOVING, &(struct sw_port_config){.isolated = true});
	set(x, 1, &(struct sw_port_config){.isolated = true});
	say_all(x, 1);
	expect_got(x, MOVING, 2);
	set(x, 1, &(struct sw_port_config){0});
	say_all(x, 1);
	expect_got(x, MOVING, 3);
}

/* 0 and 1 talk; another port comes to their VLAN and goes, is a trunk and is none, is an uplink and is none. */
static void others_lose_nothing_meanwhile(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS];
	struct sw_port_config configs[] = {{.vlan = 20},
					   {.vlan = 0},
					   {.vlan_aware = true, .tagged = tagged},
					   {.uplink = true},
					   {.vm2vm = SW_VM2VM_HARDWARE},
					   {.vlan_aware = true, .vlan = 7, .tagged = tagged}};
	uint8_t to[6], from[6];

	memset(tagged, 0xff, sizeof(tagged));
	tagged[0] &= ~1ull;
	tagged[SW_VLAN_SET_WORDS - 1] &= ~(1ull << 63);
	add_port(x, MOVING, 1);
	say_all(x, 1);
	fake_port_forget(x->fake[0]);
	mac_of(to, 1, 0);
	mac_of(from, 0, 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		send_raw(x, 0, to, from, i);
		assert_int_equal(sw_port_rules_set(x->port[MOVING], &configs[i % ARRAY_SIZE(configs)]), 0);
		step(x);
	}
	settle(x);
	expect_got(x, 1, CHANGES);
	for (unsigned i = 0; i < CHANGES; i++)
		assert_memory_equal(x->fake[1]->got.frames[i]->data + 14, &i, sizeof(i));
}

static void fixed_addresses_go_along(void **state)
{
	struct fixture *x = *state;
	uint8_t own[1][6];
	struct sw_port_config config = {.vlan = 10, .addresses = (const uint8_t (*)[6])own, .address_count = 1};
	struct sw_fdb_stats stats;

	mac_of(own[0], MOVING, 0);
	add_port_with(x, MOVING, 1, &config);
	add_port_in(x, 4, 1, 20);
	set(x, MOVING, &(struct sw_port_config){.vlan = 20});
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.fixed, 1);
	send_raw(x, 4, broadcast, own[0], 1); /* nobody else may use it there, */
	settle(x);
	assert_int_equal(stats_of(x, 4).rx_spoofed, 1);
	send_raw(x, MOVING, broadcast, own[0], 1); /* and it may */
	settle(x);
	assert_int_equal(stats_of(x, MOVING).rx_spoofed, 0);
	mac_of(own[0], 8, 0);
	send_raw(x, MOVING, broadcast, own[0], 1); /* but no other */
	settle(x);
	assert_int_equal(stats_of(x, MOVING).rx_spoofed, 1);
}

static void what_cannot_be_changes_nothing(void **state)
{
	struct fixture *x = *state;
	uint8_t own[1][6];
	struct sw_port_config config = {.vlan = 10, .addresses = (const uint8_t (*)[6])own, .address_count = 1};
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1};
	struct sw_fdb_stats stats;

	mac_of(own[0], MOVING, 0);
	add_port_with(x, MOVING, 1, &config);
	config.vlan = 20;
	add_port_with(x, 4, 1, &config);
	assert_int_equal(sw_port_rules_set(x->port[MOVING], &(struct sw_port_config){.vlan = 20}), -EADDRINUSE);
	assert_int_equal(sw_port_rules_set(x->port[MOVING], &(struct sw_port_config){.vlan_aware = true, .tagged = tagged}), -EINVAL);
	tagged[0] = 1ull << 15 | 1ull << 20; /* of two VLANs the second is refused: it does not stay in the first */
	assert_int_equal(sw_port_rules_set(x->port[MOVING], &(struct sw_port_config){.vlan_aware = true, .vlan = 10, .tagged = tagged}),
			 -EADDRINUSE);
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.fixed, 2);
	add_port_in(x, 5, 1, 10);
	send_raw(x, MOVING, broadcast, own[0], 1);
	settle(x);
	expect_got(x, 5, 1);
}

static void an_address_that_is_held_keeps_its_port_in_the_vlan(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1ull << 20};
	uint8_t mac[6];

	add_port_in(x, MOVING, 1, 10);
	mac_of(mac, 8, 0);
	assert_int_equal(sw_fdb_hold(x->port[MOVING], 10, mac), 0);
	assert_int_equal(sw_port_rules_set(x->port[MOVING], &(struct sw_port_config){.vlan = 20}), -EBUSY);
	set(x, MOVING, &(struct sw_port_config){.vlan_aware = true, .vlan = 10, .tagged = tagged});
	assert_int_equal(sw_fdb_let_go(x->sw, 10, mac), 0);
	set(x, MOVING, &(struct sw_port_config){.vlan = 20});
}

static void a_change_may_be_held_back_like_others(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1ull << 20};

	add_port_with(x, MOVING, 1, &(struct sw_port_config){.vlan_aware = true, .tagged = tagged});
	sw_hold(x->sw);
	for (unsigned i = 0; i < 3; i++) {
		tagged[0] <<= 1;
		assert_int_equal(sw_port_rules_set(x->port[MOVING],
						   &(struct sw_port_config){.vlan_aware = true, .tagged = tagged}), 0);
	}
	assert_int_equal(sw_port_rules_set(x->port[MOVING], &(struct sw_port_config){0}), 0);
	assert_int_equal(sw_release(x->sw), 0);
	pass_grace(x);
	say_all(x, 0);
	expect_got(x, MOVING, 1);
}

/* ---- addresses ---- */

static void own(struct fixture *x, unsigned p, uint8_t (*macs)[6], unsigned count, bool lock)
{
	assert_int_equal(sw_port_addresses_set(x->port[p], (const uint8_t (*)[6])macs, count, lock), 0);
}

/* Says something from its address i, and whether that has come to port 0. */
static bool may_say(struct fixture *x, unsigned from, unsigned i)
{
	unsigned before = fake_port_got(x->fake[0]);
	uint8_t source[6];

	mac_of(source, MOVING, i);
	send_raw(x, from, broadcast, source, 0);
	settle(x);
	return fake_port_got(x->fake[0]) > before;
}

static uint64_t fixed_entries(const struct fixture *x)
{
	struct sw_fdb_stats stats;

	sw_fdb_stats(x->sw, &stats);
	return stats.fixed;
}

static void a_port_that_learns_gets_addresses_of_its_own_and_learns_again(void **state)
{
	struct fixture *x = *state;
	uint8_t macs[2][6];

	mac_of(macs[0], MOVING, 0);
	mac_of(macs[1], MOVING, 1);
	add_port(x, MOVING, 1);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++)
			assert_true(may_say(x, MOVING, i));
		own(x, MOVING, macs, 2, false);
		assert_int_equal(fixed_entries(x), 2); /* what it had learned beside them is forgotten */
		assert_true(may_say(x, MOVING, 0) && may_say(x, MOVING, 1) && !may_say(x, MOVING, 2));
		assert_true(!may_say(x, 1, 0) && may_say(x, 1, 2));
		own(x, MOVING, macs + 1, 1, false);
		assert_int_equal(fixed_entries(x), 1);
		assert_true(!may_say(x, MOVING, 0) && may_say(x, MOVING, 1) && may_say(x, 1, 0));
		own(x, MOVING, macs, 0, false);
		assert_int_equal(fixed_entries(x), 0);
		assert_true(may_say(x, 1, 1)); /* nobody's own any more */
	}
}

static void a_port_comes_to_lock_and_is_let_loose(void **state)
{
	struct fixture *x = *state;
	uint8_t macs[2][6];

	mac_of(macs[0], MOVING, 0);
	add_port(x, MOVING, 1);
	assert_true(may_say(x, MOVING, 0) && may_say(x, MOVING, 1));
	own(x, MOVING, macs, 0, true);
	assert_int_equal(fixed_entries(x), 0); /* what it has said before locks nothing */
	assert_true(may_say(x, MOVING, 1) && !may_say(x, MOVING, 0));
	own(x, MOVING, macs, 0, true);
	assert_true(may_say(x, MOVING, 1) && !may_say(x, MOVING, 0)); /* that was no change */
	own(x, MOVING, macs, 1, false);
	assert_true(!may_say(x, MOVING, 1) && may_say(x, MOVING, 0));
	own(x, MOVING, macs, 0, true);
	assert_true(may_say(x, MOVING, 2) && !may_say(x, MOVING, 0));
	assert_int_equal(fixed_entries(x), 1);
	own(x, MOVING, macs, 0, false);
	assert_true(may_say(x, MOVING, 0) && may_say(x, MOVING, 1) && may_say(x, MOVING, 2));
	assert_int_equal(fixed_entries(x), 0);
}

static void addresses_that_are_anothers_change_nothing(void **state)
{
	struct fixture *x = *state;
	uint8_t macs[2][6], theirs[1][6], many[SW_ADDRESSES_MAX + 1][6] = {{0}};
	struct sw_port_config config = {.addresses = (const uint8_t (*)[6])theirs, .address_count = 1};

	mac_of(macs[0], MOVING, 0);
	mac_of(macs[1], 4, 0);
	mac_of(theirs[0], 4, 0);
	add_port(x, MOVING, 1);
	add_port_with(x, 4, 1, &config);
	assert_true(may_say(x, MOVING, 0) && may_say(x, MOVING, 1));
	assert_int_equal(sw_port_addresses_set(x->port[MOVING], (const uint8_t (*)[6])macs, 2, false), -EADDRINUSE);
	assert_int_equal(sw_port_addresses_set(x->port[MOVING], (const uint8_t (*)[6])many, SW_ADDRESSES_MAX + 1, false), -EINVAL);
	assert_true(may_say(x, MOVING, 0) && may_say(x, MOVING, 1) && may_say(x, MOVING, 2)); /* it learns as before */
	assert_int_equal(fixed_entries(x), 1);
	own(x, MOVING, macs, 1, false);
	assert_int_equal(sw_port_addresses_set(x->port[MOVING], (const uint8_t (*)[6])macs, 2, false), -EADDRINUSE);
	assert_true(may_say(x, MOVING, 0) && !may_say(x, MOVING, 1)); /* it has its own as before */
	assert_int_equal(fixed_entries(x), 2);
}

static void an_address_that_a_port_keeps_loses_nothing_while_others_come_and_go(void **state)
{
	struct fixture *x = *state;
	uint8_t macs[2][6], to[6];

	mac_of(macs[0], MOVING, 0);
	mac_of(macs[1], MOVING, 1);
	mac_of(to, 1, 0);
	add_port(x, MOVING, 1);
	say_all(x, 1);
	say_all(x, MOVING);
	fake_port_forget(x->fake[1]);
	for (unsigned i = 0; i < CHANGES; i++) {
		send_raw(x, MOVING, to, macs[0], i);
		own(x, MOVING, macs, i % 3, false);
		step(x);
	}
	settle(x);
	expect_got(x, 1, CHANGES);
	assert_int_equal(stats_of(x, MOVING).rx_spoofed, 0);
	assert_int_equal(fixed_entries(x), (CHANGES - 1) % 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_port_goes_from_vlan_to_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ports_tags_change, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ports_role_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(others_lose_nothing_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(fixed_addresses_go_along, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_that_is_held_keeps_its_port_in_the_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_may_be_held_back_like_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_learns_gets_addresses_of_its_own_and_learns_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_comes_to_lock_and_is_let_loose, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses_that_are_anothers_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_that_a_port_keeps_loses_nothing_while_others_come_and_go, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
