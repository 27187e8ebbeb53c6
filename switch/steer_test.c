/* SPDX-License-Identifier: BSD-3-Clause */

/* The receiver says which of its queues each frame goes to. */

#include "switch/fake_switch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define STEERED 3u /* the port */
#define QUEUES	4u
#define FRAMES	200u

static void steers_set(struct fixture *x, bool steers)
{
	pthread_mutex_lock(&x->fake[STEERED]->lock);
	x->fake[STEERED]->steers = steers;
	pthread_mutex_unlock(&x->fake[STEERED]->lock);
}

static void start(struct fixture *x, bool aside)
{
	struct sw_port_config config = { .aside = aside };
	uint8_t mac[6];

	add_port_with(x, STEERED, QUEUES, &config);
	mac_of(mac, STEERED, 0);
	send_raw(x, STEERED, broadcast, mac, 0);
	settle(x);
	for (unsigned i = 0; i <= STEERED; i++)
		fake_port_forget(x->fake[i]);
	steers_set(x, true);
	sw_port_steered_set(x->port[STEERED], true);
}

/* Frames whose queues are 0 to `queues` - 1 in turn, in one flow as far as the switch can tell. */
static void send_all(struct fixture *x, unsigned queues)
{
	uint8_t from[6], to[6];

	mac_of(from, 0, 0);
	mac_of(to, STEERED, 0);
	for (unsigned i = 0; i < FRAMES; i++)
		send_raw(x, 0, to, from, i % queues | i << 8);
	settle(x);
}

static unsigned wrong(struct fixture *x)
{
	unsigned count = 0;

	for (unsigned i = 0; i < fake_port_got(x->fake[STEERED]); i++) {
		const struct fake_frame *frame = x->fake[STEERED]->got.frames[i];

		count += frame->queue != frame->data[14];
	}
	return count;
}

static void frames_go_where_the_receiver_wants_them(void **state)
{
	struct fixture *x = *state;
	unsigned last[QUEUES] = { 0 };

	start(x, false);
	send_all(x, QUEUES);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES);
	assert_int_equal(wrong(x), 0);
	for (unsigned i = 0; i < FRAMES; i++) { /* in order */
		const struct fake_frame *frame = x->fake[STEERED]->got.frames[i];
		unsigned number = frame->data[15] + 1u;

		assert_true(number > last[frame->queue]);
		last[frame->queue] = number;
	}
}

static void frame_for_a_queue_that_does_not_run_is_lost_and_counted(void **state)
{
	struct fixture *x = *state;

	start(x, false);
	send_all(x, QUEUES + 1);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES / 5 * 4);
	assert_int_equal(stats_of(x, STEERED).tx_no_queue, FRAMES / 5);
	assert_int_equal(wrong(x), 0);
	/* The first queue leaves: the others stand elsewhere in the list of those that run. */
	sw_queue_remove(x->port[STEERED], true, 0, on_gone, x);
	wait_gone(x, 1);
	fake_port_forget(x->fake[STEERED]);
	send_all(x, QUEUES);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES / 4 * 3);
	assert_int_equal(stats_of(x, STEERED).tx_no_queue, FRAMES / 5 + FRAMES / 4);
	assert_int_equal(wrong(x), 0);
	for (unsigned i = 1; i < QUEUES; i++)
		sw_queue_remove(x->port[STEERED], true, i, on_gone, x);
	wait_gone(x, QUEUES);
	send_all(x, QUEUES);
	assert_int_equal(stats_of(x, STEERED).tx_no_queue, FRAMES / 5 + FRAMES / 4 + FRAMES);
}

/* One queue runs: it is not taken for all, if the receiver wants another. */
static void only_queue_that_runs_gets_what_is_wanted_there(void **state)
{
	struct fixture *x = *state;

	start(x, false);
	for (unsigned i = 0; i < QUEUES; i++)
		if (i != 2)
			sw_queue_remove(x->port[STEERED], true, i, on_gone, x);
	wait_gone(x, QUEUES - 1);
	send_all(x, QUEUES);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES / 4);
	assert_int_equal(wrong(x), 0);
}

static void without_a_word_of_the_receiver_a_flow_keeps_to_one_queue(void **state)
{
	struct fixture *x = *state;
	unsigned queue;

	start(x, false);
	for (unsigned round = 0; round < 2; round++) { /* it says nothing; it is not asked */
		if (!round)
			steers_set(x, false);
		else
			sw_port_steered_set(x->port[STEERED], false);
		send_all(x, QUEUES);
		assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES);
		queue = x->fake[STEERED]->got.frames[0]->queue;
		for (unsigned i = 0; i < FRAMES; i++)
			assert_int_equal(x->fake[STEERED]->got.frames[i]->queue, queue);
		fake_port_forget(x->fake[STEERED]);
		steers_set(x, true);
	}
}

static void limits_and_steering_hold_side_by_side(void **state)
{
	const struct sw_limits slow = { .frames_out = { .per_second = 1, .burst = 10 } }, none = { 0 };
	struct fixture *x = *state;

	start(x, false);
	sw_port_limits_set(x->port[STEERED], &slow);
	send_all(x, QUEUES);
	assert_in_range(fake_port_got(x->fake[STEERED]), 10, 50);
	assert_int_equal(wrong(x), 0);
	sw_port_limits_set(x->port[STEERED], &none); /* and the receiver is still asked */
	fake_port_forget(x->fake[STEERED]);
	send_all(x, QUEUES);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES);
	assert_int_equal(wrong(x), 0);
	sw_port_limits_set(x->port[STEERED], &slow);
	sw_port_steered_set(x->port[STEERED], false); /* and the limit still holds */
	fake_port_forget(x->fake[STEERED]);
	send_all(x, QUEUES);
	assert_in_range(fake_port_got(x->fake[STEERED]), 10, 50);
}

static void port_that_is_served_aside_is_steered_as_well(void **state)
{
	struct fixture *x = *state;

	start(x, true);
	send_all(x, QUEUES);
	for (unsigned i = 0; i < WAIT_MS_MAX && fake_port_got(x->fake[STEERED]) < FRAMES; i++)
		step(x);
	assert_int_equal(fake_port_got(x->fake[STEERED]), FRAMES);
	assert_int_equal(wrong(x), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_go_where_the_receiver_wants_them, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_for_a_queue_that_does_not_run_is_lost_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(only_queue_that_runs_gets_what_is_wanted_there, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_word_of_the_receiver_a_flow_keeps_to_one_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_and_steering_hold_side_by_side, setup, teardown),
		cmocka_unit_test_setup_teardown(port_that_is_served_aside_is_steered_as_well, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
