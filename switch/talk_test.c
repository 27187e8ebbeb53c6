/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/talk.h"
#include "base/clock.h"
#include "switch/core.h"
#include "switch/fake_switch.h"
#include "switch/forwarder.h"
#include "switch/port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka.h wants those before it */
#include <cmocka.h>

struct told {
	const char *from, *to;
	uint64_t frames, bytes;
	unsigned pairs; /* in all */
};

static void take(void *opaque, const struct sw_talk_pair *pair)
{
	struct told *told = opaque;

	told->pairs++;
	if (strcmp(pair->from, told->from) != 0 || strcmp(pair->to, told->to) != 0)
		return;
	told->frames += pair->frames;
	told->bytes += pair->bytes;
}

static struct told told_of(struct fixture *x, unsigned from, unsigned to)
{
	struct told told = {.from = sw_port_name(x->port[from]), .to = sw_port_name(x->port[to])};

	sw_talk_each(x->sw, take, &told);
	return told;
}

static void send(struct fixture *x, unsigned from, unsigned to, unsigned count)
{
	uint8_t source[6], destination[6];

	mac_of(source, from, 0);
	mac_of(destination, to, 0);
	for (unsigned i = 0; i < count; i++)
		send_raw(x, from, destination, source, i);
	settle(x);
}

/* As if 10 seconds were for ever: the machine may be slow. */
static void ask(struct fixture *x)
{
	assert_int_equal(sw_talk_ask(x->sw), 0);
	loop_timer_stop(x->sw->talk_timer);
}

/* Everybody knows where everybody is. */
static void introduce(struct fixture *x)
{
	uint8_t mac[6];

	for (unsigned p = 0; p < 3; p++) {
		mac_of(mac, p, 0);
		send_raw(x, p, broadcast, mac, 0);
		settle(x);
	}
	pass_grace(x);
}

static void nothing_is_counted_unless_somebody_asks(void **state)
{
	struct fixture *x = *state;

	introduce(x);
	send(x, 0, 1, 3);
	assert_int_equal(told_of(x, 0, 1).pairs, 0);
	ask(x);
	assert_int_equal(told_of(x, 0, 1).pairs, 0);
	talk_rest(x->sw);
	send(x, 0, 1, 3);
	assert_int_equal(told_of(x, 0, 1).pairs, 0);
}

static void each_pair_has_its_frames_and_bytes(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	introduce(x);
	ask(x);
	send(x, 0, 1, 3);
	send(x, 1, 0, 2);
	assert_int_equal(told_of(x, 0, 1).frames, 3);
	assert_int_equal(told_of(x, 0, 1).bytes, 3 * 64);
	assert_int_equal(told_of(x, 1, 0).frames, 2);
	assert_int_equal(told_of(x, 1, 0).pairs, 2);
	mac_of(mac, 2, 0);
	send_raw(x, 2, broadcast, mac, 0);
	settle(x);
	assert_int_equal(told_of(x, 2, 0).frames, 1);
	assert_int_equal(told_of(x, 2, 1).frames, 1);
	ask(x); /* who goes on asking begins nothing anew */
	assert_int_equal(told_of(x, 0, 1).frames, 3);
}

static void who_asks_after_a_while_begins_anew(void **state)
{
	struct fixture *x = *state;

	introduce(x);
	ask(x);
	send(x, 0, 1, 3);
	talk_rest(x->sw);
	send(x, 0, 1, 4);
	assert_int_equal(told_of(x, 0, 1).frames, 3);
	ask(x);
	send(x, 0, 1, 5);
	assert_int_equal(told_of(x, 0, 1).frames, 5);
}

static void a_port_that_has_gone_leaves_nothing_to_the_next(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];
	uint16_t id = x->port[1]->id;

	introduce(x);
	ask(x);
	send(x, 0, 1, 3);
	remove_port(x, 1);
	add_port(x, 1, 1); /* while somebody asks: it is counted, too */
	assert_int_equal(x->port[1]->id, id);
	assert_int_equal(told_of(x, 0, 1).pairs, 0);
	pass_grace(x);
	mac_of(mac, 1, 0);
	send_raw(x, 1, broadcast, mac, 0);
	settle(x);
	assert_int_equal(told_of(x, 1, 0).frames, 1);
	send(x, 0, 1, 2);
	assert_int_equal(told_of(x, 0, 1).frames, 2);
}

/* ---- many ports, with a worker that only counts ---- */

#define CROWD 64u

static void crowd_add(struct fixture *x, struct sw_port **crowd)
{
	for (unsigned i = 0; i < CROWD; i++) {
		char name[8];
		struct sw_port_config config = {.ops = &fake_port_ops, .name = name};

		snprintf(name, sizeof(name), "c%u", i);
		assert_int_equal(sw_port_new(x->sw, &config, &crowd[i]), 0);
	}
}

static void crowd_remove(struct fixture *x, struct sw_port **crowd)
{
	unsigned before = x->gone;

	for (unsigned i = 0; i < CROWD; i++)
		sw_port_free(crowd[i], on_gone, x);
	wait_gone(x, before + CROWD);
}

/* A frame of each to each other. */
static void crowd_talk(struct fixture *x, struct sw_port *const *crowd)
{
	static struct forwarder forwarder;
	struct vireo_frame frame = {.len_bytes = 64}, *const frames[] = {&frame};

	forwarder.sw = x->sw;
	for (unsigned i = 0; i < CROWD; i++) {
		forwarder.burst.from = crowd[i];
		for (unsigned j = 0; j < CROWD; j++)
			talk_count(&forwarder, crowd[j], frames, 1);
	}
}

static void count_pair(void *opaque, const struct sw_talk_pair *pair)
{
	unsigned *pairs = opaque;

	assert_int_equal(pair->bytes, pair->frames * 64);
	++*pairs;
}

static unsigned pairs_of(struct fixture *x)
{
	unsigned pairs = 0;

	sw_talk_each(x->sw, count_pair, &pairs);
	return pairs;
}

static void all_pairs_of_many_ports_are_counted(void **state)
{
	struct fixture *x = *state;
	struct sw_port *crowd[CROWD];

	crowd_add(x, crowd);
	ask(x);
	for (unsigned i = 0; i < 3; i++)
		crowd_talk(x, crowd);
	assert_int_equal(pairs_of(x), CROWD * (CROWD - 1));
	assert_int_equal(sw_talk_uncounted(x->sw), 0);
	crowd_remove(x, crowd);
}

/* Rows stay with ports that have gone until there is no room; who asks then gets new ones, but not each time. */
static void who_finds_no_room_is_told_and_gets_some(void **state)
{
	struct fixture *x = *state;
	struct sw_port *crowd[CROWD];
	unsigned others = 0;

	ask(x);
	crowd_add(x, crowd);
	crowd_talk(x, crowd);
	while (!sw_talk_uncounted(x->sw)) {
		crowd_remove(x, crowd);
		crowd_add(x, crowd);
		crowd_talk(x, crowd);
		assert_in_range(++others, 1, 9);
	}
	assert_in_range(others, 1, 9);
	x->sw->talk_since_us = clock_now_us(); /* however slow the machine is */
	ask(x);
	assert_true(sw_talk_uncounted(x->sw) > 0);
	x->sw->talk_since_us -= SW_TALK_MS * 1000;
	ask(x);
	assert_int_equal(sw_talk_uncounted(x->sw), 0);
	assert_int_equal(pairs_of(x), 0);
	crowd_talk(x, crowd);
	assert_int_equal(pairs_of(x), CROWD * (CROWD - 1));
	assert_int_equal(sw_talk_uncounted(x->sw), 0);
	crowd_remove(x, crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_counted_unless_somebody_asks, setup, teardown),
		cmocka_unit_test_setup_teardown(each_pair_has_its_frames_and_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(who_asks_after_a_while_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_has_gone_leaves_nothing_to_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(all_pairs_of_many_ports_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(who_finds_no_room_is_told_and_gets_some, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
