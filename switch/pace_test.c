/* SPDX-License-Identifier: BSD-3-Clause */

/* Senders that wait for their receiver while CPUs are wanted. */

#include "base/clock.h"
#include "switch/core.h"
#include "switch/fake_switch.h"
#include "switch/forwarder.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define FROM 0u
#define TO   1u
#define THIRD 2u
#define FRAME_BYTES 60u

struct crowd {
	struct worker_letter letter;
	bool wanted, told;
};

static void crowd_deliver(struct vireo_letter *letter)
{
	struct crowd *crowd = container_of(letter, struct crowd, letter.letter);

	crowd->letter.worker->patience.yield_until_ns = crowd->wanted ? UINT64_MAX : 0;
	__atomic_store_n(&crowd->told, true, __ATOMIC_RELEASE);
}

static void crowd_drop(struct worker_letter *letter)
{
}

/* Others want the worker's CPU from now on, or do not. */
static void crowded(struct fixture *x, bool wanted)
{
	struct crowd crowd = {.letter = {.letter = {.deliver = crowd_deliver}, .drop = crowd_drop}, .wanted = wanted};

	worker_post(&x->sw->forwarders[0]->worker, &crowd.letter);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !__atomic_load_n(&crowd.told, __ATOMIC_ACQUIRE); i++)
		step(x);
	assert_true(__atomic_load_n(&crowd.told, __ATOMIC_ACQUIRE));
}

static void send_ip(struct fixture *x, unsigned to, uint8_t protocol)
{
	uint8_t frame[FRAME_BYTES] = {[12] = 0x08, [14] = 0x45, [17] = FRAME_BYTES - 14, [22] = 64};

	mac_of(frame, to, 0);
	mac_of(frame + 6, FROM, 0);
	frame[23] = protocol;
	fake_port_send(x->fake[FROM], 0, frame, sizeof(frame), NULL);
}

static void polls(struct fixture *x, bool on)
{
	pthread_mutex_lock(&x->fake[TO]->lock);
	x->fake[TO]->polls = on;
	pthread_mutex_unlock(&x->fake[TO]->lock);
}

static void begin(struct fixture *x, bool crowd)
{
	uint8_t mac[6];

	for (unsigned p = 0; p < 3; p++) {
		mac_of(mac, p, 0);
		send_raw(x, p, broadcast, mac, 0);
		settle(x);
	}
	pass_grace(x);
	crowded(x, crowd);
}

/* How long it takes until so many frames, sent one after the other has been taken, have gone. */
static uint64_t took_ns(struct fixture *x, unsigned count, unsigned to, uint8_t protocol)
{
	uint64_t begun_ns = clock_now_ns();

	for (unsigned i = 0; i < count; i++) {
		send_ip(x, to, protocol);
		settle(x);
	}
	return clock_now_ns() - begun_ns;
}

/* How many bursts of it something has waited for. When nothing is on its way. */
static uint64_t waited(struct fixture *x)
{
	pass_grace(x);
	return stats_of(x, FROM).rx_paced;
}

static void all_frames_arrive_in_the_end(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	fake_port_forget(x->fake[TO]);
	for (unsigned i = 0; i < 2000; i++)
		send_ip(x, TO, IPPROTO_UDP);
	settle(x);
	polls(x, false);
	for (unsigned i = 0; i < 2000; i++)
		send_ip(x, TO, IPPROTO_UDP);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[TO]), 4000);
}

/* A burst waits 2 ms for a receiver that does not look, then the next does; 16 after it do not, and so on. */
static void a_sender_waits_for_its_receiver(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	assert_true(took_ns(x, 2, TO, IPPROTO_UDP) >= 2000000);
	assert_int_equal(waited(x), 1);
	took_ns(x, 15, TO, IPPROTO_UDP);
	assert_int_equal(waited(x), 1);
	took_ns(x, 1, TO, IPPROTO_UDP);
	assert_int_equal(waited(x), 2);
}

/* One of them does not look, the other does: the second is waited for each time. */
static void a_receiver_that_is_not_waited_for_is_nobody_else(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	for (unsigned i = 0; i < 10; i++) {
		took_ns(x, 1, TO, IPPROTO_UDP);
		took_ns(x, 1, THIRD, IPPROTO_UDP);
	}
	assert_int_equal(waited(x), 11);
}

/* It is the sender's frames that wait. The receiver has those of others at once. */
static void nobody_else_waits(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6], source[6];

	begin(x, true);
	polls(x, true);
	mac_of(mac, TO, 0);
	mac_of(source, THIRD, 0);
	for (unsigned i = 0; i < 50; i++) {
		send_ip(x, TO, IPPROTO_UDP);
		send_raw(x, THIRD, mac, source, i);
		settle(x);
	}
	pass_grace(x);
	assert_true(waited(x) > 0);
	assert_int_equal(stats_of(x, THIRD).rx_paced, 0);
}

static void nothing_waits_behind_what_goes_to_several_or_is_tcp(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	took_ns(x, 50, TO, IPPROTO_TCP);
	took_ns(x, 50, 7, IPPROTO_UDP); /* nobody is there: to all */
	assert_int_equal(waited(x), 0);
	took_ns(x, 1, TO, IPPROTO_UDP);
	assert_int_equal(waited(x), 1);
}

static int setup_polling(void **state)
{
	return setup_as(state, &(struct sw_config){.mode = SW_POLL});
}

/* A worker that polls does not look whether others want its CPU. */
static void nobody_waits_where_there_is_no_crowd(void **state)
{
	struct fixture *x = *state;

	begin(x, false);
	polls(x, true);
	took_ns(x, 50, TO, IPPROTO_UDP);
	assert_int_equal(waited(x), 0);
}

/* What it waits for is not there any more. */
static void a_receiver_that_goes_is_not_waited_for(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	for (unsigned i = 0; i < 10; i++) {
		send_ip(x, TO, IPPROTO_UDP);
		settle(x);
		send_ip(x, TO, IPPROTO_UDP);
		remove_port(x, TO);
		settle(x);
		add_port(x, TO, 1);
		polls(x, true);
	}
}

static void a_sender_that_waits_may_go(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	for (unsigned i = 0; i < 10; i++) {
		send_ip(x, TO, IPPROTO_UDP);
		settle(x);
		remove_port(x, FROM);
		add_port(x, FROM, 1);
		send_ip(x, TO, IPPROTO_UDP);
		settle(x);
	}
}

static int setup_unpaced(void **state)
{
	return setup_as(state, &(struct sw_config){.unpaced = true});
}

static void who_does_not_want_it_has_nobody_wait(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	took_ns(x, 50, TO, IPPROTO_UDP);
	assert_int_equal(waited(x), 0);
}

static int setup_two(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 2});
}

/* To one that knows nothing of what it has waited for. */
static void a_sender_that_waits_may_go_to_another_worker(void **state)
{
	struct fixture *x = *state;

	begin(x, true);
	polls(x, true);
	fake_port_forget(x->fake[TO]);
	for (unsigned i = 0; i < 20; i++) {
		send_ip(x, TO, IPPROTO_UDP);
		settle(x);
		assert_int_equal(sw_queue_move(x->port[FROM], 0, i % 2, NULL, NULL), 0);
		send_ip(x, TO, IPPROTO_UDP);
		settle(x);
	}
	assert_int_equal(fake_port_got(x->fake[TO]), 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_frames_arrive_in_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sender_waits_for_its_receiver, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_waits_behind_what_goes_to_several_or_is_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_where_there_is_no_crowd, setup_polling, teardown),
		cmocka_unit_test_setup_teardown(a_receiver_that_goes_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sender_that_waits_may_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_receiver_that_is_not_waited_for_is_nobody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_else_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(who_does_not_want_it_has_nobody_wait, setup_unpaced, teardown),
		cmocka_unit_test_setup_teardown(a_sender_that_waits_may_go_to_another_worker, setup_two, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
