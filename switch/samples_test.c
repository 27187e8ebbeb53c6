/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/samples.h"
#include "switch/fake_switch.h"
#include "switch/forward.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
/* cmocka wants the three above */
#include <cmocka.h>

#define NS_PER_S    1000000000u
#define NS_PER_US   1000u
#define SLOW_US	    2000u
#define BURSTS_MAX  3000u
#define BURSTS_SEEN 3u

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t sum_of(const uint64_t *counts, unsigned count)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += counts[i];
	return sum;
}

/* ---- which ones ---- */

static void one_of_so_many_is_timed_and_no_place_in_turn_is_passed_over(void **state)
{
	struct sampling sampling;
	unsigned timed[SW_SAMPLED_BURSTS] = {0}, all = 0;

	(void)state;
	sampling_init(&sampling, 0);
	for (unsigned i = 0; i < 1000 * SW_SAMPLED_BURSTS; i++) {
		if (!sampling_asked(&sampling))
			continue;
		timed[i % SW_SAMPLED_BURSTS]++;
		all++;
	}
	assert_in_range(all, 950, 1050);
	for (unsigned i = 0; i < SW_SAMPLED_BURSTS; i++)
		assert_in_range(timed[i], 1, 60);
}

static void workers_throw_dice_of_their_own(void **state)
{
	struct sampling one, other;

	(void)state;
	sampling_init(&one, 0);
	sampling_init(&other, 1);
	for (unsigned i = 0; i < 100; i++) {
		sampling_turn(&one);
		sampling_turn(&other);
	}
	assert_int_not_equal(one.dice, other.dice);
}

/* ---- what is counted ---- */

static void a_burst_lies_in_the_bucket_whose_bound_it_does_not_exceed(void **state)
{
	static const unsigned of[] = {1, 2, 3, 4, 5, 33, 64};
	struct sw_port_samples samples = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(of); i++)
		sampling_done(&samples, clock_ns(), of[i]);
	assert_memory_equal(samples.burst, ((uint64_t[]){1, 1, 2, 1, 0, 0, 2}), sizeof(samples.burst));
	assert_int_equal(samples.burst_frames, 112);
	assert_int_equal(sum_of(samples.stay, ARRAY_SIZE(samples.stay)), 112);
}

static void the_largest_burst_has_a_bucket(void **state)
{
	(void)state;
	assert_int_equal(1u << (SW_BURST_BUCKETS - 1), BURST_FRAMES);
}

static void frames_lie_where_they_stayed_for_so_long(void **state)
{
	struct sw_port_samples samples = {0};
	uint64_t now = clock_ns(), bound = (uint64_t)SW_STAY_NS_MIN << (SW_STAY_BUCKETS - 1);

	(void)state;
	sampling_done(&samples, now - bound, 3); /* and a little more */
	assert_int_equal(samples.stay[SW_STAY_BUCKETS], 3);
	assert_true(samples.stay_ns >= 3 * bound);
	sampling_done(&samples, now - bound / 2, 2);
	assert_int_equal(samples.stay[SW_STAY_BUCKETS] + samples.stay[SW_STAY_BUCKETS - 1], 5);
}

/* ---- in a switch ---- */

/* One frame, to one port, until so many have been timed. */
static void send_until_seen(struct fixture *x, struct sw_port_samples *samples)
{
	uint8_t to[6];

	mac_of(to, 1, 0);
	for (unsigned sent = 0; sent < BURSTS_MAX && sum_of(samples->burst, SW_BURST_BUCKETS) < BURSTS_SEEN; sent++) {
		uint8_t from[6];

		mac_of(from, 0, 0);
		send_raw(x, 0, to, from, sent);
		settle(x);
		sw_port_samples(x->port[0], samples);
	}
}

static void how_long_a_receiver_takes_is_in_the_sender_s_histogram(void **state)
{
	struct fixture *x = *state;
	struct sw_port_samples samples = {0}, other;

	fake_port_slow(x->fake[1], SLOW_US);
	fake_port_slow(x->fake[2], SLOW_US);
	send_until_seen(x, &samples);
	assert_int_equal(samples.burst[0], BURSTS_SEEN);
	assert_int_equal(samples.burst_frames, BURSTS_SEEN);
	assert_true(samples.stay_ns >= (uint64_t)BURSTS_SEEN * SLOW_US * NS_PER_US);
	for (unsigned i = 0; SW_STAY_NS_MIN << i < SLOW_US * NS_PER_US; i++)
		assert_int_equal(samples.stay[i], 0);
	sw_port_samples(x->port[1], &other); /* who sends nothing */
	assert_int_equal(other.burst_frames, 0);
}

static void what_is_dropped_has_stayed_too(void **state)
{
	struct fixture *x = *state;
	struct sw_port_samples samples = {0};

	remove_port(x, 1);
	remove_port(x, 2);
	send_until_seen(x, &samples);
	assert_int_equal(samples.burst_frames, BURSTS_SEEN);
	assert_true(stats_of(x, 0).rx_no_destination >= BURSTS_SEEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_so_many_is_timed_and_no_place_in_turn_is_passed_over),
		cmocka_unit_test(workers_throw_dice_of_their_own),
		cmocka_unit_test(a_burst_lies_in_the_bucket_whose_bound_it_does_not_exceed),
		cmocka_unit_test(the_largest_burst_has_a_bucket),
		cmocka_unit_test(frames_lie_where_they_stayed_for_so_long),
		cmocka_unit_test_setup_teardown(how_long_a_receiver_takes_is_in_the_sender_s_histogram, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_dropped_has_stayed_too, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
