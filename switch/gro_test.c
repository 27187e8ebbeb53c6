/* SPDX-License-Identifier: BSD-3-Clause */

/* Segments are joined, and only those that can be cut out again byte by byte. */

#include "switch/gro_frames.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define RUN 10u

static int setup(void **state)
{
	struct offload_arena *arena;

	assert_int_equal(offload_arena_new(BURST_FRAMES, 128u * 1024, &arena), 0);
	*state = arena;
	return 0;
}

static int teardown(void **state)
{
	offload_arena_free(*state);
	return 0;
}

/* RUN segments of a flow that follow one another. */
static void run_make(struct gburst *b, unsigned flow)
{
	*b = (struct gburst){.count = RUN, .pieces_seed = flow};
	for (unsigned i = 0; i < RUN; i++)
		gframe_make(&b->frames[i], flow, i, 0xfffff000u + i * 1000, 1000);
}

static void segments_that_follow_become_one_frame(void **state)
{
	static struct gburst b;

	for (unsigned flow = 0; flow < 8; flow++) {
		run_make(&b, flow);
		b.pieces_seed = 1; /* none of them in more pieces than may be */
		for (unsigned seed = 0; seed < 200 && gburst_check(&b, *state) != 1; seed++)
			b.pieces_seed = seed * 7919;
		assert_int_equal(gburst_check(&b, *state), 1);
	}
}

static void a_shorter_one_or_a_pushed_one_is_the_last(void **state)
{
	static struct gburst b;

	run_make(&b, 0);
	for (unsigned i = 0; i < RUN; i++)
		b.frames[i].at[18 - 4 + 6] = 0x40;
	gframe_make(&b.frames[4], 0, 4, 0xfffff000u + 4000, 999);
	for (unsigned i = 5; i < RUN; i++)
		gframe_make(&b.frames[i], 0, i, 0xfffff000u + i * 1000 - 1, 1000);
	for (unsigned seed = 0; seed < 500; seed++) {
		b.pieces_seed = seed;
		assert_in_range(gburst_check(&b, *state), 2, RUN);
	}
	run_make(&b, 0);
	b.frames[4].at[gframe_transport(&b.frames[4]) + 13] |= 8;
	gframe_sum(&b.frames[4]);
	for (unsigned seed = 0; seed < 500; seed++) {
		b.pieces_seed = seed;
		assert_in_range(gburst_check(&b, *state), 2, RUN);
	}
}

/* What differs, at an offset from the IP header or (above 100) from TCP's: the segment is not joined with the one before it. */
static void what_differs_is_not_joined(void **state)
{
	static const unsigned places4[] = {1, 4, 5, 6, 7, 8, 12, 19, 100, 103, 104, 107, 111, 112, 113, 114, 115, 118, 119, 125};
	static struct gburst b, same;
	unsigned joined_same = 0, joined_other = 0;

	for (unsigned i = 0; i < sizeof(places4) / sizeof(places4[0]); i++) {
		unsigned place = places4[i], transport;

		run_make(&b, 4);
		b.count = 2;
		transport = gframe_transport(&b.frames[1]);
		b.frames[1].at[place < 100 ? 14 + place : transport + place - 100] ^= 0x20;
		gframe_sum(&b.frames[1]);
		run_make(&same, 4);
		same.count = 2;
		for (unsigned seed = 0; seed < 50; seed++) {
			b.pieces_seed = same.pieces_seed = seed;
			joined_other += gburst_check(&b, *state) == 1;
			joined_same += gburst_check(&same, *state) == 1;
		}
		assert_int_equal(joined_other, 0);
	}
	assert_true(joined_same > 100);
}

/* It would be made right by being cut again. */
static void a_wrong_checksum_stays_wrong(void **state)
{
	static struct gburst b;

	for (unsigned at = 24; at < 60; at += 12) { /* IP's checksum, sequence, payload */
		run_make(&b, 0);
		b.frames[1].at[at] ^= 1;
		b.frames[1].at[b.frames[1].bytes - 1] ^= at > 40;
		for (unsigned seed = 0; seed < 100; seed++) {
			b.pieces_seed = seed;
			assert_in_range(gburst_check(&b, *state), 3, RUN);
		}
	}
}

static uint32_t next_draw = 4711;

static uint32_t draw_next(uint32_t below)
{
	return gframe_draw(&next_draw, below);
}

/* Several flows, lost and repeated segments, bytes that are changed. */
static void random_make(struct gburst *b, unsigned flows)
{
	uint32_t sequence[8] = {0}, number[8] = {0};

	*b = (struct gburst){.count = 1 + draw_next(BURST_FRAMES), .pieces_seed = draw_next(1u << 24)};
	for (unsigned i = 0; i < b->count; i++) {
		unsigned flow = draw_next(flows);
		uint32_t payload = draw_next(8) ? 700 : draw_next(900);

		gframe_make(&b->frames[i], flow, number[flow], sequence[flow], payload);
		if (!draw_next(12)) {
			b->frames[i].at[draw_next(b->frames[i].bytes)] ^= (uint8_t)(1u << draw_next(8));
			if (draw_next(2) && b->frames[i].at[12] == 8)
				gframe_sum(&b->frames[i]);
		}
		if (!draw_next(20))
			continue; /* the same once more */
		sequence[flow] += payload;
		number[flow]++;
	}
}

static void random_bursts_come_out_as_they_went_in(void **state)
{
	static struct gburst b;
	unsigned came = 0, left = 0;

	for (unsigned i = 0; i < 3000; i++) {
		random_make(&b, 1 + i % 8);
		came += b.count;
		left += gburst_check(&b, *state);
	}
	assert_true(left * 3 < came * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_that_follow_become_one_frame),
		cmocka_unit_test(a_shorter_one_or_a_pushed_one_is_the_last),
		cmocka_unit_test(what_differs_is_not_joined),
		cmocka_unit_test(a_wrong_checksum_stays_wrong),
		cmocka_unit_test(random_bursts_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
