/* SPDX-License-Identifier: BSD-3-Clause */

/* Bonds, on a whole switch with ports in memory: 0 to 2 are guests, 3 to 5 members of the bond "b". The other end of LACP is played by lacp.c. */

#include "base/clock.h"
#include "base/util.h"
#include "switch/core.h"
#include "switch/fake_switch.h"
#include "switch/lacp.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define FIRST	3u
#define MEMBERS 3u
#define FLOWS	400u

static struct sw_port *bond;
static const void *pulled; /* the port without a cable */

static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9};

static void add_bond(struct fixture *x, struct sw_bond_config config)
{
	struct sw_port_config port = {.name = "b", .bond = &config, .uplink = true, .flood_copies = SW_FLOOD_ANY};

	assert_int_equal(sw_port_new(x->sw, &port, &bond), 0);
}

static void add_member(struct fixture *x, unsigned p)
{
	struct sw_port_config config = {.member_of = "b"};

	add_port_with(x, p, 1, &config);
}

static void add_members(struct fixture *x, struct sw_bond_config config)
{
	add_bond(x, config);
	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++)
		add_member(x, p);
}

static void on_bond_gone(void *opaque)
{
	bond = NULL;
	on_gone(opaque);
}

static void remove_bond(struct fixture *x)
{
	unsigned before = x->gone;

	sw_port_free(bond, on_bond_gone, x);
	wait_gone(x, before + 1);
}

static int bonds_teardown(void **state)
{
	if (bond)
		remove_bond(*state);
	return teardown(state);
}

static int setup_two_workers(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 2});
}

/* Of our own frames, so many lie at the port. */
static unsigned got(struct fixture *x, unsigned p)
{
	struct fake_port *fake = x->fake[p];
	unsigned count = 0;

	pthread_mutex_lock(&fake->lock);
	for (unsigned i = fake->got.first; i < fake->got.end; i++)
		count += fake->got.frames[i]->data[12] == 0x88 && fake->got.frames[i]->data[13] == 0xb5;
	pthread_mutex_unlock(&fake->lock);
	return count;
}

static unsigned got_by_members(struct fixture *x)
{
	unsigned count = 0;

	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++)
		count += x->fake[p] ? got(x, p) : 0;
	return count;
}

static void forget(struct fixture *x)
{
	settle(x);
	for (unsigned p = 0; p < PORTS; p++)
		if (x->fake[p])
			fake_port_forget(x->fake[p]);
}

static void send_to(struct fixture *x, unsigned from, const uint8_t *to)
{
	uint8_t source[6];

	mac_of(source, from, 0);
	send_raw(x, from, to, source, 0);
}

static struct sw_port_stats bond_stats(void)
{
	struct sw_port_stats stats;

	sw_port_stats(bond, &stats);
	return stats;
}

static void set_link(struct fixture *x, unsigned p, bool up)
{
	sw_port_link_set(x->port[p], up);
	pass_grace(x);
}

/* ---- the bond is one port ---- */

struct search {
	uint8_t mac[6];
	char port[8];
};

static void search_entry(void *opaque, const struct sw_fdb_entry *entry)
{
	struct search *search = opaque;

	if (!memcmp(entry->mac, search->mac, 6))
		strncpy(search->port, entry->port, sizeof(search->port) - 1);
}

static void the_database_learns_the_bond(void **state)
{
	struct fixture *x = *state;
	struct search search = {.port = ""};

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	memcpy(search.mac, stranger, 6);
	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++) {
		send_raw(x, p, broadcast, stranger, 0);
		settle(x);
		sw_fdb_each(x->sw, search_entry, &search);
		assert_string_equal(search.port, "b");
	}
	forget(x);
	send_to(x, 0, stranger);
	settle(x);
	assert_int_equal(got_by_members(x), 1);
	assert_int_equal(got(x, 1), 0);
}

static void what_is_flooded_goes_out_of_one_member(void **state)
{
	struct fixture *x = *state;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	for (unsigned i = 0; i < 50; i++) {
		send_raw(x, 0, broadcast, (const uint8_t[]){2, 0, 0, 0, 1, (uint8_t)i}, i);
		send_raw(x, 0, (const uint8_t[]){2, 7, 7, 7, 7, (uint8_t)i}, (const uint8_t[]){2, 0, 0, 0, 1, (uint8_t)i}, i);
	}
	settle(x);
	assert_int_equal(got_by_members(x), 100);
	assert_int_equal(got(x, 1), 100);
	assert_int_equal(got(x, 2), 100);
}

static void what_a_member_brings_goes_out_of_no_other(void **state)
{
	struct fixture *x = *state;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	send_raw(x, FIRST, broadcast, stranger, 0);
	settle(x);
	send_raw(x, FIRST, (const uint8_t[]){2, 7, 7, 7, 7, 7}, stranger, 0);	 /* nobody knows it */
	send_raw(x, FIRST + 1, stranger, (const uint8_t[]){2, 8, 8, 8, 8, 8}, 0); /* it is behind the bond itself */
	settle(x);
	assert_int_equal(got_by_members(x), 0);
	for (unsigned p = 0; p < FIRST; p++)
		assert_int_equal(got(x, p), 2);
	assert_int_equal(bond_stats().rx_hairpin, 1);
	assert_int_equal(stats_of(x, FIRST + 1).rx_hairpin, 0);
}

static void a_bond_counts_what_its_members_do(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats before;

	add_bond(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	add_port(x, FIRST, 1);
	send_to(x, FIRST, broadcast); /* not yet the bond's */
	settle(x);
	assert_int_equal(sw_port_rules_set(x->port[FIRST], &(struct sw_port_config){.member_of = "b"}), 0);
	pass_grace(x);
	send_raw(x, FIRST, broadcast, stranger, 0);
	settle(x);
	send_to(x, 0, stranger);
	settle(x);
	before = bond_stats();
	assert_int_equal(before.rx_frames, 1);
	assert_int_equal(before.tx_frames, 1);
	remove_port(x, FIRST);
	assert_int_equal(bond_stats().rx_frames, before.rx_frames);
	assert_int_equal(bond_stats().tx_bytes, before.tx_bytes);
}

static void vlans_of_a_bond_hold_at_its_members(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 5};
	struct sw_bond_config config = {.mode = SW_BOND_BALANCE};
	struct sw_port_config trunk = {
		.name = "b", .bond = &config, .vlan_aware = true, .tagged = tagged, .flood_copies = SW_FLOOD_ANY, .uplink = true};
	uint8_t frame[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 9, 9, 9, 9, 9, 0x81, 0, 0, 5, 0x88, 0xb5};

	assert_int_equal(sw_port_new(x->sw, &trunk, &bond), 0);
	add_port_in(x, 6, 1, 5);
	add_member(x, FIRST);
	send_to(x, 6, broadcast);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[FIRST]), 1);
	assert_memory_equal(x->fake[FIRST]->got.frames[0]->data + 12, "\x81\0\0\5\x88\xb5", 6);
	fake_port_send(x->fake[FIRST], 0, frame, sizeof(frame), NULL);
	frame[15] = 6;
	fake_port_send(x->fake[FIRST], 0, frame, sizeof(frame), NULL);
	settle(x);
	assert_int_equal(got(x, 6), 1);
	assert_int_equal(bond_stats().rx_vlan, 1);
}

/* ---- who comes first ---- */

static void members_and_bond_come_in_any_order(void **state)
{
	struct fixture *x = *state;

	add_member(x, FIRST);
	send_raw(x, FIRST, broadcast, stranger, 0);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(got(x, 0), 0);
	assert_int_equal(got(x, FIRST), 0);
	assert_int_equal(stats_of(x, FIRST).rx_inactive, 1);
	forget(x);
	add_bond(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	pass_grace(x);
	send_raw(x, FIRST, broadcast, stranger, 0);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(got(x, 0), 1);
	assert_int_equal(got(x, FIRST), 1);
	forget(x);
	remove_bond(x);
	send_raw(x, FIRST, broadcast, stranger, 0);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(got(x, 0), 0);
	assert_int_equal(got(x, FIRST), 0);
	assert_int_equal(sw_port_rules_set(x->port[FIRST], &(struct sw_port_config){.vlan = 0}), 0); /* a port as any other */
	pass_grace(x);
	send_raw(x, FIRST, broadcast, stranger, 0);
	settle(x);
	assert_int_equal(got(x, 0), 1);
}

static void a_bond_is_no_member(void **state)
{
	struct fixture *x = *state;
	struct sw_bond_config config = {.mode = SW_BOND_BALANCE};
	struct sw_port_config both = {.name = "c", .bond = &config, .member_of = "b"};
	struct sw_port *port;

	add_bond(x, config);
	assert_int_equal(sw_port_new(x->sw, &both, &port), -EINVAL);
	assert_int_equal(sw_port_rules_set(bond, &(struct sw_port_config){.member_of = "b"}), -EINVAL);
	config.lacp_system[0] = 3;
	both.member_of = NULL;
	assert_int_equal(sw_port_new(x->sw, &both, &port), -EINVAL);
}

/* Seventeen members: the last one carries when there is room. */
static void a_bond_has_so_many_members(void **state)
{
	struct fixture *x = *state;
	struct sw_port *ports[SW_BOND_MEMBERS_MAX + 1];
	struct sw_bond_status status;
	char name[8];

	add_bond(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE});
	for (unsigned i = 0; i <= SW_BOND_MEMBERS_MAX; i++) {
		struct sw_port_config config = {.name = name, .member_of = "b", .ops = &fake_port_ops};

		snprintf(name, sizeof(name), "m%u", i);
		assert_int_equal(sw_port_new(x->sw, &config, &ports[i]), 0);
	}
	sw_bond_status(bond, &status);
	assert_int_equal(status.member_count, SW_BOND_MEMBERS_MAX);
	sw_port_free(ports[0], on_gone, x);
	sw_bond_status(bond, &status);
	assert_int_equal(status.member_count, SW_BOND_MEMBERS_MAX);
	for (unsigned i = 1; i <= SW_BOND_MEMBERS_MAX; i++)
		sw_port_free(ports[i], on_gone, x);
	wait_gone(x, SW_BOND_MEMBERS_MAX + 1);
	sw_bond_status(bond, &status);
	assert_int_equal(status.member_count, 0);
}

/* ---- active-backup ---- */

static void expect_active(struct fixture *x, unsigned active)
{
	forget(x);
	for (unsigned i = 0; i < 20; i++)
		send_raw(x, 0, broadcast, (const uint8_t[]){2, 0, 0, 0, 1, (uint8_t)i}, i);
	settle(x);
	assert_int_equal(got_by_members(x), 20);
	assert_int_equal(got(x, active), 20);
}

/* As when another process has gone on with all ports, whose links come up together. */
static void who_carried_last_carries_again(void **state)
{
	struct fixture *x = *state;
	struct sw_bond_status status;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP});
	sw_bond_last_set(bond, "nobody");
	expect_active(x, FIRST);
	for (unsigned i = 0; i < MEMBERS; i++)
		set_link(x, FIRST + i, false);
	sw_bond_status(bond, &status);
	assert_null(status.active);
	assert_non_null(status.last);
	sw_bond_last_set(bond, sw_port_name(x->port[FIRST + 1]));
	sw_hold(x->sw);
	for (unsigned i = 0; i < MEMBERS; i++)
		sw_port_link_set(x->port[FIRST + i], true);
	sw_release(x->sw);
	pass_grace(x);
	expect_active(x, FIRST + 1);
}

static void one_member_carries_and_another_when_it_is_down(void **state)
{
	struct fixture *x = *state;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP});
	expect_active(x, FIRST);
	set_link(x, FIRST, false);
	expect_active(x, FIRST + 1);
	set_link(x, FIRST, true);
	expect_active(x, FIRST + 1); /* nobody is preferred */
	remove_port(x, FIRST + 1);
	expect_active(x, FIRST);
	set_link(x, FIRST, false);
	set_link(x, FIRST + 2, false);
	forget(x);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(got_by_members(x), 0);
}

static void the_primary_member_carries_when_it_is_up(void **state)
{
	struct fixture *x = *state;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP, .primary = "p4"});
	expect_active(x, 4);
	set_link(x, 4, false);
	expect_active(x, FIRST);
	set_link(x, 4, true);
	expect_active(x, 4);
}

static void what_others_bring_is_dropped(void **state)
{
	struct fixture *x = *state;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP});
	send_raw(x, FIRST, broadcast, stranger, 0);
	send_raw(x, FIRST + 1, broadcast, stranger, 0);
	send_raw(x, FIRST + 2, broadcast, stranger, 0);
	settle(x);
	assert_int_equal(got(x, 0), 1);
	assert_int_equal(stats_of(x, FIRST).rx_inactive, 0);
	assert_int_equal(stats_of(x, FIRST + 1).rx_inactive, 1);
	assert_int_equal(stats_of(x, FIRST + 2).rx_inactive, 1);
}

/* Who is behind us is told to the bridge there, with the tag of the VLAN that he is in. */
static void another_member_tells_who_is_behind_us(void **state)
{
	struct fixture *x = *state;
	uint8_t source[6];
	bool told = false;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP});
	send_to(x, 0, broadcast);
	forget(x);
	set_link(x, FIRST, false);
	mac_of(source, 0, 0);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !told; i++) {
		struct fake_port *fake = x->fake[FIRST + 1];

		step(x);
		pthread_mutex_lock(&fake->lock);
		for (unsigned f = fake->got.first; f < fake->got.end; f++) {
			const uint8_t *data = fake->got.frames[f]->data;

			told |= !memcmp(data, broadcast, 6) && !memcmp(data + 6, source, 6) && !memcmp(data + 12, "\x80\x35", 2);
		}
		pthread_mutex_unlock(&fake->lock);
	}
	assert_true(told);
	assert_int_equal(fake_port_got(x->fake[FIRST + 2]), 0);
}

static bool has_cable(void *opaque)
{
	return opaque != pulled;
}

/* Of a port that nobody tells of: it is asked. */
static void a_cable_that_is_pulled_is_noticed(void **state)
{
	struct fixture *x = *state;
	struct sw_port_ops ops = fake_port_ops;
	struct sw_bond_status status;

	ops.carrier = has_cable;
	pulled = NULL;
	add_bond(x, (struct sw_bond_config){.mode = SW_BOND_ACTIVE_BACKUP});
	for (unsigned p = FIRST; p < FIRST + 2; p++) {
		char name[] = {'p', (char)('0' + p), 0};
		struct sw_port_config config = {.name = name, .member_of = "b", .ops = &ops};

		config.opaque = x->fake[p] = fake_port_new(true);
		assert_int_equal(sw_port_new(x->sw, &config, &x->port[p]), 0);
		assert_int_equal(sw_queue_add(x->port[p], false, 0), 0);
		assert_int_equal(sw_queue_add(x->port[p], true, 0), 0);
	}
	pass_grace(x);
	expect_active(x, FIRST);
	pulled = x->fake[FIRST];
	sw_bond_status(bond, &status);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && strcmp(status.active, "p4") != 0; i++) {
		step(x);
		sw_bond_status(bond, &status);
	}
	pass_grace(x);
	expect_active(x, FIRST + 1);
	for (unsigned p = FIRST; p < FIRST + 2; p++) /* while its ops are there */
		remove_port(x, p);
}

/* ---- balance ---- */

static void send_flow(struct fixture *x, unsigned flow)
{
	uint8_t frame[64] = {2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};

	frame[34] = 0x40;
	frame[35] = (uint8_t)flow; /* the source port */
	frame[36] = (uint8_t)(flow >> 8);
	frame[39] = 38;
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
}

/* Which member each flow goes out of. */
static void flows_look(struct fixture *x, uint8_t *member)
{
	forget(x);
	for (unsigned flow = 0; flow < FLOWS; flow++)
		send_flow(x, flow);
	settle(x);
	memset(member, 0, FLOWS);
	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++) {
		struct fake_port *fake = x->fake[p];

		for (unsigned i = fake->got.first; i < fake->got.end; i++) {
			const uint8_t *data = fake->got.frames[i]->data;
			unsigned flow = data[35] | (unsigned)data[36] << 8;

			assert_int_equal(member[flow], 0); /* by one alone */
			member[flow] = (uint8_t)p;
		}
	}
	for (unsigned flow = 0; flow < FLOWS; flow++)
		assert_int_not_equal(member[flow], 0);
}

static unsigned carried_by(const uint8_t *member, unsigned p)
{
	unsigned count = 0;

	for (unsigned flow = 0; flow < FLOWS; flow++)
		count += member[flow] == p;
	return count;
}

static void flows_are_spread_and_only_those_of_who_goes_move(void **state)
{
	struct fixture *x = *state;
	uint8_t before[FLOWS], now[FLOWS];

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE, .hash = SW_BOND_LAYER34});
	flows_look(x, before);
	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++)
		assert_in_range(carried_by(before, p), FLOWS / 6, FLOWS / 2);
	flows_look(x, now);
	assert_memory_equal(now, before, FLOWS);
	set_link(x, 4, false);
	flows_look(x, now);
	assert_int_equal(carried_by(now, 4), 0);
	for (unsigned flow = 0; flow < FLOWS; flow++)
		assert_true(now[flow] == before[flow] || before[flow] == 4);
	set_link(x, 4, true);
	flows_look(x, now);
	assert_memory_equal(now, before, FLOWS);
	remove_port(x, 5);
	add_member(x, 5); /* it has its name again, and so its flows */
	flows_look(x, now);
	assert_memory_equal(now, before, FLOWS);
}

/* With layer2+3 ports do not matter, with layer2 addresses of IP do not. */
static void what_is_looked_at_is_what_the_hash_names(void **state)
{
	struct fixture *x = *state;
	uint8_t member[FLOWS];

	for (unsigned hash = SW_BOND_LAYER2; hash <= SW_BOND_LAYER23; hash++) {
		add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE, .hash = (enum sw_bond_hash)hash});
		flows_look(x, member);
		for (unsigned p = FIRST; p < FIRST + MEMBERS; p++) {
			assert_true(carried_by(member, p) == 0 || carried_by(member, p) == FLOWS);
			remove_port(x, p);
		}
		remove_bond(x);
	}
}

/* ---- LACP ---- */

struct partner {
	struct lacp lacp;
	unsigned read[PORTS]; /* frames of what a member has been given */
};

static void partner_init(struct partner *partner, const uint8_t system[6])
{
	struct lacp_config config = {.system_priority = 1, .key = 77}; /* slow: the test may be */

	memset(partner, 0, sizeof(*partner));
	memcpy(config.system, system, 6);
	lacp_init(&partner->lacp, &config);
	for (unsigned i = 0; i < MEMBERS; i++) {
		lacp_member_add(&partner->lacp, i, (uint16_t)(i + 20));
		lacp_link_set(&partner->lacp, i, true, clock_now_ms());
	}
}

static bool is_lacpdu(const struct fake_frame *frame)
{
	return frame->bytes == LACP_FRAME_BYTES && !memcmp(frame->data, "\x01\x80\xc2\0\0\2", 6) && !memcmp(frame->data + 12, "\x88\x09", 2);
}

static void partner_hear(struct fixture *x, struct partner *partner, unsigned member)
{
	struct fake_port *fake = x->fake[FIRST + member];
	uint8_t answer[LACP_FRAME_BYTES];

	pthread_mutex_lock(&fake->lock);
	for (; partner->read[member] < fake->got.end; partner->read[member]++) {
		const struct fake_frame *frame = fake->got.frames[partner->read[member]];

		if (is_lacpdu(frame))
			assert_int_not_equal(lacp_hear(&partner->lacp, member, frame->data, frame->bytes, clock_now_ms(), answer),
					     LACP_HEARD_BAD);
	}
	pthread_mutex_unlock(&fake->lock);
}

static void partner_step(struct fixture *x, struct partner *partner)
{
	uint8_t frame[LACP_FRAME_BYTES];

	step(x);
	lacp_run(&partner->lacp, clock_now_ms());
	for (unsigned i = 0; i < MEMBERS; i++) {
		partner_hear(x, partner, i);
		if (lacp_speak(&partner->lacp, i, clock_now_ms(), frame))
			fake_port_send(x->fake[FIRST + i], 0, frame, sizeof(frame), NULL);
	}
}

static unsigned carrying;

static void count_carrying(void *opaque, const struct sw_bond_member *member)
{
	carrying += member->carries;
}

static void wait_carrying(struct fixture *x, struct partner *partner, unsigned count)
{
	uint64_t end_ms = clock_now_ms() + WAIT_MS_MAX;

	do {
		partner_step(x, partner);
		carrying = 0;
		sw_bond_each(bond, count_carrying, NULL);
	} while (carrying != count && clock_now_ms() < end_ms);
	assert_int_equal(carrying, count);
	pass_grace(x);
}

static void lacp_brings_members_up_and_lets_them_go(void **state)
{
	struct fixture *x = *state;
	struct sw_bond_status status;
	struct partner partner;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_LACP});
	send_raw(x, FIRST, broadcast, stranger, 0);
	settle(x);
	assert_int_equal(got(x, 0), 0); /* nobody has agreed on anything */
	assert_int_equal(stats_of(x, FIRST).rx_inactive, 1);
	partner_init(&partner, (const uint8_t[]){2, 5, 5, 5, 5, 5});
	wait_carrying(x, &partner, MEMBERS);
	send_raw(x, FIRST, broadcast, stranger, 0);
	send_to(x, 0, broadcast);
	settle(x);
	assert_int_equal(got(x, 0), 1);
	assert_int_equal(got_by_members(x), 1);
	sw_bond_status(bond, &status);
	assert_true(status.lacp_partner);
	assert_int_equal(status.partner_key, 77);
	assert_memory_equal(status.partner_system, "\2\5\5\5\5\5", 6);
	partner.lacp.members[1].actor.key = 78; /* that link is to be in another group of his */
	partner.lacp.members[1].ntt = true;
	wait_carrying(x, &partner, MEMBERS - 1);
	assert_true(stats_of(x, FIRST).rx_lacp > 0);
}

/* A cable back to ourselves. */
static void a_partner_that_is_ourselves_gets_nothing(void **state)
{
	struct fixture *x = *state;
	uint64_t end_ms = clock_now_ms() + LACP_WAIT_MS + 500;
	struct sw_bond_status status;
	struct partner partner;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_LACP, .lacp_fast = true});
	sw_bond_status(bond, &status);
	partner_init(&partner, status.lacp_system);
	while (clock_now_ms() < end_ms)
		partner_step(x, &partner);
	assert_true(stats_of(x, FIRST).rx_lacp > 0);
	carrying = 0;
	sw_bond_each(bond, count_carrying, NULL);
	assert_int_equal(carrying, 0);
}

static void slow_frame(uint8_t frame[LACP_FRAME_BYTES])
{
	struct lacp_pdu pdu = {.actor = {.system = {2, 6, 6, 6, 6, 6}, .port = 1, .state = LACP_ACTIVITY | LACP_AGGREGATION}};

	lacp_pdu_put(frame, &pdu);
}

static void lacpdus_of_others_are_not_taken(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[LACP_FRAME_BYTES];

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE}); /* which has no LACP */
	slow_frame(frame);
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
	fake_port_send(x->fake[FIRST], 0, frame, sizeof(frame), NULL);
	settle(x);
	for (unsigned p = 0; p < FIRST + MEMBERS; p++)
		assert_int_equal(fake_port_got(x->fake[p]), 0);
	assert_int_equal(stats_of(x, 0).rx_reserved, 1);
	assert_int_equal(bond_stats().rx_reserved, 1);
	assert_int_equal(stats_of(x, 0).rx_lacp + stats_of(x, FIRST).rx_lacp, 0);
}

static void a_flood_of_lacpdus_is_bounded_and_takes_nothing_from_others(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[LACP_FRAME_BYTES], bad[LACP_FRAME_BYTES];
	uint64_t begun_ms = clock_now_ms();
	struct sw_port_stats stats;
	uint64_t most;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_LACP});
	slow_frame(frame);
	memcpy(bad, frame, sizeof(bad));
	bad[17] = 255;
	for (unsigned i = 0; i < 20000; i++) {
		if (i % 20 == 0)
			send_to(x, 1, broadcast);
		fake_port_send(x->fake[FIRST], 0, i & 1 ? frame : bad, sizeof(frame), NULL);
	}
	settle(x);
	for (unsigned i = 0; i < 100; i++)
		step(x);
	stats = stats_of(x, FIRST);
	most = 21 + (clock_now_ms() - begun_ms) * 20 / 1000;
	assert_in_range(stats.rx_lacp, 1, most);
	assert_int_equal(stats.rx_lacp + stats.rx_lacp_limit, 20000);
	assert_in_range(stats.rx_lacp_bad, 1, stats.rx_lacp);
	assert_int_equal(got(x, 0), 1000);
	assert_int_equal(got(x, 2), 1000);
}

#define FLAPS 20u

/* A partner that agrees and disagrees in turn: what has come meanwhile is looked at together, and one topology is made of it. */
static void a_partner_that_flaps_is_looked_at_once_for_all(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[LACP_FRAME_BYTES];
	struct partner partner;
	struct lacp_pdu pdu;
	uint64_t version, taken, refused;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_LACP});
	partner_init(&partner, (const uint8_t[]){2, 5, 5, 5, 5, 5});
	wait_carrying(x, &partner, MEMBERS);
	pdu = (struct lacp_pdu){.actor = partner.lacp.members[0].actor, .partner = partner.lacp.members[0].partner};
	taken = stats_of(x, FIRST).rx_lacp;
	refused = stats_of(x, FIRST).rx_lacp_limit;
	version = x->sw->version;
	for (unsigned i = 0; i < FLAPS; i++) {
		pdu.actor.state ^= LACP_SYNCHRONIZATION;
		lacp_pdu_put(frame, &pdu);
		fake_port_send(x->fake[FIRST], 0, frame, sizeof(frame), NULL);
	}
	for (unsigned i = 0; i < WAIT_MS_MAX && stats_of(x, FIRST).rx_lacp + stats_of(x, FIRST).rx_lacp_limit < taken + refused + FLAPS; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* workers take them in; nobody looks */
	assert_true(stats_of(x, FIRST).rx_lacp >= taken + 6);
	for (unsigned i = 0; i < 10; i++)
		step(x);
	assert_in_range(x->sw->version - version, 0, 2);
}

/* ---- while frames come ---- */

/* What has gone into the member's port, which is removed. */
static uint64_t remove_member(struct fixture *x, unsigned p)
{
	unsigned before = x->gone;
	uint64_t frames;

	sw_port_free(x->port[p], on_gone, x);
	wait_gone(x, before + 1);
	frames = x->fake[p]->out[0].frames;
	fake_port_free(x->fake[p]);
	x->fake[p] = NULL;
	x->port[p] = NULL;
	return frames;
}

/* Two workers, three members whose links go up and down: each frame goes out once, or is counted as lost for want of a member. */
static void links_flap_under_traffic(void **state)
{
	struct fixture *x = *state;
	uint64_t sent = 0, went = 0;

	add_members(x, (struct sw_bond_config){.mode = SW_BOND_BALANCE, .hash = SW_BOND_LAYER2});
	send_raw(x, FIRST, broadcast, stranger, 0);
	forget(x);
	for (unsigned round = 0; round < 300; round++) {
		unsigned flaps = FIRST + round % MEMBERS;

		for (unsigned i = 0; i < 20; i++, sent += 2)
			for (unsigned from = 0; from < 2; from++)
				send_raw(x, from, stranger, (const uint8_t[]){2, 0, 0, (uint8_t)from, 1, (uint8_t)i}, round);
		if (x->port[flaps])
			sw_port_link_set(x->port[flaps], round / MEMBERS & 1);
		if (round == 150)
			went += remove_member(x, FIRST);
		if (round == 200)
			add_member(x, FIRST);
		step(x);
	}
	settle(x);
	pass_grace(x);
	for (unsigned p = FIRST; p < FIRST + MEMBERS; p++)
		went += remove_member(x, p);
	assert_int_equal(bond_stats().tx_frames, went);
	assert_true(went > sent / 2);
	assert_int_equal(went + bond_stats().tx_no_queue, sent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bonds_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_database_learns_the_bond),
		TEST(what_is_flooded_goes_out_of_one_member),
		TEST(what_a_member_brings_goes_out_of_no_other),
		TEST(a_bond_counts_what_its_members_do),
		TEST(vlans_of_a_bond_hold_at_its_members),
		TEST(members_and_bond_come_in_any_order),
		TEST(a_bond_is_no_member),
		TEST(a_bond_has_so_many_members),
		TEST(one_member_carries_and_another_when_it_is_down),
		TEST(who_carried_last_carries_again),
		TEST(the_primary_member_carries_when_it_is_up),
		TEST(what_others_bring_is_dropped),
		TEST(another_member_tells_who_is_behind_us),
		TEST(a_cable_that_is_pulled_is_noticed),
		TEST(flows_are_spread_and_only_those_of_who_goes_move),
		TEST(what_is_looked_at_is_what_the_hash_names),
		TEST(lacp_brings_members_up_and_lets_them_go),
		TEST(a_partner_that_is_ourselves_gets_nothing),
		TEST(lacpdus_of_others_are_not_taken),
		TEST(a_partner_that_flaps_is_looked_at_once_for_all),
		TEST(a_flood_of_lacpdus_is_bounded_and_takes_nothing_from_others),
		cmocka_unit_test_setup_teardown(links_flap_under_traffic, setup_two_workers, bonds_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
