/* SPDX-License-Identifier: BSD-3-Clause */

/* What frames say of groups, and each way to lie about it. */

#include "switch/membership.h"
#include "switch/membership_frames.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those above */
#include <cmocka.h>

static enum membership_kind look_have(const struct mframe *f, uint32_t have, struct membership *ret)
{
	uint8_t *exact = malloc(have);
	enum membership_kind kind;

	assert_non_null(exact);
	memcpy(exact, f->bytes, have);
	kind = membership_look(exact, have, f->count, 12, true, ret);
	free(exact);
	return kind;
}

static enum membership_kind look(const struct mframe *f, struct membership *ret)
{
	return look_have(f, f->count, ret);
}

static enum membership_kind kind_of(const struct mframe *f)
{
	struct membership m = {.records = 0};

	return look(f, &m);
}

static void assert_says(const struct mframe *f, const char *says)
{
	struct mcast_address group;
	enum membership_step step;
	struct membership m = {.records = 0};

	assert_int_equal(look(f, &m), MEMBERSHIP_REPORT);
	while ((step = membership_next(f->bytes, &m, &group))) {
		assert_int_equal(*says++, step == MEMBERSHIP_JOIN ? '+' : '-');
		assert_int_equal(*says++ - '0', group.bytes[group.family == 4 ? 3 : 15]);
	}
	assert_int_equal(*says, 0);
}

static void a_report_of_each_version_of_igmp_is_read(void **state)
{
	struct mframe f;

	igmp(&f, 0x12, 0, 7);
	assert_says(&f, "+7");
	igmp(&f, 0x16, 0, 7);
	assert_says(&f, "+7");
	igmp(&f, 0x17, 0, 7);
	assert_says(&f, "-7");
	igmp3(&f, "\2\1\0\7" "\4\0\0\3" "\3\0\0\4" "\3\0\1\5" "\6\0\2\6" "\5\0\1\1" "\5\0\0\2" "\1\1\0\3", 8);
	assert_says(&f, "+7+3-4+5+1-3");
	igmp3(&f, "", 0);
	assert_says(&f, "");
}

static void a_report_of_each_version_of_mld_is_read(void **state)
{
	struct mframe f;

	mld(&f, 131, 0, 7);
	assert_says(&f, "+7");
	mld(&f, 132, 0, 7);
	assert_says(&f, "-7");
	mld2(&f, "\2\1\0\7" "\4\0\0\3" "\3\0\0\4" "\3\0\1\5" "\6\0\2\6" "\5\0\1\1" "\5\0\0\2" "\1\1\0\3", 8);
	assert_says(&f, "+7+3-4+5+1-3");
}

static void a_query_says_how_long_to_wait(void **state)
{
	struct membership m = {.records = 0};
	struct mframe f;

	igmp(&f, 0x11, 0, 0);
	assert_int_equal(look(&f, &m), MEMBERSHIP_QUERY);
	assert_int_equal(m.response_ms, 10000);
	assert_int_equal(m.group.family, 0);
	igmp(&f, 0x11, 20, 7);
	assert_int_equal(look(&f, &m), MEMBERSHIP_QUERY);
	assert_int_equal(m.response_ms, 2000);
	assert_int_equal(m.group.bytes[3], 7);
	igmp3_query(&f, 0x9f, 0);
	assert_int_equal(look(&f, &m), MEMBERSHIP_QUERY);
	assert_int_equal(m.response_ms, (0x1f << 4) * 100);
	mld(&f, 130, 500, 0);
	assert_int_equal(look(&f, &m), MEMBERSHIP_QUERY);
	assert_int_equal(m.response_ms, 500);
	mld2_query(&f, 0x8001, 3);
	assert_int_equal(look(&f, &m), MEMBERSHIP_QUERY);
	assert_int_equal(m.response_ms, 0x1001 << 3);
}

/* However much of it is there: more is wanted, never something else believed. */
static void a_frame_in_part_is_asked_for_more_of(void **state)
{
	struct mframe frames[4];
	struct membership m = {.records = 0};

	igmp3(&frames[0], "\2\1\0\7" "\4\0\3\3", 2);
	mld2(&frames[1], "\2\1\0\7" "\4\0\3\3", 2);
	igmp3_query(&frames[2], 10, 2);
	mld2_query(&frames[3], 10, 2);
	for (unsigned i = 0; i < 4; i++)
		for (uint32_t have = 14; have < frames[i].count; have++)
			assert_int_equal(look_have(&frames[i], have, &m), MEMBERSHIP_MORE);
}

static void a_message_that_is_cut_short_is_bad(void **state)
{
	struct mframe whole, f;

	for (unsigned version = 0; version < 2; version++) {
		if (version)
			mld2(&whole, "\2\1\0\7" "\4\0\3\3", 2);
		else
			igmp3(&whole, "\2\1\0\7" "\4\0\3\3", 2);
		for (uint32_t count = whole.message + 1; count < whole.count; count++) {
			f = whole;
			f.count = count;
			mframe_lengths(&f);
			mframe_sum(&f);
			assert_int_not_equal(kind_of(&f), MEMBERSHIP_REPORT);
		}
		f = whole;
		f.count -= 3; /* and its length says that it is not */
		assert_int_not_equal(kind_of(&f), MEMBERSHIP_REPORT);
	}
}

static void counts_that_lie_are_bad(void **state)
{
	struct mframe f;

	igmp3(&f, "\2\0\0\7", 1);
	store16(&f, f.message + 6, 2); /* records */
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	igmp3(&f, "\2\0\0\7", 1);
	store16(&f, f.message + 10, 0xffff); /* sources */
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	igmp3(&f, "\2\0\0\7", 1);
	f.bytes[f.message + 9] = 255; /* auxiliary words */
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	igmp3_query(&f, 10, 0);
	store16(&f, f.message + 10, 1);
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	mld2(&f, "\2\0\0\7", 1);
	store16(&f, f.message + 6, 0xffff);
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	mld2(&f, "\2\0\0\7", 1);
	store16(&f, f.message + 10, 0xffff);
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	mld2_query(&f, 10, 0);
	store16(&f, f.message + 26, 1);
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
}

static void a_wrong_checksum_is_bad_unless_it_is_still_to_be_filled_in(void **state)
{
	struct membership m = {.records = 0};
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	f.bytes[f.message + 2] ^= 1;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	assert_int_equal(membership_look(f.bytes, f.count, f.count, 12, false, &m), MEMBERSHIP_REPORT);
	mld(&f, 131, 0, 7);
	f.bytes[f.message + 2] ^= 1;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
}

static void what_is_no_group_is_bad(void **state)
{
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	f.bytes[f.message + 4] = 10;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	igmp(&f, 0x11, 10, 7);
	f.bytes[f.message + 4] = 10;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	mld(&f, 131, 0, 7);
	f.bytes[f.message + 8] = 0x20;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	igmp3(&f, "\2\0\0\7", 1);
	f.bytes[f.message + 12] = 10;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
}

/* Else a host could be asked alone, and the others be forgotten. */
static void a_question_to_all_goes_to_all(void **state)
{
	struct mframe f;

	igmp(&f, 0x11, 10, 0);
	f.bytes[14 + 19] = 2;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	mld(&f, 130, 10, 0);
	f.bytes[14 + 39] = 2;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
}

static void mld_comes_from_the_link(void **state)
{
	struct mframe f;

	mld(&f, 131, 0, 7);
	f.bytes[14 + 7] = 2; /* hop limit */
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	mld(&f, 131, 0, 7);
	f.bytes[14 + 8] = 0x20;
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
	mld(&f, 131, 0, 7);
	memset(f.bytes + 14 + 8, 0, 16); /* who has no address yet may report, but not ask */
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_REPORT);
	mld(&f, 130, 10, 0);
	memset(f.bytes + 14 + 8, 0, 16);
	assert_int_equal(kind_of(mframe_sum(&f)), MEMBERSHIP_BAD);
}

static void fragments_of_igmp_are_bad(void **state)
{
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	f.bytes[14 + 6] = 0x20;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	f.bytes[14 + 6] = 0;
	f.bytes[14 + 7] = 1;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
}

static void header_lengths_that_lie_are_bad(void **state)
{
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	f.bytes[14] = 0x44;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	f.bytes[14] = 0x4f;
	assert_int_equal(kind_of(&f), MEMBERSHIP_BAD);
	mld(&f, 131, 0, 7);
	f.bytes[14 + 40 + 1] = 200; /* hop-by-hop options beyond the packet: hosts do not take that for a message */
	assert_int_equal(kind_of(&f), MEMBERSHIP_NONE);
}

static void what_is_not_about_groups_tells_its_address(void **state)
{
	struct membership m = {.records = 0};
	struct mframe f;

	igmp(&f, 0x16, 0, 7);
	f.bytes[14 + 9] = 17;
	assert_int_equal(look(&f, &m), MEMBERSHIP_NONE);
	assert_int_equal(m.to.family, 4);
	assert_memory_equal(m.to.bytes, ((uint8_t[]){239, 1, 1, 7}), 4);
	f.bytes[14 + 16] = 10;
	assert_int_equal(look(&f, &m), MEMBERSHIP_NONE);
	assert_int_equal(m.to.family, 0);
	mld(&f, 131, 0, 7);
	f.bytes[14 + 6] = 17;
	assert_int_equal(look(&f, &m), MEMBERSHIP_NONE);
	assert_int_equal(m.to.family, 6);
	assert_int_equal(m.to.bytes[15], 7);
	f.bytes[12] = 0x81; /* a tag that nobody looks at */
	assert_int_equal(look(&f, &m), MEMBERSHIP_NONE);
	assert_int_equal(m.to.family, 0);
}

static void local_groups_are_known(void **state)
{
	assert_true(mcast_is_local(&(struct mcast_address){4, {224, 0, 0, 251}}));
	assert_false(mcast_is_local(&(struct mcast_address){4, {224, 0, 1, 1}}));
	assert_false(mcast_is_local(&(struct mcast_address){4, {239, 0, 0, 1}}));
	assert_true(mcast_is_local(&(struct mcast_address){6, {0xff, 0x02, [15] = 0xfb}}));
	assert_true(mcast_is_local(&(struct mcast_address){6, {0xff, 0x12, [15] = 1}}));
	assert_false(mcast_is_local(&(struct mcast_address){6, {0xff, 0x05, [15] = 1}}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_of_each_version_of_igmp_is_read),
		cmocka_unit_test(a_report_of_each_version_of_mld_is_read),
		cmocka_unit_test(a_query_says_how_long_to_wait),
		cmocka_unit_test(a_frame_in_part_is_asked_for_more_of),
		cmocka_unit_test(a_message_that_is_cut_short_is_bad),
		cmocka_unit_test(counts_that_lie_are_bad),
		cmocka_unit_test(a_wrong_checksum_is_bad_unless_it_is_still_to_be_filled_in),
		cmocka_unit_test(what_is_no_group_is_bad),
		cmocka_unit_test(a_question_to_all_goes_to_all),
		cmocka_unit_test(mld_comes_from_the_link),
		cmocka_unit_test(fragments_of_igmp_are_bad),
		cmocka_unit_test(header_lengths_that_lie_are_bad),
		cmocka_unit_test(what_is_not_about_groups_tells_its_address),
		cmocka_unit_test(local_groups_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
