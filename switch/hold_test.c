/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Out queues that stop for a moment: what comes for them is held, in order and within bounds, and nobody calls their port meanwhile
 * (a fake port that is `stopped` ends the test).
 */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "switch/hold.h"
#include "work/test_threads.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define P     1u /* the port that pauses; 0 and 2 send to it */
#define BURST 64u

static void send_number(struct fixture *x, unsigned from, unsigned to, unsigned number, uint32_t bytes)
{
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	mac_of(frame, to, 0);
	mac_of(frame + 6, from, 0);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + 14, &number, sizeof(number));
	fake_port_send(x->fake[from], 0, frame, bytes, NULL);
	free(frame);
}

static void send_numbers(struct fixture *x, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		send_number(x, 0, P, first + i, 64);
	settle(x);
}

static void send_to_all(struct fixture *x, unsigned from)
{
	uint8_t source[6];

	mac_of(source, from, 0);
	send_raw(x, from, broadcast, source, 0);
}

static void wait_got(struct fixture *x, unsigned p, unsigned count)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && fake_port_got(x->fake[p]) < count; i++)
		step(x);
	assert_int_equal(fake_port_got(x->fake[p]), count);
}

static void learn_all(struct fixture *x)
{
	for (unsigned p = 0; p < 3; p++)
		send_to_all(x, p);
	for (unsigned p = 0; p < 3; p++)
		wait_got(x, p, 2);
	for (unsigned p = 0; p < 3; p++)
		fake_port_forget(x->fake[p]);
}

static unsigned number_at(struct fixture *x, unsigned p, unsigned i)
{
	unsigned number;

	memcpy(&number, x->fake[p]->got.frames[x->fake[p]->got.first + i]->data + 14, sizeof(number));
	return number;
}

/* Numbers from `first` on, without a gap, and nothing else. */
static void expect_numbers(struct fixture *x, unsigned first, unsigned count)
{
	wait_got(x, P, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(number_at(x, P, i), first + i);
	fake_port_forget(x->fake[P]);
}

static void pause_begin(struct fixture *x, unsigned queue)
{
	unsigned before = x->gone;

	assert_int_equal(sw_queue_pause(x->port[P], queue, on_gone, x), 0);
	wait_gone(x, before + 1);
	x->fake[P]->stopped[queue] = true; /* a grace period has passed: this is seen by whoever comes */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void pause_end(struct fixture *x, unsigned queue)
{
	x->fake[P]->stopped[queue] = false;
	sw_queue_resume(x->port[P], queue);
}

static void wait_stat(struct fixture *x, uint64_t (*stat)(const struct sw_port_stats *stats), uint64_t value)
{
	struct sw_port_stats stats = stats_of(x, P);

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && stat(&stats) < value; i++) {
		step(x);
		stats = stats_of(x, P);
	}
	assert_int_equal(stat(&stats), value);
}

static uint64_t held(const struct sw_port_stats *stats)
{
	return stats->tx_held;
}

static uint64_t dropped(const struct sw_port_stats *stats)
{
	return stats->tx_hold_limit + stats->tx_lost + stats->tx_no_queue;
}

/* Made anew, so that it may leave frames. */
static void out_queue_renew(struct fixture *x)
{
	unsigned before = x->gone;

	sw_queue_remove(x->port[P], true, 0, on_gone, x);
	wait_gone(x, before + 1);
	x->fake[P]->may_wait = true;
	assert_int_equal(sw_queue_add(x->port[P], true, 0), 0);
	pass_grace(x);
}

/* ---- the order ---- */

static void frames_are_held_and_come_first_when_the_queue_goes_on(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	for (unsigned round = 0; round < 3; round++) {
		pause_begin(x, 0);
		send_numbers(x, 0, 5);
		assert_int_equal(fake_port_got(x->fake[P]), 0);
		pause_end(x, 0);
		wait_got(x, P, 5); /* nothing else has come */
		send_numbers(x, 5, 3);
		expect_numbers(x, 0, 8);
	}
	wait_stat(x, held, 15);
	assert_int_equal(stats_of(x, P).tx_frames, 3 * 8 + 2);
	wait_stat(x, dropped, 0);
}

static void a_pause_without_frames_leaves_no_trace(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	pause_begin(x, 0);
	pause_end(x, 0);
	send_numbers(x, 0, 100);
	expect_numbers(x, 0, 100);
	wait_stat(x, held, 0);
}

/* The port meets what it has to wait for in the middle of a burst, before anybody has paused it. */
static void what_a_delivery_leaves_is_held_and_so_is_what_comes_behind_it(void **state)
{
	struct fixture *x = *state;
	struct fake_port *fake = x->fake[P];

	out_queue_renew(x);
	learn_all(x);
	fake->goes[0] = 2;
	fake->waits[0] = true;
	send_numbers(x, 0, 5);
	wait_got(x, P, 2);
	wait_stat(x, held, 3);
	send_numbers(x, 5, 4);
	assert_int_equal(fake_port_got(fake), 2);
	pause_begin(x, 0);
	send_numbers(x, 9, 1);
	fake->waits[0] = false;
	pause_end(x, 0);
	expect_numbers(x, 0, 10);
	wait_stat(x, dropped, 0);
}

static void what_is_left_comes_first_also_when_nobody_has_paused_the_queue(void **state)
{
	struct fixture *x = *state;
	struct fake_port *fake = x->fake[P];

	out_queue_renew(x);
	learn_all(x);
	fake->waits[0] = true;
	send_numbers(x, 0, 3);
	wait_stat(x, held, 3);
	pthread_mutex_lock(&fake->lock);
	fake->waits[0] = false;
	pthread_mutex_unlock(&fake->lock);
	send_numbers(x, 3, 2);
	expect_numbers(x, 0, 5);
	wait_stat(x, dropped, 0);
}

/* It goes on, and waits again before it has taken all that was held: the rest is held on, at its place. */
static void a_queue_that_waits_again_while_it_is_given_what_was_held_loses_nothing(void **state)
{
	struct fixture *x = *state;
	struct fake_port *fake = x->fake[P];
	unsigned sent = 200, each = 70, gone = 0;

	out_queue_renew(x);
	learn_all(x);
	pause_begin(x, 0);
	send_numbers(x, 0, sent);
	fake->waits[0] = true;
	for (unsigned i = 0; i < 3; i++) {
		fake->goes[0] = each;
		pause_end(x, 0);
		gone = min_u32(gone + each, sent);
		wait_got(x, P, gone);
		pause_begin(x, 0);
	}
	fake->waits[0] = false;
	pause_end(x, 0);
	send_numbers(x, sent, 1);
	expect_numbers(x, 0, sent + 1);
	wait_stat(x, dropped, 0);
}

static void a_queue_that_may_not_wait_loses_what_it_leaves(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	x->fake[P]->waits[0] = true;
	send_numbers(x, 0, 5);
	wait_stat(x, dropped, 5);
	assert_int_equal(stats_of(x, P).tx_hold_limit, 5);
	x->fake[P]->waits[0] = false;
	send_numbers(x, 5, 5);
	expect_numbers(x, 5, 5);
}

/* ---- bounds ---- */

static void so_many_frames_are_held_and_no_more(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	for (unsigned round = 1; round < 3; round++) {
		pause_begin(x, 0);
		send_numbers(x, 0, HOLD_FRAMES_MAX + 10);
		wait_stat(x, dropped, 10ull * round);
		assert_int_equal(stats_of(x, P).tx_hold_limit, 10u * round);
		pause_end(x, 0);
		expect_numbers(x, 0, HOLD_FRAMES_MAX);
	}
}

static void so_many_bytes_are_held_and_fewer_for_later_queues(void **state)
{
	static const uint32_t bytes = 60000, number_sent = 40;

	for (unsigned queue = 0; queue < 2; queue++) {
		struct fixture *x = *state;
		unsigned most = STORE_BYTES / (queue + 1) / bytes, got;

		learn_all(x);
		if (queue) { /* the second is the only one */
			unsigned before = x->gone;

			sw_queue_remove(x->port[P], true, 0, on_gone, x);
			wait_gone(x, before + 1);
			assert_int_equal(sw_queue_add(x->port[P], true, 1), 0);
			pass_grace(x);
		}
		pause_begin(x, queue);
		for (unsigned i = 0; i < number_sent; i++)
			send_number(x, 0, P, i, bytes);
		settle(x);
		pause_end(x, queue);
		got = number_sent - (unsigned)stats_of(x, P).tx_hold_limit;
		assert_in_range(got, most - 1, most); /* a gap at the end */
		expect_numbers(x, 0, got);
		teardown(state);
		setup(state);
	}
}

static void frames_to_all_leave_a_part_of_the_hold_to_others(void **state)
{
	struct fixture *x = *state;
	unsigned room = HOLD_FRAMES_MAX - 10;

	learn_all(x);
	pause_begin(x, 0);
	for (unsigned i = 0; i < room; i++)
		send_to_all(x, 0);
	settle(x);
	assert_true(stats_of(x, P).tx_flood_room > 0);
	assert_int_equal(stats_of(x, P).tx_hold_limit, 0);
	send_numbers(x, 0, 100);
	pause_end(x, 0);
	wait_got(x, P, (unsigned)stats_of(x, P).tx_held);
	assert_true(stats_of(x, P).tx_held >= 100);
	wait_got(x, 2, room); /* and who is not paused gets all */
}

static void what_a_queue_holds_when_it_ends_is_lost_and_counted(void **state)
{
	struct fixture *x = *state;
	unsigned before;

	learn_all(x);
	pause_begin(x, 0);
	send_numbers(x, 0, 7);
	before = x->gone;
	sw_queue_remove(x->port[P], true, 0, on_gone, x);
	wait_gone(x, before + 1);
	wait_stat(x, dropped, 7);
	assert_int_equal(stats_of(x, P).tx_lost, 7);
	x->fake[P]->stopped[0] = false;
	assert_int_equal(sw_queue_add(x->port[P], true, 0), 0);
	pass_grace(x);
	send_numbers(x, 0, 2);
	expect_numbers(x, 0, 2); /* and none of the others */
}

static uint64_t link_down(const struct sw_port_stats *stats)
{
	return stats->tx_link_down;
}

static void what_is_held_when_the_link_is_cut_is_lost_and_counted(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	for (unsigned round = 1; round < 3; round++) {
		pause_begin(x, 0);
		send_numbers(x, 0, 7);
		sw_port_link_set(x->port[P], false);
		sw_port_link_set(x->port[P], true); /* for no time, as anybody would see: they stay */
		sw_port_link_set(x->port[P], false);
		wait_stat(x, link_down, 7ull * round);
		sw_port_link_set(x->port[P], true);
		send_to_all(x, P); /* where it is has been forgotten */
		settle(x);
		pause_end(x, 0);
		send_numbers(x, 7, 2);
		expect_numbers(x, 7, 2);
	}
}

/* It has gone on while its link was down, and nothing else comes. */
static void what_is_held_goes_when_the_link_is_back_soon_enough(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	for (unsigned round = 0; round < 10; round++) {
		pause_begin(x, 0);
		send_numbers(x, 0, 7);
		sw_port_link_set(x->port[P], false);
		pause_end(x, 0);
		sw_port_link_set(x->port[P], true);
		expect_numbers(x, 0, 7);
		send_to_all(x, P);
		settle(x);
	}
	wait_stat(x, link_down, 0);
	wait_stat(x, dropped, 0);
}

static void a_port_may_go_with_a_full_hold(void **state)
{
	struct fixture *x = *state, begun = {0};

	learn_all(x);
	pause_begin(x, 0);
	send_numbers(x, 0, HOLD_FRAMES_MAX + 1);
	assert_int_equal(sw_queue_pause(x->port[2], 0, on_gone, &begun), 0); /* and one whose pause has just begun */
	remove_port(x, 2);
	assert_int_equal(begun.gone, 1);
	sw_port_link_set(x->port[P], false); /* nobody has seen that yet */
	remove_port(x, P);
	add_port(x, P, 1);
	add_port(x, 2, 1);
	learn_all(x);
	send_numbers(x, 0, 1);
	expect_numbers(x, 0, 1);
}

/* ---- what frames look like ---- */

static void frames_to_all_reach_who_is_paused_and_who_is_not(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	pause_begin(x, 0);
	send_to_all(x, 0);
	settle(x);
	wait_got(x, 2, 1);
	assert_int_equal(fake_port_got(x->fake[P]), 0);
	pause_end(x, 0);
	wait_got(x, P, 1);
}

static const struct vireo_frame_offload tso = {
	.gso = VIREO_GSO_TCP4, .flags = VIREO_FRAME_NEEDS_CSUM, .segment_bytes = 1000, .csum_start = 34, .csum_offset = 16};

static void send_large(struct fixture *x, uint32_t payload_bytes)
{
	static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	static const uint8_t tcp[] = {0, 1, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0};
	uint32_t bytes = 54 + payload_bytes;
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	mac_of(frame, P, 0);
	mac_of(frame + 6, 0, 0);
	frame[12] = 8;
	memcpy(frame + 14, ip, sizeof(ip));
	frame[16] = (uint8_t)((bytes - 14) >> 8);
	frame[17] = (uint8_t)(bytes - 14);
	memcpy(frame + 34, tcp, sizeof(tcp));
	fake_port_send(x->fake[0], 0, frame, bytes, &tso);
	free(frame);
	settle(x);
}

static void large_frames_are_held_whole_for_who_takes_them_so(void **state)
{
	struct fixture *x = *state;
	const struct fake_frame *got;

	learn_all(x);
	sw_port_offloads_set(x->port[P], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4);
	pause_begin(x, 0);
	send_large(x, 5000);
	wait_stat(x, held, 1);
	pause_end(x, 0);
	wait_got(x, P, 1);
	got = x->fake[P]->got.frames[0];
	assert_int_equal(got->bytes, 5054);
	assert_memory_equal(&got->offload, &tso, sizeof(tso));
}

static void large_frames_are_cut_before_they_are_held_for_who_does_not(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	pause_begin(x, 0);
	send_large(x, 5000);
	wait_stat(x, held, 5);
	pause_end(x, 0);
	wait_got(x, P, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(x->fake[P]->got.frames[i]->bytes, 1054);
		assert_int_equal(x->fake[P]->got.frames[i]->offload.gso, VIREO_GSO_NONE);
	}
	assert_int_equal(stats_of(x, P).tx_segmented, 1);
}

/* Two ports of VLAN 7: one sees it without a tag, the paused one with one. */
static void a_frame_is_held_with_the_tag_that_it_gets(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 7};
	struct sw_port_config access = {.vlan_aware = true, .vlan = 7}, trunk = {.vlan_aware = true, .tagged = tagged};
	const struct fake_frame *got;

	for (unsigned p = 0; p < 3; p++)
		remove_port(x, p);
	add_port_with(x, 0, 1, &access);
	add_port_with(x, P, 1, &trunk);
	pause_begin(x, 0);
	send_to_all(x, 0);
	settle(x);
	pause_end(x, 0);
	wait_got(x, P, 1);
	got = x->fake[P]->got.frames[0];
	assert_int_equal(got->bytes, 68);
	assert_memory_equal(got->data + 12, ((const uint8_t[]){0x81, 0, 0, 7, 0x88, 0xb5}), 6);
}

/* ---- no buffers: retry.c ---- */

#define PATIENT {.looks = SW_RETRY_LOOKS_MAX, .delay_us = 5000} /* for longer than a test takes */

static uint64_t given_up(const struct sw_port_stats *stats)
{
	return stats->tx_retry_limit;
}

static uint64_t cut(const struct sw_port_stats *stats)
{
	return stats->tx_link_down;
}

static void starve(struct fixture *x, bool on)
{
	struct fake_port *fake = x->fake[P];

	pthread_mutex_lock(&fake->lock);
	fake->starves = fake->waits[0] = on;
	pthread_mutex_unlock(&fake->lock);
}

static void retry(struct fixture *x, struct sw_retry retry)
{
	assert_int_equal(sw_port_retry_set(x->port[P], &retry), 0);
}

static void what_finds_no_buffers_waits_and_comes_in_order(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	retry(x, (struct sw_retry)PATIENT);
	for (unsigned round = 0; round < 3; round++) {
		starve(x, true);
		send_numbers(x, 0, 5);
		wait_stat(x, held, 5 + 5ull * round);
		assert_int_equal(fake_port_got(x->fake[P]), 0);
		starve(x, false);
		wait_got(x, P, 5); /* nothing else has come */
		send_numbers(x, 5, 3);
		expect_numbers(x, 0, 8);
	}
	wait_stat(x, dropped, 0);
	wait_stat(x, given_up, 0);
}

static void a_guest_that_never_has_buffers_loses_what_has_waited(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	retry(x, (struct sw_retry){.looks = 3, .delay_us = 1000});
	for (unsigned round = 1; round < 4; round++) {
		starve(x, true);
		send_numbers(x, 0, 5);
		wait_stat(x, given_up, 5ull * round);
		starve(x, false);
		send_numbers(x, 0, 2);
		expect_numbers(x, 0, 2);
	}
	wait_stat(x, dropped, 0);
}

static void a_guest_that_has_a_buffer_now_and_then_loses_nothing(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	retry(x, (struct sw_retry){.looks = 1, .delay_us = 1000});
	x->fake[P]->drips = true;
	starve(x, true);
	for (unsigned i = 0; i < 40; i++)
		send_number(x, 0, P, i, 64);
	expect_numbers(x, 0, 40);
	wait_stat(x, given_up, 0);
	wait_stat(x, dropped, 0);
}

static void so_much_waits_for_buffers_and_no_more(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	retry(x, (struct sw_retry)PATIENT);
	starve(x, true);
	send_numbers(x, 0, HOLD_FRAMES_MAX + 10);
	wait_stat(x, dropped, 10);
	starve(x, false);
	expect_numbers(x, 0, HOLD_FRAMES_MAX);
	wait_stat(x, given_up, 0);
}

static void what_waits_for_memory_is_not_given_up(void **state)
{
	struct fixture *x = *state;

	out_queue_renew(x);
	learn_all(x);
	retry(x, (struct sw_retry){.looks = 1, .delay_us = 1});
	x->fake[P]->waits[0] = true;
	send_numbers(x, 0, 5);
	wait_stat(x, held, 5);
	for (unsigned i = 0; i < 20; i++)
		step(x);
	pause_begin(x, 0);
	x->fake[P]->waits[0] = false;
	pause_end(x, 0);
	expect_numbers(x, 0, 5);
	wait_stat(x, given_up, 0);
}

static void a_queue_without_buffers_may_be_paused_and_its_link_be_cut(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	retry(x, (struct sw_retry)PATIENT);
	starve(x, true);
	send_numbers(x, 0, 5);
	wait_stat(x, held, 5);
	pause_begin(x, 0);
	send_numbers(x, 5, 1);
	for (unsigned i = 0; i < 20; i++)
		step(x);
	pause_end(x, 0); /* there are no buffers yet */
	sw_port_link_set(x->port[P], false);
	wait_stat(x, cut, 6);
	sw_port_link_set(x->port[P], true);
	pass_grace(x);
	send_numbers(x, 0, 5);
	wait_stat(x, held, 11);
	starve(x, false);
	expect_numbers(x, 0, 5); /* it is looked at again, as before */
	wait_stat(x, given_up, 0);
}

static void retries_end_where_they_are_taken_back_and_with_the_queue(void **state)
{
	struct fixture *x = *state;
	unsigned before;

	learn_all(x);
	retry(x, (struct sw_retry)PATIENT);
	starve(x, true);
	send_numbers(x, 0, 5);
	wait_stat(x, held, 5);
	retry(x, (struct sw_retry){0});
	wait_stat(x, given_up, 5);
	retry(x, (struct sw_retry)PATIENT);
	send_numbers(x, 0, 4);
	wait_stat(x, held, 9);
	before = x->gone;
	sw_queue_remove(x->port[P], true, 0, on_gone, x);
	wait_gone(x, before + 1);
	wait_stat(x, dropped, 4);
	assert_int_equal(sw_queue_add(x->port[P], true, 0), 0);
	pass_grace(x);
	send_numbers(x, 0, 3);
	wait_stat(x, held, 12);
	remove_port(x, P); /* with all that waits for it */
	add_port(x, P, 1);
	learn_all(x);
	send_numbers(x, 0, 1);
	expect_numbers(x, 0, 1);
}

/* ---- what cannot be paused, and what happens to it meanwhile ---- */

static void what_is_not_there_cannot_be_paused(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(sw_queue_pause(x->port[P], 1, on_gone, x), -ENOENT);
	assert_int_equal(sw_queue_pause(x->port[P], SW_QUEUES_MAX, on_gone, x), -ENOENT);
	sw_queue_remove(x->port[P], true, 0, NULL, NULL);
	assert_int_equal(sw_queue_pause(x->port[P], 0, on_gone, x), -ENOENT);
}

/* ---- who is served aside ---- */

static void serve_aside(struct fixture *x)
{
	struct sw_port_config aside = {.aside = true};

	remove_port(x, P);
	add_port_with(x, P, 1, &aside);
	learn_all(x);
}

static void who_is_served_aside_is_paused_as_well(void **state)
{
	struct fixture *x = *state;

	serve_aside(x);
	for (unsigned round = 0; round < 3; round++) {
		pause_begin(x, 0);
		send_numbers(x, 0, 5);
		assert_int_equal(fake_port_got(x->fake[P]), 0);
		pause_end(x, 0);
		wait_got(x, P, 5); /* nothing else has come */
		send_numbers(x, 5, 3);
		expect_numbers(x, 0, 8);
	}
	wait_stat(x, held, 15);
	wait_stat(x, dropped, 0);
}

/* What its thread has taken is the first to go on. */
static void what_a_delivery_aside_leaves_waits_for_the_queue_to_go_on(void **state)
{
	struct fixture *x = *state;
	struct fake_port *fake;
	unsigned each = 70;

	serve_aside(x);
	fake = x->fake[P];
	pthread_mutex_lock(&fake->lock);
	fake->goes[0] = each;
	fake->waits[0] = true;
	pthread_mutex_unlock(&fake->lock);
	send_numbers(x, 0, 3 * each);
	wait_got(x, P, each);
	pause_begin(x, 0);
	send_numbers(x, 3 * each, 10);
	fake->goes[0] = each;
	pause_end(x, 0);
	wait_got(x, P, 2 * each);
	pause_begin(x, 0);
	fake->waits[0] = false;
	pause_end(x, 0);
	expect_numbers(x, 0, 3 * each + 10);
	wait_stat(x, dropped, 0);
}

static void what_waits_aside_when_the_queue_ends_is_lost_and_counted(void **state)
{
	struct fixture *x = *state;
	unsigned before;

	serve_aside(x);
	pthread_mutex_lock(&x->fake[P]->lock);
	x->fake[P]->waits[0] = true;
	pthread_mutex_unlock(&x->fake[P]->lock);
	send_numbers(x, 0, 7);
	pause_begin(x, 0);
	send_numbers(x, 7, 3);
	before = x->gone;
	sw_queue_remove(x->port[P], true, 0, on_gone, x);
	wait_gone(x, before + 1);
	wait_stat(x, dropped, 10);
	assert_int_equal(stats_of(x, P).tx_lost, 10);
}

/* Whoever asked for the pause is told first. */
static void a_queue_or_port_that_is_served_aside_may_go_while_its_pause_begins(void **state)
{
	struct fixture *x = *state, begun = {0};

	for (unsigned port = 0; port < 2; port++) {
		unsigned before;

		serve_aside(x);
		send_numbers(x, 0, 3);
		before = x->gone;
		assert_int_equal(sw_queue_pause(x->port[P], 0, on_gone, &begun), 0);
		if (port)
			break;
		sw_queue_remove(x->port[P], true, 0, on_gone, x);
		wait_gone(x, before + 1);
		assert_int_equal(begun.gone, 1);
	}
	remove_port(x, P);
	assert_int_equal(begun.gone, 2);
}

static void a_queue_that_is_paused_may_be_served_aside_when_it_goes_on(void **state)
{
	struct fixture *x = *state;

	learn_all(x);
	pause_begin(x, 0);
	send_numbers(x, 0, 3);
	assert_int_equal(sw_port_slow_set(x->port[P], true), 0);
	pass_grace(x);
	send_numbers(x, 3, 3);
	assert_int_equal(fake_port_got(x->fake[P]), 0); /* its thread keeps off as well */
	pause_end(x, 0);
	wait_got(x, P, 6);
	send_numbers(x, 6, 1);
	expect_numbers(x, 0, 7);
	wait_stat(x, dropped, 0);
}

static void a_port_may_come_back_from_aside_while_it_is_paused(void **state)
{
	struct fixture *x = *state;
	unsigned before;

	learn_all(x);
	pause_begin(x, 0);
	send_numbers(x, 0, 3);
	assert_int_equal(sw_port_slow_set(x->port[P], true), 0);
	pass_grace(x);
	before = x->gone;
	sw_queue_remove(x->port[P], false, 0, on_gone, x);
	wait_gone(x, before + 1);
	assert_int_equal(sw_port_slow_set(x->port[P], false), 0);
	pass_grace(x);
	send_numbers(x, 3, 1);
	pause_end(x, 0);
	expect_numbers(x, 0, 4);
	wait_stat(x, dropped, 0);
}

/* Its thread would not hear of buffers. */
static void who_is_served_aside_loses_at_once_what_finds_none(void **state)
{
	struct fixture *x = *state;

	serve_aside(x);
	retry(x, (struct sw_retry)PATIENT);
	starve(x, true);
	send_numbers(x, 0, 5);
	wait_stat(x, dropped, 5);
	starve(x, false);
	send_numbers(x, 5, 2);
	expect_numbers(x, 5, 2);
	wait_stat(x, given_up, 0);
}

/* ---- several workers ---- */

static int setup_two_workers(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 2});
}

/* Each sender's frames keep their order, and none is lost, whoever delivers while the queue stops, goes on, and leaves frames. */
static void send_while_it_stops_and_goes_on(struct fixture *x)
{
	struct fake_port *fake = x->fake[P];
	unsigned sent = 0, next[2] = {0}, rounds = 150;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 8; i++, sent++) {
			send_number(x, 0, P, sent, 64);
			send_number(x, 2, P, sent | 1u << 31, 64);
		}
		pthread_mutex_lock(&fake->lock);
		fake->goes[0] = round % 5;
		fake->waits[0] = round & 1;
		pthread_mutex_unlock(&fake->lock);
		if (round % 3)
			step(x);
		pause_begin(x, 0);
		fake->waits[0] = false;
		pause_end(x, 0);
	}
	wait_got(x, P, 2 * sent);
	for (unsigned i = 0; i < 2 * sent; i++) {
		unsigned number = number_at(x, P, i), from = number >> 31;

		assert_int_equal(number & ~(1u << 31), next[from]++);
	}
	wait_stat(x, dropped, 0);
}

static void nothing_is_lost_while_two_workers_send_to_a_queue_that_stops_and_goes_on(void **state)
{
	struct fixture *x = *state;

	out_queue_renew(x);
	learn_all(x);
	send_while_it_stops_and_goes_on(x);
}

static void nothing_is_lost_while_they_send_to_one_that_is_served_aside(void **state)
{
	struct fixture *x = *state;

	serve_aside(x);
	send_while_it_stops_and_goes_on(x);
}

static void nothing_is_lost_while_two_workers_send_to_a_queue_that_has_buffers_now_and_then(void **state)
{
	struct fixture *x = *state;
	struct fake_port *fake = x->fake[P];
	unsigned sent = 0, next[2] = {0}, rounds = 150;

	learn_all(x);
	retry(x, (struct sw_retry){.looks = SW_RETRY_LOOKS_MAX, .delay_us = 1000});
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 8; i++, sent++) {
			send_number(x, 0, P, sent, 64);
			send_number(x, 2, P, sent | 1u << 31, 64);
		}
		pthread_mutex_lock(&fake->lock);
		fake->goes[0] = round % 5;
		fake->starves = fake->waits[0] = round & 1;
		pthread_mutex_unlock(&fake->lock);
		if (round % 3)
			step(x);
	}
	starve(x, false);
	wait_got(x, P, 2 * sent);
	for (unsigned i = 0; i < 2 * sent; i++) {
		unsigned number = number_at(x, P, i), from = number >> 31;

		assert_int_equal(number & ~(1u << 31), next[from]++);
	}
	wait_stat(x, dropped, 0);
	wait_stat(x, given_up, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_are_held_and_come_first_when_the_queue_goes_on),
		TEST(a_pause_without_frames_leaves_no_trace),
		TEST(what_a_delivery_leaves_is_held_and_so_is_what_comes_behind_it),
		TEST(what_is_left_comes_first_also_when_nobody_has_paused_the_queue),
		TEST(a_queue_that_waits_again_while_it_is_given_what_was_held_loses_nothing),
		TEST(a_queue_that_may_not_wait_loses_what_it_leaves),
		TEST(so_many_frames_are_held_and_no_more),
		TEST(so_many_bytes_are_held_and_fewer_for_later_queues),
		TEST(frames_to_all_leave_a_part_of_the_hold_to_others),
		TEST(what_a_queue_holds_when_it_ends_is_lost_and_counted),
		TEST(what_is_held_when_the_link_is_cut_is_lost_and_counted),
		TEST(what_is_held_goes_when_the_link_is_back_soon_enough),
		TEST(a_port_may_go_with_a_full_hold),
		TEST(frames_to_all_reach_who_is_paused_and_who_is_not),
		TEST(large_frames_are_held_whole_for_who_takes_them_so),
		TEST(large_frames_are_cut_before_they_are_held_for_who_does_not),
		TEST(a_frame_is_held_with_the_tag_that_it_gets),
		TEST(what_is_not_there_cannot_be_paused),
		TEST(who_is_served_aside_is_paused_as_well),
		TEST(what_a_delivery_aside_leaves_waits_for_the_queue_to_go_on),
		TEST(what_waits_aside_when_the_queue_ends_is_lost_and_counted),
		TEST(a_queue_or_port_that_is_served_aside_may_go_while_its_pause_begins),
		TEST(what_finds_no_buffers_waits_and_comes_in_order),
		TEST(a_guest_that_never_has_buffers_loses_what_has_waited),
		TEST(a_guest_that_has_a_buffer_now_and_then_loses_nothing),
		TEST(so_much_waits_for_buffers_and_no_more),
		TEST(what_waits_for_memory_is_not_given_up),
		TEST(a_queue_without_buffers_may_be_paused_and_its_link_be_cut),
		TEST(who_is_served_aside_loses_at_once_what_finds_none),
		TEST(retries_end_where_they_are_taken_back_and_with_the_queue),
		TEST(a_queue_that_is_paused_may_be_served_aside_when_it_goes_on),
		TEST(a_port_may_come_back_from_aside_while_it_is_paused),
		cmocka_unit_test_setup_teardown(nothing_is_lost_while_two_workers_send_to_a_queue_that_stops_and_goes_on, setup_two_workers,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_while_they_send_to_one_that_is_served_aside, setup_two_workers, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_while_two_workers_send_to_a_queue_that_has_buffers_now_and_then,
						setup_two_workers, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
