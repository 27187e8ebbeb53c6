/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Signals that a port holds back are looked at when they are due, whoever sleeps, goes or comes meanwhile. With two workers: made to run
 * under ThreadSanitizer as well. A test waits for what is to happen; where nothing is, signals are held for longer than it runs.
 */

#include "base/clock.h"
#include "switch/core.h"
#include "switch/fake_switch.h"
#include "switch/forwarder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define EVER_NS UINT64_C(3600000000000)
#define SOON_NS UINT64_C(2000000)
#define IN 0u
#define OUT 1u
#define P 1u /* who holds */

static int setup_two(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 2});
}

static void frame(struct fixture *x, unsigned from, unsigned to)
{
	uint8_t source[6], destination[6];

	mac_of(source, from, 0);
	mac_of(destination, to, 0);
	send_raw(x, from, destination, source, 0);
}

/* Everybody knows where everybody is, and nothing is on its way. */
static void begin(struct fixture *x, uint64_t holds_ns)
{
	uint8_t mac[6];

	for (unsigned p = 0; p < 3; p++) {
		mac_of(mac, p, 0);
		send_raw(x, p, broadcast, mac, 0);
		settle(x);
	}
	for (unsigned i = 0; i < 2 * WAIT_MS_MAX && fake_port_got(x->fake[P]) < 2; i++)
		step(x);
	pass_grace(x);
	pthread_mutex_lock(&x->fake[P]->lock);
	x->fake[P]->holds_ns = holds_ns;
	pthread_mutex_unlock(&x->fake[P]->lock);
	sw_port_signals_set(x->port[P], true);
}

static unsigned signals(struct fixture *x, unsigned way, bool *ret_held)
{
	struct fake_port *fake = x->fake[P];
	unsigned count;

	pthread_mutex_lock(&fake->lock);
	count = fake->signals[way][0];
	*ret_held = fake->since_ns[way][0];
	pthread_mutex_unlock(&fake->lock);
	return count;
}

static void wait_held(struct fixture *x, unsigned way, bool wanted)
{
	bool held = !wanted;

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && held != wanted; i++) {
		step(x);
		signals(x, way, &held);
	}
	assert_int_equal(held, wanted);
}

/* So many at least, and nothing is held any more. */
static void wait_signals(struct fixture *x, unsigned way, unsigned count)
{
	bool held = true;

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && (signals(x, way, &held) < count || held); i++)
		step(x);
	assert_true(signals(x, way, &held) >= count);
	assert_false(held);
}

static void carry(struct fixture *x, unsigned way)
{
	if (way == OUT)
		frame(x, 0, P);
	else
		frame(x, P, 0);
}

static void a_worker_that_sleeps_wakes_when_it_is_due(void **state)
{
	struct fixture *x = *state;

	for (unsigned way = 0; way < 2; way++) {
		begin(x, SOON_NS);
		for (unsigned i = 1; i <= 20; i++) {
			carry(x, way);
			wait_signals(x, way, i);
		}
	}
}

static void frames_that_come_meanwhile_are_told_of_at_once(void **state)
{
	struct fixture *x = *state;
	bool held;

	begin(x, EVER_NS);
	for (unsigned way = 0; way < 2; way++) {
		for (unsigned i = 0; i < 50; i++)
			carry(x, way);
		settle(x);
		wait_held(x, way, true);
		assert_int_equal(signals(x, way, &held), 0);
	}
}

static void holds_set(struct fixture *x, uint64_t holds_ns)
{
	pthread_mutex_lock(&x->fake[P]->lock);
	x->fake[P]->holds_ns = holds_ns;
	pthread_mutex_unlock(&x->fake[P]->lock);
	sw_port_signals_set(x->port[P], true);
}

static void what_is_held_is_looked_at_when_limits_change(void **state)
{
	struct fixture *x = *state;

	begin(x, EVER_NS);
	for (unsigned i = 1; i <= 5; i++) {
		carry(x, OUT);
		carry(x, IN);
		wait_held(x, OUT, true);
		wait_held(x, IN, true);
		for (unsigned again = 0; again < 3; again++)
			holds_set(x, EVER_NS);
		holds_set(x, 0);
		wait_signals(x, OUT, i);
		wait_signals(x, IN, i);
		holds_set(x, EVER_NS);
	}
}

/* Frames have limits of their own, which come and go. */
static void new_limits_of_frames_change_nothing_about_it(void **state)
{
	const struct sw_limits some = {.frames_in = {.per_second = 1000000}, .frames_out = {.per_second = 1000000}}, none = {0};
	struct fixture *x = *state;

	begin(x, SOON_NS);
	for (unsigned i = 1; i <= 2; i++) {
		sw_port_limits_set(x->port[P], i == 1 ? &some : &none);
		carry(x, OUT);
		wait_signals(x, OUT, i);
		carry(x, IN);
		wait_signals(x, IN, i);
	}
}

static void a_link_that_goes_down_leaves_nothing_held(void **state)
{
	struct fixture *x = *state;

	begin(x, EVER_NS);
	carry(x, OUT);
	wait_held(x, OUT, true);
	sw_port_link_set(x->port[P], false);
	wait_signals(x, OUT, 1);
	sw_port_link_set(x->port[P], true);
}

/* What is due in between finds no queue, and the link is up again before anybody has thought of it. */
static void a_link_that_comes_back_at_once_leaves_nothing_held(void **state)
{
	struct fixture *x = *state;

	begin(x, 10 * SOON_NS);
	carry(x, OUT);
	settle(x);
	sw_port_link_set(x->port[P], false);
	nanosleep(&(struct timespec){.tv_nsec = 15 * SOON_NS}, NULL);
	sw_port_link_set(x->port[P], true);
	wait_signals(x, OUT, 1);
}

static void a_member_of_a_bond_is_looked_at_when_limits_change(void **state)
{
	struct sw_bond_config as = {.mode = SW_BOND_ACTIVE_BACKUP};
	struct sw_port_config config = {.name = "b", .bond = &as, .flood_copies = SW_FLOOD_ANY}, member = {.member_of = "b"};
	struct fixture *x = *state;
	struct sw_port *bond;

	remove_port(x, P);
	assert_int_equal(sw_port_new(x->sw, &config, &bond), 0);
	add_port_with(x, P, 1, &member);
	begin(x, EVER_NS);
	carry(x, OUT);
	wait_held(x, OUT, true);
	holds_set(x, 0);
	wait_signals(x, OUT, 1);
	remove_port(x, P);
	sw_port_free(bond, on_gone, x);
	wait_gone(x, 3);
}

static void on_moved(void *opaque)
{
	*(bool *)opaque = true;
}

static void a_queue_that_moves_takes_its_signal_along(void **state)
{
	struct fixture *x = *state;

	begin(x, SOON_NS);
	for (unsigned i = 1; i <= 10; i++) {
		bool moved = false;

		carry(x, IN);
		assert_int_equal(sw_queue_move(x->port[P], 0, i % 2, on_moved, &moved), 0);
		for (unsigned waits = 0; waits < WAIT_MS_MAX * 5 && !moved; waits++)
			step(x);
		assert_true(moved);
		settle(x);
		wait_held(x, IN, false);
	}
}

static void on_paused(void *opaque)
{
	*(bool *)opaque = true;
}

/* The device behind the queue has it back meanwhile, and signals by itself: nobody may call the port. */
static void a_queue_that_is_paused_is_left_alone(void **state)
{
	struct fixture *x = *state;
	bool paused = false;

	begin(x, SOON_NS);
	carry(x, OUT);
	assert_int_equal(sw_queue_pause(x->port[P], 0, on_paused, &paused), 0);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !paused; i++)
		step(x);
	assert_true(paused);
	pthread_mutex_lock(&x->fake[P]->lock);
	x->fake[P]->stopped[0] = true;
	x->fake[P]->since_ns[OUT][0] = 0;
	pthread_mutex_unlock(&x->fake[P]->lock);
	carry(x, OUT);
	settle(x);
	holds_set(x, SOON_NS);
	for (unsigned i = 0; i < 50; i++)
		step(x);
	pthread_mutex_lock(&x->fake[P]->lock);
	x->fake[P]->stopped[0] = false;
	pthread_mutex_unlock(&x->fake[P]->lock);
	sw_queue_resume(x->port[P], 0);
	wait_signals(x, OUT, 1);
}

static void a_port_with_a_thread_of_its_own_looks_by_itself(void **state)
{
	struct sw_port_config config = {.aside = true};
	struct fixture *x = *state;

	remove_port(x, P);
	add_port_with(x, P, 1, &config);
	begin(x, SOON_NS);
	for (unsigned i = 1; i <= 10; i++) {
		carry(x, OUT);
		wait_signals(x, OUT, i);
		carry(x, IN);
		wait_signals(x, IN, i);
	}
	holds_set(x, EVER_NS);
	carry(x, OUT);
	wait_held(x, OUT, true);
	holds_set(x, 0);
	wait_signals(x, OUT, 11);
}

static void on_removed(void *opaque)
{
	*(bool *)opaque = true;
}

static void a_thread_of_its_own_lets_no_queue_go_that_holds_something(void **state)
{
	struct sw_port_config config = {.aside = true};
	struct fixture *x = *state;

	remove_port(x, P);
	add_port_with(x, P, 1, &config);
	begin(x, EVER_NS);
	for (unsigned way = 0; way < 2; way++) {
		bool removed = false, held;

		carry(x, !way);
		wait_held(x, !way, true);
		sw_queue_remove(x->port[P], !way, 0, on_removed, &removed);
		for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !removed; i++)
			step(x);
		assert_true(removed);
		assert_int_equal(signals(x, !way, &held), 1);
		assert_false(held);
	}
}

/* Both workers have frames for the port, its limits change all the time, its own queue moves. */
static void nothing_stays_held_however_much_goes_on(void **state)
{
	struct fixture *x = *state;

	begin(x, SOON_NS);
	for (unsigned i = 0; i < 300; i++) {
		bool moved = false;

		frame(x, 0, P);
		frame(x, 2, P);
		frame(x, P, 0);
		if (i % 7 == 0)
			holds_set(x, i % 2 ? EVER_NS : SOON_NS / 10);
		if (i % 50 == 0) {
			assert_int_equal(sw_queue_move(x->port[P], 0, i / 50 % 2, on_moved, &moved), 0);
			for (unsigned waits = 0; waits < WAIT_MS_MAX * 5 && !moved; waits++)
				step(x);
		}
		step(x);
	}
	holds_set(x, SOON_NS);
	settle(x);
	carry(x, IN);
	carry(x, OUT);
	settle(x);
	for (unsigned way = 0; way < 2; way++)
		wait_held(x, way, false);
}

/* ---- lists ---- */

struct asked {
	struct worker_letter letter;
	unsigned count;
	bool told; /* atomic */
};

static void asked_deliver(struct vireo_letter *letter)
{
	struct asked *asked = container_of(letter, struct asked, letter.letter);

	asked->count = container_of(asked->letter.worker, struct forwarder, worker)->signals.count;
	__atomic_store_n(&asked->told, true, __ATOMIC_RELEASE);
}

static void asked_drop(struct worker_letter *letter)
{
}

/* In the longer one of both workers' lists. */
static unsigned noted(struct fixture *x)
{
	unsigned most = 0;

	for (unsigned i = 0; i < 2; i++) {
		struct asked asked = {.letter = {.letter = {.deliver = asked_deliver}, .drop = asked_drop}};

		worker_post(&x->sw->forwarders[i]->worker, &asked.letter);
		for (unsigned waits = 0; waits < WAIT_MS_MAX * 5 && !__atomic_load_n(&asked.told, __ATOMIC_ACQUIRE); waits++)
			step(x);
		assert_true(__atomic_load_n(&asked.told, __ATOMIC_ACQUIRE));
		if (asked.count > most)
			most = asked.count;
	}
	return most;
}

static void carry_both(struct fixture *x, bool held)
{
	carry(x, OUT);
	carry(x, IN);
	settle(x);
	wait_held(x, OUT, held);
	wait_held(x, IN, held);
}

/* A driver that wants to hear now in an hour, now at once, leaves something for in an hour behind each time. */
static void a_queue_is_noted_once_whatever_its_driver_says(void **state)
{
	struct fixture *x = *state;

	begin(x, EVER_NS);
	for (unsigned i = 0; i < 40; i++) {
		holds_set(x, EVER_NS);
		carry_both(x, true);
		holds_set(x, SOON_NS);
		wait_held(x, OUT, false);
		wait_held(x, IN, false);
		carry_both(x, false);
	}
	assert_in_range(noted(x), 1, 2);
}

static void what_is_noted_of_ports_that_are_gone_goes(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 30; i++) {
		begin(x, EVER_NS);
		carry_both(x, true);
		assert_in_range(noted(x), 1, 8); /* all the room that there is at first */
		remove_port(x, P);
		add_port(x, P, 1);
	}
	begin(x, SOON_NS);
	for (unsigned i = 0; i < 1000 && noted(x) > 2; i++) /* when something is due for which a worker has to come back */
		carry_both(x, false);
	assert_in_range(noted(x), 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_worker_that_sleeps_wakes_when_it_is_due, setup_two, teardown),
		cmocka_unit_test_setup_teardown(frames_that_come_meanwhile_are_told_of_at_once, setup_two, teardown),
		cmocka_unit_test_setup_teardown(what_is_held_is_looked_at_when_limits_change, setup_two, teardown),
		cmocka_unit_test_setup_teardown(new_limits_of_frames_change_nothing_about_it, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_link_that_goes_down_leaves_nothing_held, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_link_that_comes_back_at_once_leaves_nothing_held, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_member_of_a_bond_is_looked_at_when_limits_change, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_queue_that_moves_takes_its_signal_along, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_queue_that_is_paused_is_left_alone, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_port_with_a_thread_of_its_own_looks_by_itself, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_thread_of_its_own_lets_no_queue_go_that_holds_something, setup_two, teardown),
		cmocka_unit_test_setup_teardown(nothing_stays_held_however_much_goes_on, setup_two, teardown),
		cmocka_unit_test_setup_teardown(a_queue_is_noted_once_whatever_its_driver_says, setup_two, teardown),
		cmocka_unit_test_setup_teardown(what_is_noted_of_ports_that_are_gone_goes, setup_two, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
