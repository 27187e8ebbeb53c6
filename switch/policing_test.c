/* SPDX-License-Identifier: BSD-3-Clause */

/* A port tries to send, to get and to flood more than it may. Limits are so slow that the test's own time lets nothing more pass. */

#include "switch/fake_switch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define LIMITED 3u /* the port */
#define FRAMES 40u
#define SLOW {.per_second = 1, .burst = 10}
/* Beside what the bucket holds, so many may pass on a machine that takes that many seconds. */
#define SLACK 20u

static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9}, group[6] = {0x01, 0, 0x5e, 0, 0, 1};

static void add_limited(struct fixture *x, struct sw_limits limits)
{
	struct sw_port_config config = {.limits = limits};

	add_port_with(x, LIMITED, 1, &config);
}

static void send_from(struct fixture *x, unsigned p, const uint8_t *to, unsigned count)
{
	uint8_t mac[6];

	mac_of(mac, p, 0);
	for (unsigned i = 0; i < count; i++)
		send_raw(x, p, to, mac, i);
	settle(x);
}

/* So that frames to it are not flooded. */
static void learn(struct fixture *x, unsigned p)
{
	send_from(x, p, broadcast, 1);
	for (unsigned i = 0; i <= LIMITED; i++)
		fake_port_forget(x->fake[i]);
}

static void send_large(struct fixture *x, unsigned from, unsigned to, unsigned bytes)
{
	struct vireo_frame_offload offload = {.gso = VIREO_GSO_TCP4, .segment_bytes = 1000};
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	mac_of(frame, to, 0);
	mac_of(frame + 6, from, 0);
	fake_port_send(x->fake[from], 0, frame, bytes, &offload);
	free(frame);
	settle(x);
}

static void a_port_sends_no_more_frames_than_it_may(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	add_limited(x, (struct sw_limits){.frames_in = SLOW});
	learn(x, 1);
	mac_of(mac, 1, 0);
	send_from(x, LIMITED, mac, FRAMES);
	assert_in_range(fake_port_got(x->fake[1]), 10, 10 + SLACK);
	assert_int_equal(stats_of(x, LIMITED).rx_rate_limit, FRAMES - fake_port_got(x->fake[1]));
	assert_int_equal(stats_of(x, LIMITED).rx_frames, FRAMES);
}

static void a_port_sends_no_more_bytes_than_it_may(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	add_limited(x, (struct sw_limits){.bytes_in = {.per_second = 64, .burst = 640}});
	learn(x, 1);
	mac_of(mac, 1, 0);
	send_from(x, LIMITED, mac, FRAMES);
	assert_in_range(fake_port_got(x->fake[1]), 10, 10 + SLACK);
	assert_int_equal(stats_of(x, LIMITED).rx_rate_limit, FRAMES - fake_port_got(x->fake[1]));
}

static void a_port_gets_no_more_than_it_may_and_others_do(void **state)
{
	struct fixture *x = *state;

	add_limited(x, (struct sw_limits){.frames_out = SLOW});
	send_from(x, 1, broadcast, FRAMES);
	assert_in_range(fake_port_got(x->fake[LIMITED]), 10, 10 + SLACK);
	assert_int_equal(stats_of(x, LIMITED).tx_rate_limit, FRAMES - fake_port_got(x->fake[LIMITED]));
	assert_int_equal(fake_port_got(x->fake[0]), FRAMES);
	assert_int_equal(fake_port_got(x->fake[2]), FRAMES);
}

static void bytes_to_a_port_are_limited_too(void **state)
{
	struct fixture *x = *state;

	add_limited(x, (struct sw_limits){.bytes_out = {.per_second = 64, .burst = 640}});
	send_from(x, 1, broadcast, FRAMES);
	assert_in_range(fake_port_got(x->fake[LIMITED]), 10, 10 + SLACK);
}

/* 30 frames' worth each, where 10 may come: one passes, and is owed. */
static void large_frames_count_as_what_they_are_cut_into(void **state)
{
	struct fixture *x = *state;

	add_limited(x, (struct sw_limits){.frames_in = SLOW});
	sw_port_offloads_set(x->port[1], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4);
	learn(x, 1);
	send_large(x, LIMITED, 1, 30000);
	send_large(x, LIMITED, 1, 30000);
	assert_int_equal(fake_port_got(x->fake[1]), 1);
	assert_int_equal(stats_of(x, LIMITED).rx_rate_limit, 1);
}

static void broadcasts_multicasts_and_unknown_unicasts_have_limits_of_their_own(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;

	add_limited(x, (struct sw_limits){.broadcast = SLOW, .multicast = SLOW, .unknown = SLOW});
	send_from(x, LIMITED, broadcast, FRAMES);
	send_from(x, LIMITED, group, FRAMES);
	send_from(x, LIMITED, stranger, FRAMES);
	stats = stats_of(x, LIMITED);
	assert_in_range(stats.rx_storm_broadcast, FRAMES - 10 - SLACK, FRAMES - 10);
	assert_in_range(stats.rx_storm_multicast, FRAMES - 10 - SLACK, FRAMES - 10);
	assert_in_range(stats.rx_storm_unicast, FRAMES - 10 - SLACK, FRAMES - 10);
	assert_int_equal(fake_port_got(x->fake[1]) + stats.rx_storm_broadcast + stats.rx_storm_multicast + stats.rx_storm_unicast,
			 3 * FRAMES);
	assert_int_equal(stats.rx_rate_limit, 0);
}

/* What is flooded is cut off; what goes to one port alone passes, in the same burst as well. */
static void a_storm_costs_known_unicast_nothing(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6], own[6];

	add_limited(x, (struct sw_limits){.broadcast = SLOW});
	learn(x, 1);
	mac_of(mac, 1, 0);
	mac_of(own, LIMITED, 0);
	for (unsigned i = 0; i < 200; i++)
		send_raw(x, LIMITED, i % 2 ? mac : broadcast, own, i);
	settle(x);
	assert_in_range(fake_port_got(x->fake[1]), 100 + 10, 100 + 10 + SLACK);
	assert_in_range(fake_port_got(x->fake[2]), 10, 10 + SLACK);
}

/* One port does nothing but broadcast; who receives has room for few frames, and loses none that an honest port sends it. */
static void a_storm_does_not_lose_an_honest_ports_frames(void **state)
{
	struct fixture *x = *state;
	uint8_t mac[6];

	add_limited(x, (struct sw_limits){.broadcast = SLOW, .multicast = SLOW, .unknown = SLOW});
	learn(x, 1);
	mac_of(mac, 1, 0);
	x->fake[1]->room = 3 * (10 + SLACK) + FRAMES;
	send_from(x, LIMITED, broadcast, 2000);
	send_from(x, LIMITED, group, 2000);
	send_from(x, LIMITED, stranger, 2000);
	send_from(x, 0, mac, FRAMES);
	assert_int_equal(stats_of(x, 1).tx_lost, 0);
	assert_in_range(fake_port_got(x->fake[1]), FRAMES + 30, FRAMES + 3 * (10 + SLACK));
}

static void a_limit_can_be_changed_and_taken_back_under_traffic(void **state)
{
	struct fixture *x = *state;
	struct sw_limits none = {0}, slow = {.frames_in = SLOW, .broadcast = SLOW, .frames_out = SLOW};

	send_from(x, 0, broadcast, FRAMES);
	assert_int_equal(fake_port_got(x->fake[1]), FRAMES);
	sw_port_limits_set(x->port[0], &slow);
	send_from(x, 0, broadcast, FRAMES);
	assert_in_range(fake_port_got(x->fake[1]), FRAMES + 10, FRAMES + 10 + SLACK);
	fake_port_forget(x->fake[1]);
	sw_port_limits_set(x->port[0], &none);
	send_from(x, 0, broadcast, FRAMES);
	send_from(x, 1, broadcast, FRAMES);
	assert_int_equal(fake_port_got(x->fake[1]), FRAMES);
	assert_int_equal(fake_port_got(x->fake[0]), FRAMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_port_sends_no_more_frames_than_it_may, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_sends_no_more_bytes_than_it_may, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_gets_no_more_than_it_may_and_others_do, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_to_a_port_are_limited_too, setup, teardown),
		cmocka_unit_test_setup_teardown(large_frames_count_as_what_they_are_cut_into, setup, teardown),
		cmocka_unit_test_setup_teardown(broadcasts_multicasts_and_unknown_unicasts_have_limits_of_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_storm_costs_known_unicast_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_storm_does_not_lose_an_honest_ports_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_can_be_changed_and_taken_back_under_traffic, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
