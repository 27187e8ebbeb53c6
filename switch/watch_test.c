/* SPDX-License-Identifier: BSD-3-Clause */

/* Who keeps a copy of the forwarding database, beside a switch at work. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define VLAN_WORDS SW_VLAN_SET_WORDS

struct seen {
	struct sw_watch *watch;
	unsigned news, takes, count;
	bool all;
	struct sw_watch_place last;
};

static void on_news(void *opaque)
{
	struct seen *seen = opaque;

	seen->news++;
}

static void on_place(void *opaque, const struct sw_watch_place *place)
{
	struct seen *seen = opaque;

	seen->count++;
	seen->last = *place;
}

static void take(struct seen *seen)
{
	bool more;

	seen->count = 0;
	seen->all = false;
	do {
		bool all;

		more = sw_watch_take(seen->watch, on_place, seen, &all);
		seen->all |= all;
	} while (more);
}

static void walk(struct seen *seen)
{
	seen->count = 0;
	sw_watch_walk(seen->watch, on_place, seen);
}

static void wait_news(struct fixture *x, struct seen *seen)
{
	unsigned before = seen->takes;

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && seen->news == before; i++)
		step(x);
	assert_int_equal(seen->news, before + 1);
	seen->takes++;
	take(seen);
}

static void watch(struct fixture *x, struct seen *seen)
{
	*seen = (struct seen){0};
	assert_int_equal(sw_watch_new(x->sw, on_news, seen, &seen->watch), 0);
	wait_news(x, seen);
	assert_true(seen->all);
}

static void say(struct fixture *x, unsigned from, unsigned owner, unsigned i)
{
	uint8_t source[6];

	mac_of(source, owner, i);
	send_raw(x, from, broadcast, source, 0);
	settle(x);
}

static void expect_place(const struct seen *seen, unsigned owner, unsigned i, const struct sw_port *port)
{
	uint8_t mac[6];

	mac_of(mac, owner, i);
	assert_int_equal(seen->count, 1);
	assert_memory_equal(seen->last.mac, mac, 6);
	assert_ptr_equal(seen->last.port, port);
}

static void addresses_are_told_as_they_come_move_and_go(void **state)
{
	struct fixture *x = *state;
	struct seen seen;

	watch(x, &seen);
	say(x, 0, 0, 5);
	wait_news(x, &seen);
	assert_false(seen.all);
	expect_place(&seen, 0, 5, x->port[0]);
	say(x, 1, 0, 5);
	wait_news(x, &seen);
	expect_place(&seen, 0, 5, x->port[1]);
	walk(&seen);
	expect_place(&seen, 0, 5, x->port[1]);
	sw_fdb_flush(x->sw, NULL);
	wait_news(x, &seen);
	expect_place(&seen, 0, 5, NULL);
	walk(&seen);
	assert_int_equal(seen.count, 0);
	sw_watch_free(seen.watch);
}

static void a_port_that_gets_or_loses_queues_link_or_vlans_is_news_of_all(void **state)
{
	struct fixture *x = *state;
	struct seen seen;

	watch(x, &seen);
	assert_true(sw_port_serves(x->port[0]));
	sw_queue_remove(x->port[0], true, 0, NULL, NULL);
	wait_news(x, &seen);
	assert_true(seen.all);
	assert_false(sw_port_serves(x->port[0]));
	pass_grace(x);
	take(&seen); /* passing is a port as well */
	seen.takes = seen.news;
	assert_int_equal(sw_queue_add(x->port[0], true, 0), 0);
	wait_news(x, &seen);
	assert_true(seen.all);
	assert_true(sw_port_serves(x->port[0]));
	sw_port_link_set(x->port[0], false);
	wait_news(x, &seen);
	assert_true(seen.all);
	assert_false(sw_port_serves(x->port[0]));
	sw_port_link_set(x->port[0], true);
	wait_news(x, &seen);
	assert_true(seen.all && sw_port_serves(x->port[0]));
	assert_int_equal(sw_port_rules_set(x->port[0], &(struct sw_port_config){.uplink = true}), 0);
	wait_news(x, &seen);
	assert_true(seen.all && sw_port_is_uplink(x->port[0]));
	sw_watch_free(seen.watch);
}

static void a_port_that_is_being_removed_has_no_addresses(void **state)
{
	struct fixture *x = *state;
	struct seen seen;

	watch(x, &seen);
	say(x, 2, 2, 1);
	wait_news(x, &seen);
	expect_place(&seen, 2, 1, x->port[2]);
	sw_port_free(x->port[2], on_gone, x);
	walk(&seen); /* it is in the table yet */
	assert_int_equal(seen.count, 0);
	wait_news(x, &seen);
	wait_gone(x, 1);
	fake_port_free(x->fake[2]);
	x->fake[2] = NULL;
	x->port[2] = NULL;
	take(&seen);
	assert_true(seen.count == 0 || !seen.last.port);
	sw_watch_free(seen.watch);
}

static void more_addresses_than_there_is_room_for_are_all_found_by_a_walk(void **state)
{
	struct fixture *x = *state;
	struct seen seen;

	watch(x, &seen);
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t source[6];

		mac_of(source, 0, i);
		send_raw(x, 0, broadcast, source, 0);
		if (i % 64 == 63)
			settle(x);
	}
	settle(x);
	take(&seen);
	assert_true(seen.all);
	walk(&seen);
	assert_int_equal(seen.count, 5000);
	sw_watch_free(seen.watch);
}

static void a_port_says_with_which_tag_a_vlan_goes_to_it(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[VLAN_WORDS] = {[0] = 1ull << 20 | 1ull << 30};

	add_port_with(x, 3, 1, &(struct sw_port_config){.vlan = 10, .vlan_aware = true, .tagged = tagged});
	assert_int_equal(sw_port_tag(x->port[3], 10), 0);
	assert_int_equal(sw_port_tag(x->port[3], 20), 20);
	assert_int_equal(sw_port_tag(x->port[3], 30), 30);
	assert_int_equal(sw_port_tag(x->port[3], 40), -ENOENT);
	assert_int_equal(sw_port_tag(x->port[0], 0), 0);
	assert_int_equal(sw_port_tag(x->port[0], 10), -ENOENT);
	assert_true(sw_port_number(x->port[0]) != sw_port_number(x->port[3]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses_are_told_as_they_come_move_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_gets_or_loses_queues_link_or_vlans_is_news_of_all, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_is_being_removed_has_no_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(more_addresses_than_there_is_room_for_are_all_found_by_a_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_says_with_which_tag_a_vlan_goes_to_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
