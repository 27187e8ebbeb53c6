/* SPDX-License-Identifier: BSD-3-Clause */

/* More urgent frames go first: which ones these are, whatever headers say, and what they find where there is not enough for all. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "switch/forward.h"
#include "switch/headers.h"
#include "switch/hold.h"
#include "switch/priority.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define P	    3u /* the port that has priorities */
#define FRAME_BYTES 64u
#define NUMBER_AT   18u
#define PATIENT	    {.looks = SW_RETRY_LOOKS_MAX, .delay_us = 1000} /* for longer than a test takes */
#define VIDEO	    0x88u /* AF41, as the octet has it */
#define SECONDS	    20u /* that a test may take on a loaded machine */

/* ---- what a frame says ---- */

/* One frame in pieces of so many bytes, as its sender's burst has it. */
struct said {
	struct burst *burst;
	struct port_rules rules;
	struct vireo_frame frame;
	struct iovec iov[FRAME_BYTES];
	uint8_t bytes[FRAME_BYTES];
};

static void said_new(struct said *said, const uint8_t *from_type, unsigned count, unsigned piece)
{
	memset(said, 0, sizeof(*said));
	said->burst = calloc(1, sizeof(*said->burst));
	assert_non_null(said->burst);
	memcpy(said->bytes, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	memcpy(said->bytes + 12, from_type, count);
	said->frame.iov = said->iov;
	said->frame.len_bytes = 12 + count;
	for (unsigned at = 0; at < 12 + count; at += piece)
		said->iov[said->frame.iov_count++] = (struct iovec){said->bytes + at, min_u32(piece, 12 + count - at)};
	memcpy(said->frame.head, said->bytes, min_u32(12 + count, VIREO_FRAME_HEAD_BYTES));
	said->burst->frames = &said->frame;
	said->burst->count = 1;
	said->burst->rules = &said->rules;
}

static unsigned class_of(const uint8_t *from_type, unsigned count, unsigned piece, enum sw_priority by)
{
	struct said said;
	unsigned class;

	said_new(&said, from_type, count, piece);
	class = priority_class(said.burst, &said.frame, by);
	free(said.burst);
	return class;
}

#define EXPECT(class, by, ...)                                                                             \
	do {                                                                                               \
		static const uint8_t bytes[] = {__VA_ARGS__};                                              \
		for (unsigned piece = 1; piece < FRAME_BYTES; piece++)                                     \
			assert_int_equal(class_of(bytes, sizeof(bytes), piece, SW_PRIORITY_##by), (class)); \
	} while (0)

static void priorities_of_a_tag_are_four_classes(void **state)
{
	static const unsigned classes[8] = {0, 0, 1, 1, 2, 2, 3, 3};

	for (unsigned pcp = 0; pcp < 8; pcp++) {
		const uint8_t tag[] = {0x81, 0, (uint8_t)(pcp << 5 | 0x10), 7, 0x88, 0xb5}, service[] = {0x88, 0xa8, (uint8_t)(pcp << 5), 7, 0x88, 0xb5};

		assert_int_equal(class_of(tag, sizeof(tag), 9, SW_PRIORITY_PCP), classes[pcp]);
		assert_int_equal(class_of(service, sizeof(service), 9, SW_PRIORITY_PCP), classes[pcp]);
		assert_int_equal(class_of(tag, sizeof(tag), 9, SW_PRIORITY_DSCP), 0);
	}
	EXPECT(0, PCP, 8, 0, 0x45, 0xb8, 0, 20);
	EXPECT(3, PCP, 0x81, 0, 0xe0, 7, 0x81, 0, 0, 8, 8, 0); /* the first one counts */
	EXPECT(0, PCP, 0x81, 0, 0, 7, 0x81, 0, 0xe0, 8, 8, 0);
}

static void what_a_port_does_not_see_as_a_tag_is_none(void **state)
{
	static const uint8_t tag[] = {0x81, 0, 0xe0, 7, 0x88, 0xb5};
	struct said said;

	said_new(&said, tag, sizeof(tag), 64);
	said.rules.aware = true; /* and its tags are of another type: the frame lies in the port's own VLAN */
	said.burst->tci[0] = 9;
	assert_int_equal(priority_class(said.burst, &said.frame, SW_PRIORITY_PCP), 0);
	said.burst->tci[0] = 0xa009;
	assert_int_equal(priority_class(said.burst, &said.frame, SW_PRIORITY_PCP), 2);
	said.rules.aware = false; /* an earlier receiver has been shown a tag of its VLAN before that */
	assert_true(vireo_frame_tag_push(&said.frame, 0x8100, 0x4009));
	said.burst->tagged = 1;
	assert_int_equal(priority_class(said.burst, &said.frame, SW_PRIORITY_PCP), 3);
	free(said.burst);
}

static void codepoints_are_four_classes_behind_any_tags(void **state)
{
	EXPECT(0, DSCP, 8, 0, 0x45, 0, 0, 20);
	EXPECT(0, DSCP, 8, 0, 0x45, 0x20, 0, 20); /* CS1: less than best effort, and no more than that */
	EXPECT(1, DSCP, 8, 0, 0x45, 0x68, 0, 20); /* AF31 */
	EXPECT(2, DSCP, 8, 0, 0x45, 0xb8, 0, 20); /* EF */
	EXPECT(2, DSCP, 8, 0, 0x46, VIDEO | 3, 0, 20); /* congestion is another matter */
	EXPECT(3, DSCP, 8, 0, 0x45, 0xc0, 0, 20);
	EXPECT(3, DSCP, 0x86, 0xdd, 0x6e, 0, 0, 0);
	EXPECT(2, DSCP, 0x86, 0xdd, 0x6b, 0x80, 0, 0);
	EXPECT(1, DSCP, 0x86, 0xdd, 0x66, 0xff, 0xff, 0xff);
	EXPECT(0, DSCP, 0x86, 0xdd, 0x63, 0xff, 0xff, 0xff);
	EXPECT(3, DSCP, 0x81, 0, 0, 7, 8, 0, 0x45, 0xe0, 0, 20);
	EXPECT(2, DSCP, 0x88, 0xa8, 0, 7, 0x81, 0, 0xe0, 9, 8, 0, 0x45, VIDEO, 0, 20);
	EXPECT(2, DSCP, 0x81, 0, 0, 7, 0x86, 0xdd, 0x68, 0);
}

static void headers_that_lie_are_not_urgent(void **state)
{
	EXPECT(0, DSCP, 8, 0, 0x65, 0xe0, 0, 20); /* another version than the type says */
	EXPECT(0, DSCP, 0x86, 0xdd, 0x4e, 0xe0, 0, 20);
	EXPECT(0, DSCP, 8, 6, 0x45, 0xe0, 0, 20);
	EXPECT(0, DSCP, 8, 0);
	EXPECT(0, DSCP, 8, 0, 0x45);
	EXPECT(0, DSCP, 0x86, 0xdd, 0x6e);
	EXPECT(0, DSCP, 0x81, 0);
	EXPECT(0, DSCP, 0x81, 0, 0xe0);
	EXPECT(0, DSCP, 0x81, 0, 0xe0, 7);
	EXPECT(0, DSCP, 0x81, 0, 0xe0, 7, 8, 0, 0x45);
	EXPECT(0, DSCP, 0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0, 0x45, 0xe0, 0, 20); /* one more than is looked through */
	EXPECT(0, PCP, 0x81, 0);
	EXPECT(0, PCP, 0x81, 0, 0xe0);
	EXPECT(3, PCP, 0x81, 0, 0xe0, 7); /* that is all of a tag */
}

static void a_receivers_edit_changes_no_class(void **state)
{
	static const uint8_t tagged[] = {0x81, 0, 0xe0, 7, 8, 0, 0x45, VIDEO, 0, 20}, plain[] = {8, 0, 0x45, VIDEO, 0, 20};
	struct said said;

	said_new(&said, tagged, sizeof(tagged), 5);
	assert_true(vireo_frame_tag_pop(&said.frame));
	assert_int_equal(priority_class(said.burst, &said.frame, SW_PRIORITY_DSCP), 2);
	free(said.burst);
	said_new(&said, plain, sizeof(plain), 5);
	assert_true(vireo_frame_tag_push(&said.frame, 0x8100, 7));
	assert_int_equal(priority_class(said.burst, &said.frame, SW_PRIORITY_DSCP), 2);
	free(said.burst);
}

/* ---- where there is not enough ---- */

static void add_port_of(struct fixture *x, struct sw_limits limits, struct sw_retry retry)
{
	struct sw_port_config config = {.limits = limits, .retry = retry};
	uint8_t mac[6];

	add_port_with(x, P, 1, &config);
	mac_of(mac, P, 0);
	send_raw(x, P, broadcast, mac, 0);
	settle(x);
	for (unsigned p = 0; p <= P; p++)
		fake_port_forget(x->fake[p]);
}

static void send_one(struct fixture *x, unsigned pcp, unsigned number)
{
	uint8_t frame[FRAME_BYTES] = {0};

	mac_of(frame, P, 0);
	mac_of(frame + 6, 0, 0);
	store_be16(frame + 12, 0x8100);
	store_be16(frame + 14, (uint16_t)(pcp << 13));
	store_be16(frame + 16, 0x88b5);
	memcpy(frame + NUMBER_AT, &number, sizeof(number));
	fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
}

static void send_some(struct fixture *x, unsigned pcp, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		send_one(x, pcp, i);
	settle(x);
}

static void step_until_got(struct fixture *x, unsigned count)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && fake_port_got(x->fake[P]) < count; i++)
		step(x);
	assert_int_equal(fake_port_got(x->fake[P]), count);
}

static const uint8_t *got_at(struct fixture *x, unsigned i)
{
	return x->fake[P]->got.frames[x->fake[P]->got.first + i]->data;
}

/* Of 16 that may come at once, class 0 leaves six. */
static void urgent_frames_pass_a_limit_that_others_have_used_up(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;
	unsigned got;

	add_port_of(x, (struct sw_limits){.frames_out = {.per_second = 1, .burst = 16}, .priority = SW_PRIORITY_PCP}, (struct sw_retry){0});
	send_some(x, 0, 100);
	got = fake_port_got(x->fake[P]);
	assert_in_range(got, 10, 10 + SECONDS);
	stats = stats_of(x, P);
	assert_int_equal(stats.tx_less_urgent, 100 - got);
	assert_int_equal(stats.tx_rate_limit, 0);
	send_some(x, 7, 100);
	assert_in_range(fake_port_got(x->fake[P]), got + 6, got + 6 + SECONDS);
	stats = stats_of(x, P);
	assert_int_equal(stats.tx_class3, fake_port_got(x->fake[P]) - got);
	assert_int_equal(stats.tx_rate_limit, 100 - stats.tx_class3);
}

static void the_last_class_has_what_a_rate_leaves(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;

	add_port_of(x, (struct sw_limits){.bytes_out = {.per_second = 64, .burst = 64 * 160}, .priority = SW_PRIORITY_PCP}, (struct sw_retry){0});
	for (unsigned pcp = 0; pcp < 8; pcp += 2) /* the least urgent ones first: each finds an eighth more */
		send_some(x, pcp, 200);
	stats = stats_of(x, P);
	assert_in_range(fake_port_got(x->fake[P]), 160, 160 + SECONDS);
	assert_in_range(stats.tx_class1, 20, 20 + SECONDS);
	assert_in_range(stats.tx_class2, 20, 20 + SECONDS);
	assert_in_range(stats.tx_class3, 20, 20 + SECONDS);
	assert_int_equal(fake_port_got(x->fake[P]) + stats.tx_less_urgent + stats.tx_rate_limit, 800);
}

static void leave_room(struct fixture *x, unsigned room)
{
	struct fake_port *fake = x->fake[P];

	pthread_mutex_lock(&fake->lock);
	fake->room = room;
	pthread_mutex_unlock(&fake->lock);
}

/* The most that have been seen free fades while a test waits: up to an eighth a second. */
static void an_urgent_frame_finds_a_buffer(void **state)
{
	struct fixture *x = *state;
	unsigned got;

	add_port_of(x, (struct sw_limits){.priority = SW_PRIORITY_PCP}, (struct sw_retry){0});
	leave_room(x, 800);
	send_some(x, 1, 900);
	got = fake_port_got(x->fake[P]);
	assert_in_range(got, 500, 750);
	assert_int_equal(stats_of(x, P).tx_less_urgent, 900 - got);
	assert_int_equal(stats_of(x, P).tx_lost, 0);
	send_some(x, 6, 900);
	assert_int_equal(fake_port_got(x->fake[P]), 800);
	assert_int_equal(stats_of(x, P).tx_less_urgent, 900 - got);
}

static void without_priorities_who_comes_first_goes_first(void **state)
{
	struct fixture *x = *state;

	add_port_of(x, (struct sw_limits){0}, (struct sw_retry){0});
	leave_room(x, 100);
	send_some(x, 0, 100);
	assert_int_equal(fake_port_got(x->fake[P]), 100);
	assert_int_equal(stats_of(x, P).tx_less_urgent, 0);
}

static void starve(struct fixture *x, bool on)
{
	struct fake_port *fake = x->fake[P];

	pthread_mutex_lock(&fake->lock);
	fake->starves = fake->waits[0] = on;
	pthread_mutex_unlock(&fake->lock);
}

/* All that has come, by classes, each of which in order; each class has so many. */
static void expect_by_classes(struct fixture *x, unsigned each)
{
	step_until_got(x, 4 * each);
	for (unsigned i = 0; i < 4 * each; i++) {
		unsigned number;

		memcpy(&number, got_at(x, i) + NUMBER_AT, sizeof(number));
		assert_int_equal(got_at(x, i)[14] >> 6, 3 - i / each);
		assert_int_equal(number, i % each);
	}
	fake_port_forget(x->fake[P]);
}

static void what_waits_goes_by_classes_and_in_order(void **state)
{
	struct fixture *x = *state;

	add_port_of(x, (struct sw_limits){.priority = SW_PRIORITY_PCP}, (struct sw_retry)PATIENT);
	for (unsigned round = 0; round < 3; round++) {
		starve(x, true);
		for (unsigned i = 0; i < 200; i++)
			send_one(x, 2 * (i % 4), i / 4);
		settle(x);
		assert_int_equal(fake_port_got(x->fake[P]), 0);
		starve(x, false);
		expect_by_classes(x, 50);
	}
	assert_int_equal(stats_of(x, P).tx_held, 600);
	assert_int_equal(stats_of(x, P).tx_hold_limit + stats_of(x, P).tx_less_urgent + stats_of(x, P).tx_lost, 0);
}

static void what_is_less_urgent_leaves_room_to_wait(void **state)
{
	struct fixture *x = *state;
	struct sw_port_stats stats;

	add_port_of(x, (struct sw_limits){.priority = SW_PRIORITY_PCP}, (struct sw_retry)PATIENT);
	starve(x, true);
	send_some(x, 0, HOLD_FRAMES_MAX);
	stats = stats_of(x, P);
	assert_int_equal(stats.tx_held, HOLD_FRAMES_MAX * 5 / 8);
	assert_int_equal(stats.tx_less_urgent, HOLD_FRAMES_MAX * 3 / 8);
	send_some(x, 7, HOLD_FRAMES_MAX * 3 / 8 + 10);
	stats = stats_of(x, P);
	assert_int_equal(stats.tx_held, HOLD_FRAMES_MAX);
	assert_int_equal(stats.tx_hold_limit, 10);
	starve(x, false);
	step_until_got(x, HOLD_FRAMES_MAX);
	for (unsigned i = 0; i < HOLD_FRAMES_MAX; i++)
		assert_int_equal(got_at(x, i)[14] >> 5, i < HOLD_FRAMES_MAX * 3 / 8 ? 7 : 0);
}

static void priorities_come_and_go_while_frames_wait(void **state)
{
	struct sw_limits on = {.priority = SW_PRIORITY_PCP}, off = {0};
	struct fixture *x = *state;

	add_port_of(x, off, (struct sw_retry)PATIENT);
	starve(x, true);
	send_some(x, 7, 5); /* they are in line */
	sw_port_limits_set(x->port[P], &on);
	send_some(x, 0, 5);
	send_some(x, 7, 5);
	sw_port_limits_set(x->port[P], &off);
	send_some(x, 7, 5);
	starve(x, false);
	step_until_got(x, 20);
	assert_int_equal(got_at(x, 4)[14] >> 5, 7);
	assert_int_equal(stats_of(x, P).tx_held, 20);
	assert_int_equal(stats_of(x, P).tx_class3, 5);
	fake_port_forget(x->fake[P]);
	sw_port_limits_set(x->port[P], &on);
	starve(x, true);
	send_some(x, 4, 5);
	sw_port_link_set(x->port[P], false); /* all lanes are given up */
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && stats_of(x, P).tx_link_down < 5; i++)
		step(x);
	assert_int_equal(stats_of(x, P).tx_link_down, 5);
	assert_int_equal(fake_port_got(x->fake[P]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(priorities_of_a_tag_are_four_classes),
		cmocka_unit_test(what_a_port_does_not_see_as_a_tag_is_none),
		cmocka_unit_test(codepoints_are_four_classes_behind_any_tags),
		cmocka_unit_test(headers_that_lie_are_not_urgent),
		cmocka_unit_test(a_receivers_edit_changes_no_class),
		cmocka_unit_test_setup_teardown(urgent_frames_pass_a_limit_that_others_have_used_up, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_class_has_what_a_rate_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(an_urgent_frame_finds_a_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(without_priorities_who_comes_first_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_goes_by_classes_and_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_less_urgent_leaves_room_to_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(priorities_come_and_go_while_frames_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
