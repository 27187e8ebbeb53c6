/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Snooping in a switch: who gets what is sent to a group. Port 0 sends, port 1 is a member, port 2 asks, or is none of these. What is heard
 * takes effect a moment later, so each expectation is waited for.
 */

#include "switch/fake_switch.h"
#include "switch/membership.h"
#include "switch/membership_frames.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define OTHER  3u /* a port that a test adds */
#define TURNS  (WAIT_MS_MAX * 5)

static unsigned warnings;

static void count_warnings(void *opaque, enum vireo_log_level level, const char *text)
{
	warnings += level == VIREO_LOG_WARNING && strstr(text, "multicast groups");
}

static int setup_with(void **state, bool querier, bool unknown_to_routers)
{
	const struct sw_config config = {
		.workers = 1,
		.multicast = {.snooping = true, .querier = querier, .unknown_to_routers = unknown_to_routers,
			      .query_interval_s = querier ? 1 : 125},
		.log = {.write = count_warnings, .max_level = VIREO_LOG_WARNING},
	};

	warnings = 0;
	return setup_as(state, &config);
}

static int setup_flooding(void **state)
{
	return setup_with(state, false, false);
}

static int setup_refusing(void **state)
{
	return setup_with(state, false, true);
}

static int setup_asking(void **state)
{
	return setup_with(state, true, true);
}

static void send_frame(struct fixture *x, unsigned from, const struct mframe *f)
{
	uint8_t data[sizeof(f->bytes)];

	memcpy(data, f->bytes, f->count);
	mac_of(data + 6, from, 0);
	fake_port_send(x->fake[from], 0, data, f->count, NULL);
}

static void join(struct fixture *x, unsigned port, uint8_t group)
{
	struct mframe f;

	igmp(&f, 0x16, 0, group);
	send_frame(x, port, &f);
	mld(&f, 131, 0, group);
	send_frame(x, port, &f);
}

static void leave(struct fixture *x, unsigned port, uint8_t group)
{
	struct mframe f;

	igmp(&f, 0x17, 0, group);
	send_frame(x, port, &f);
	mld(&f, 132, 0, group);
	send_frame(x, port, &f);
}

static void ask(struct fixture *x, unsigned port)
{
	struct mframe f;

	igmp(&f, 0x11, 1, 0);
	send_frame(x, port, &f);
	mld(&f, 130, 100, 0);
	send_frame(x, port, &f);
}

/* Which ports have got this frame? What else comes meanwhile (questions, of who asks) is another. */
static unsigned got_frame(struct fixture *x, const struct mframe *f)
{
	unsigned ports = 0;

	for (unsigned p = 0; p < PORTS; p++) {
		struct fake_list *got = x->fake[p] ? &x->fake[p]->got : NULL;

		if (!got)
			continue;
		pthread_mutex_lock(&x->fake[p]->lock);
		for (unsigned i = got->first; i < got->end; i++) {
			uint32_t at = got->frames[i]->bytes - (f->count - 14);

			if (got->frames[i]->bytes >= f->count && !memcmp(got->frames[i]->data + at, f->bytes + 14, f->count - 14))
				ports |= 1u << p;
		}
		pthread_mutex_unlock(&x->fake[p]->lock);
	}
	return ports;
}

static unsigned sent_to(struct fixture *x, unsigned from, const struct mframe *f)
{
	for (unsigned p = 0; p < PORTS; p++)
		if (x->fake[p])
			fake_port_forget(x->fake[p]);
	send_frame(x, from, f);
	settle(x);
	return got_frame(x, f);
}

/* Sooner or later it goes to these ports, a bit each. */
static void assert_goes_to(struct fixture *x, unsigned from, const struct mframe *f, unsigned ports)
{
	unsigned got = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		got = sent_to(x, from, f);
		if (got == ports)
			return;
		step(x);
	}
	assert_int_equal(got, ports);
}

/* Of either family. */
static void assert_data_goes_to(struct fixture *x, unsigned from, uint8_t group, unsigned ports)
{
	struct mframe f;

	udp4(&f, group);
	assert_goes_to(x, from, &f, ports);
	udp6(&f, group);
	assert_goes_to(x, from, &f, ports);
}

struct search {
	const char *port;
	unsigned members, routers, filters, owns, others;
};

static void search_entry(void *opaque, const struct sw_mdb_entry *entry)
{
	struct search *search = opaque;

	if (!search->port || !strcmp(entry->port, search->port)) {
		search->members += !entry->router;
		search->routers += entry->router;
	}
}

static void search_querier(void *opaque, const struct sw_mdb_querier *querier)
{
	struct search *search = opaque;

	search->filters += querier->filters;
	search->owns += querier->own;
	search->others += querier->other;
}

static struct search search(struct fixture *x, const char *port)
{
	struct search found = {.port = port};

	sw_mdb_each(x->sw, search_entry, &found);
	sw_mdb_each_querier(x->sw, search_querier, &found);
	return found;
}

static void wait_members(struct fixture *x, const char *port, unsigned members)
{
	for (unsigned i = 0; i < TURNS && search(x, port).members != members; i++)
		step(x);
	assert_int_equal(search(x, port).members, members);
}

static void wait_filters(struct fixture *x, unsigned sides)
{
	for (unsigned i = 0; i < TURNS && search(x, NULL).filters < sides; i++)
		step(x);
	assert_int_equal(search(x, NULL).filters, sides);
}

/* Port 2 asks, and all have had the time to answer. */
static void begin(struct fixture *x)
{
	ask(x, 2);
	settle(x);
	wait_filters(x, 2);
}

static void where_nobody_asks_all_goes_to_all(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	join(x, 1, 7);
	settle(x);
	wait_members(x, "p1", 2);
	udp4(&f, 7);
	assert_int_equal(sent_to(x, 0, &f), 6);
	udp6(&f, 8);
	assert_int_equal(sent_to(x, 0, &f), 6);
	igmp(&f, 0x16, 0, 8);
	assert_int_equal(sent_to(x, 0, &f), 6);
	assert_int_equal(search(x, NULL).filters, 0);
}

static void a_group_goes_to_its_members_and_to_routers(void **state)
{
	struct fixture *x = *state;

	add_port(x, OTHER, 1);
	begin(x);
	join(x, 1, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2);
	join(x, OTHER, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2 | 1 << OTHER);
	assert_data_goes_to(x, 1, 7, 1 << 2 | 1 << OTHER);
	assert_data_goes_to(x, 2, 7, 1 << 1 | 1 << OTHER);
}

/* A host that hears another's says nothing itself, and would be forgotten. */
static void reports_go_to_routers_only(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	begin(x);
	igmp(&f, 0x16, 0, 7);
	assert_goes_to(x, 0, &f, 1 << 2);
	mld2(&f, "\2\0\0\7", 1);
	assert_goes_to(x, 0, &f, 1 << 2);
	igmp(&f, 0x17, 0, 7);
	assert_goes_to(x, 0, &f, 1 << 2);
	igmp(&f, 0x11, 10, 0);
	assert_goes_to(x, 2, &f, 1 << 0 | 1 << 1);
}

static void unknown_groups_go_to_all(void **state)
{
	struct fixture *x = *state;

	begin(x);
	join(x, 1, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2);
	assert_data_goes_to(x, 0, 8, 1 << 1 | 1 << 2);
	assert_data_goes_to(x, 1, 8, 1 << 0 | 1 << 2);
}

static void unknown_groups_go_to_routers_if_so_told(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_data_goes_to(x, 1, 8, 1 << 2);
	assert_data_goes_to(x, 2, 8, 0);
}

static void what_is_local_goes_to_all(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	begin(x);
	assert_data_goes_to(x, 1, 8, 1 << 2); /* it filters */
	udp4(&f, 251);
	memcpy(f.bytes, (uint8_t[]){1, 0, 0x5e, 0, 0, 251}, 6);
	memcpy(f.bytes + 14 + 16, (uint8_t[]){224, 0, 0, 251}, 4);
	assert_int_equal(sent_to(x, 0, &f), 1 << 1 | 1 << 2);
	udp6(&f, 1);
	f.bytes[14 + 25] = 2;
	assert_int_equal(sent_to(x, 0, &f), 1 << 1 | 1 << 2);
	udp4(&f, 8);
	f.bytes[12] = 0x88; /* no IP, at such an address */
	assert_int_equal(sent_to(x, 0, &f), 1 << 1 | 1 << 2);
}

static void who_leaves_fast_is_gone_at_once(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.multicast = {.fast_leave = true}};

	add_port_with(x, OTHER, 1, &config);
	begin(x);
	join(x, OTHER, 7);
	join(x, 1, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2 | 1 << OTHER);
	leave(x, OTHER, 7);
	settle(x);
	assert_int_equal(search(x, "p3").members, 0);
	leave(x, 1, 7);
	settle(x);
	assert_int_equal(search(x, "p1").members, 2); /* others may be behind it: who asks finds out */
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2);
}

/* The querier asks, nobody answers. */
static void a_question_about_a_group_shortens_its_life(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	begin(x);
	join(x, 1, 7);
	settle(x);
	wait_members(x, "p1", 2);
	igmp(&f, 0x11, 1, 7);
	send_frame(x, 2, &f);
	settle(x);
	wait_members(x, "p1", 1);
}

/* However often port 2 asks so: with these codes, about the group. */
static void assert_silences_nobody(struct fixture *x, uint8_t igmp_code, uint16_t mld_code, uint8_t group)
{
	struct mframe f;

	for (unsigned i = 0; i < 50; i++) {
		igmp(&f, 0x11, igmp_code, group);
		send_frame(x, 2, &f);
		mld(&f, 130, mld_code, group);
		send_frame(x, 2, &f);
		settle(x);
	}
	assert_int_equal(search(x, NULL).others, 0);
	assert_true(search(x, NULL).owns > 0);
}

/* What asks about one group makes nobody else's members answer: who has been silent for it would be forgotten. */
static void who_asks_about_one_group_silences_nobody(void **state)
{
	assert_silences_nobody(*state, 1, 100, 7);
}

/* Nor who gives them more time for an answer than they are remembered for. */
static void who_asks_for_late_answers_silences_nobody(void **state)
{
	assert_silences_nobody(*state, 200, 20000, 0);
}

static bool is_question(const struct fake_frame *frame, uint8_t family, uint8_t group)
{
	struct membership m = {.records = 0};

	if (frame->bytes < 60 || membership_look(frame->data, frame->bytes, frame->bytes, 12, true, &m) != MEMBERSHIP_QUERY)
		return false;
	return m.family == family && (group ? m.group.bytes[family == 4 ? 3 : 15] == group : !m.group.family);
}

static unsigned questions(struct fake_port *fake, uint8_t family, uint8_t group)
{
	unsigned count = 0;

	pthread_mutex_lock(&fake->lock);
	for (unsigned i = fake->got.first; i < fake->got.end; i++)
		count += is_question(fake->got.frames[i], family, group);
	pthread_mutex_unlock(&fake->lock);
	return count;
}

static void wait_question(struct fixture *x, unsigned port, uint8_t family, uint8_t group, unsigned count)
{
	for (unsigned i = 0; i < TURNS && questions(x->fake[port], family, group) < count; i++)
		step(x);
	assert_true(questions(x->fake[port], family, group) >= count);
}

/* Members are forgotten soon here: on a machine that is busy, it is said again. */
static void the_querier_asks_all_and_whoever_is_left_behind(void **state)
{
	struct fixture *x = *state;

	for (unsigned p = 0; p < 3; p++) {
		wait_question(x, p, 4, 0, 2);
		wait_question(x, p, 6, 0, 2);
	}
	for (unsigned i = 0; i < 500 && !(questions(x->fake[1], 4, 7) && questions(x->fake[1], 6, 7)); i++) {
		join(x, 1, 7);
		leave(x, 1, 7);
		settle(x);
		for (unsigned n = 0; n < 200 && !questions(x->fake[1], 6, 7); n++)
			step(x);
	}
	assert_true(questions(x->fake[1], 4, 7) && questions(x->fake[1], 6, 7));
	assert_int_equal(questions(x->fake[0], 4, 7), 0);
	wait_members(x, "p1", 0);
}

/* The smaller address asks: fe80::5, and in IPv4 anybody who has one. */
static void the_querier_leaves_it_to_another(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 500 && search(x, NULL).others < 2; i++) {
		ask(x, 2);
		settle(x);
	}
	assert_int_equal(search(x, NULL).others, 2);
	assert_int_equal(search(x, NULL).owns, 0);
}

static void members_that_say_nothing_are_forgotten(void **state)
{
	struct fixture *x = *state;

	wait_filters(x, 2);
	join(x, 1, 7);
	settle(x);
	assert_int_equal(stats_of(x, 1).rx_membership, 2);
	wait_members(x, "p1", 0);
	assert_int_equal(sw_mdb_groups(x->sw), 0);
	assert_data_goes_to(x, 0, 7, 0);
	assert_true(stats_of(x, 0).rx_no_member > 0);
}

static void a_port_has_so_many_groups_and_one_line_says_so(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.multicast = {.groups_max = 4}};
	struct mframe f;

	add_port_with(x, OTHER, 1, &config);
	for (uint8_t group = 1; group <= 50; group++) {
		igmp(&f, 0x16, 0, group);
		send_frame(x, OTHER, &f);
	}
	settle(x);
	join(x, 1, 60);
	settle(x);
	wait_members(x, "p3", 4);
	wait_members(x, "p1", 2);
	for (unsigned i = 0; i < TURNS && !warnings; i++)
		step(x);
	igmp(&f, 0x16, 0, 99);
	send_frame(x, OTHER, &f);
	settle(x);
	assert_int_equal(stats_of(x, OTHER).rx_membership_full, 47);
	remove_port(x, OTHER);
	assert_int_equal(warnings, 1);
	wait_members(x, "p3", 0);
	wait_members(x, NULL, 2);
}

static void a_port_says_no_more_than_it_may(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	for (unsigned i = 0; i < TURNS && !stats_of(x, 1).rx_membership_limit; i++) {
		for (unsigned n = 0; n < 1000; n++)
			send_frame(x, 1, &f);
		settle(x);
	}
	assert_true(stats_of(x, 1).rx_membership_limit > 0);
	join(x, 0, 8); /* others are heard */
	settle(x);
	wait_members(x, "p0", 2);
}

static void what_lies_reaches_nobody_and_is_counted(void **state)
{
	struct fixture *x = *state;
	struct mframe f;

	igmp3(&f, "\2\0\0\7", 1);
	store16(&f, f.message + 6, 0xffff);
	mframe_sum(&f);
	assert_int_equal(sent_to(x, 0, &f), 0);
	assert_int_equal(stats_of(x, 0).rx_membership_bad, 1);
	assert_int_equal(stats_of(x, 0).rx_membership, 0);
	assert_int_equal(search(x, NULL).members, 0);
	mld(&f, 131, 0, 7);
	f.bytes[f.message + 20] ^= 1;
	assert_int_equal(sent_to(x, 0, &f), 0);
	assert_int_equal(stats_of(x, 0).rx_membership_bad, 2);
}

static void who_is_no_router_may_not_ask(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.multicast = {.router = SW_ROUTER_NEVER}};
	struct mframe f;

	add_port_with(x, OTHER, 1, &config);
	igmp(&f, 0x11, 1, 0);
	assert_int_equal(sent_to(x, OTHER, &f), 0);
	assert_int_equal(stats_of(x, OTHER).rx_router, 1);
	assert_int_equal(search(x, NULL).routers, 0);
}

static void what_a_port_may_changes_while_it_is_there(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {0};
	struct mframe f;

	add_port_with(x, OTHER, 1, &config);
	begin(x);
	ask(x, OTHER);
	assert_data_goes_to(x, 0, 8, 1 << 2 | 1 << OTHER);
	sw_port_multicast_set(x->port[OTHER], &(struct sw_port_multicast){.router = SW_ROUTER_NEVER});
	assert_data_goes_to(x, 0, 8, 1 << 2); /* what was heard before does not count any more */
	igmp(&f, 0x11, 1, 0);
	assert_int_equal(sent_to(x, OTHER, &f), 0);
	assert_int_equal(stats_of(x, OTHER).rx_router, 1);
	sw_port_multicast_set(x->port[OTHER], &(struct sw_port_multicast){.router = SW_ROUTER_ALWAYS});
	assert_data_goes_to(x, 0, 8, 1 << 2 | 1 << OTHER);
	sw_port_multicast_set(x->port[OTHER], &(struct sw_port_multicast){.groups_max = 1});
	assert_data_goes_to(x, 0, 8, 1 << 2); /* it would have to ask again */
	join(x, OTHER, 7); /* two groups, of a family each */
	settle(x);
	wait_members(x, "p3", 1);
	assert_int_equal(stats_of(x, OTHER).rx_membership_full, 1);
	sw_port_multicast_set(x->port[OTHER], &(struct sw_port_multicast){.groups_max = 2});
	join(x, OTHER, 7);
	settle(x);
	wait_members(x, "p3", 2);
	leave(x, OTHER, 7);
	settle(x);
	assert_int_equal(search(x, "p3").members, 2);
	sw_port_multicast_set(x->port[OTHER], &(struct sw_port_multicast){.fast_leave = true});
	leave(x, OTHER, 7);
	settle(x);
	wait_members(x, "p3", 0);
}

static void a_router_that_is_named_gets_everything(void **state)
{
	struct fixture *x = *state;
	struct sw_port_config config = {.multicast = {.router = SW_ROUTER_ALWAYS}};
	struct mframe f;

	add_port_with(x, OTHER, 1, &config);
	begin(x);
	assert_data_goes_to(x, 0, 8, 1 << 2 | 1 << OTHER);
	join(x, 1, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2 | 1 << OTHER);
	igmp(&f, 0x16, 0, 7);
	assert_goes_to(x, 0, &f, 1 << 2 | 1 << OTHER);
}

static void a_port_that_goes_takes_what_is_known_with_it(void **state)
{
	struct fixture *x = *state;

	begin(x);
	join(x, 1, 7);
	assert_data_goes_to(x, 0, 7, 1 << 1 | 1 << 2);
	sw_port_link_set(x->port[1], false);
	assert_int_equal(search(x, "p1").members, 0);
	remove_port(x, 2);
	assert_int_equal(search(x, NULL).routers, 0);
}

static void groups_are_a_vlans_own(void **state)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 10 | 1u << 20};
	struct fixture *x = *state;
	struct sw_port_config trunk = {.vlan_aware = true, .tagged = tagged};
	struct sw_port_config ten = {.vlan_aware = true, .vlan = 10}, twenty = {.vlan_aware = true, .vlan = 20};
	struct mframe f;

	add_port_with(x, 3, 1, &trunk);
	add_port_with(x, 4, 1, &ten);
	add_port_with(x, 5, 1, &ten);
	add_port_with(x, 6, 1, &twenty);
	ask(x, 5);
	ask(x, 6);
	settle(x);
	wait_filters(x, 4);
	join(x, 4, 7);
	assert_data_goes_to(x, 5, 7, 1 << 4);
	assert_data_goes_to(x, 6, 7, 0);
	/* A member behind a trunk is one in the VLAN of its tag. */
	igmp(&f, 0x16, 0, 7);
	memmove(f.bytes + 16, f.bytes + 12, f.count - 12);
	memcpy(f.bytes + 12, (uint8_t[]){0x81, 0, 0, 20}, 4);
	f.count += 4;
	send_frame(x, 3, &f);
	settle(x);
	udp4(&f, 7);
	assert_goes_to(x, 6, &f, 1 << 3);
	assert_goes_to(x, 5, &f, 1 << 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(where_nobody_asks_all_goes_to_all, setup_flooding, teardown),
		cmocka_unit_test_setup_teardown(a_group_goes_to_its_members_and_to_routers, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(reports_go_to_routers_only, setup_flooding, teardown),
		cmocka_unit_test_setup_teardown(unknown_groups_go_to_all, setup_flooding, teardown),
		cmocka_unit_test_setup_teardown(unknown_groups_go_to_routers_if_so_told, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(what_is_local_goes_to_all, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(who_leaves_fast_is_gone_at_once, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(a_question_about_a_group_shortens_its_life, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(the_querier_asks_all_and_whoever_is_left_behind, setup_asking, teardown),
		cmocka_unit_test_setup_teardown(the_querier_leaves_it_to_another, setup_asking, teardown),
		cmocka_unit_test_setup_teardown(who_asks_about_one_group_silences_nobody, setup_asking, teardown),
		cmocka_unit_test_setup_teardown(who_asks_for_late_answers_silences_nobody, setup_asking, teardown),
		cmocka_unit_test_setup_teardown(members_that_say_nothing_are_forgotten, setup_asking, teardown),
		cmocka_unit_test_setup_teardown(a_port_has_so_many_groups_and_one_line_says_so, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(a_port_says_no_more_than_it_may, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(what_lies_reaches_nobody_and_is_counted, setup_flooding, teardown),
		cmocka_unit_test_setup_teardown(who_is_no_router_may_not_ask, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(what_a_port_may_changes_while_it_is_there, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(a_router_that_is_named_gets_everything, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_goes_takes_what_is_known_with_it, setup_refusing, teardown),
		cmocka_unit_test_setup_teardown(groups_are_a_vlans_own, setup_refusing, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
