/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/groups.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

static struct groups groups;

static void same_port_in_two_vlans_is_two_groups(void **state)
{
	const verdict_t verdicts[] = {verdict(1, 7), verdict(2, 7), verdict(1, 7), verdict(3, 7), verdict(2, 7)};

	groups_make(&groups, verdicts, 5);
	assert_int_equal(groups.count, 3);
	assert_int_equal(groups_frames(&groups, verdict(1, 7)), 0x05);
	assert_int_equal(groups_frames(&groups, verdict(2, 7)), 0x12);
	assert_int_equal(groups_frames(&groups, verdict(3, 7)), 0x08);
	assert_int_equal(groups_frames(&groups, verdict(4, 7)), 0);
	groups_reset(&groups);
}

static void groups_come_in_the_order_of_their_first_frames(void **state)
{
	const verdict_t verdicts[] = {verdict(0, FATE_FLOOD), verdict(0, 3), verdict(9, FATE_FLOOD), verdict(0, 3)};

	groups_make(&groups, verdicts, 4);
	assert_int_equal(groups.count, 3);
	assert_int_equal(groups.group[0].verdict, verdict(0, FATE_FLOOD));
	assert_int_equal(groups.group[1].verdict, verdict(0, 3));
	assert_int_equal(groups.group[2].verdict, verdict(9, FATE_FLOOD));
	assert_int_equal(verdict_vlan(groups.group[2].verdict), 9);
	assert_int_equal(verdict_fate(groups.group[2].verdict), FATE_FLOOD);
	groups_reset(&groups);
}

static void nothing_is_left_for_the_next_burst(void **state)
{
	verdict_t verdicts[BURST_FRAMES];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < BURST_FRAMES; i++)
			verdicts[i] = verdict((uint16_t)(i % 16), SW_PORTS_MAX - 1 - i / 16);
		groups_make(&groups, verdicts, BURST_FRAMES);
		assert_int_equal(groups.count, BURST_FRAMES);
		for (unsigned i = 0; i < BURST_FRAMES; i++)
			assert_int_equal(groups_frames(&groups, verdicts[i]), 1ull << i);
		groups_reset(&groups);
		for (unsigned fate = 0; fate < FATE_END; fate++)
			assert_int_equal(groups.newest[fate], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_port_in_two_vlans_is_two_groups),
		cmocka_unit_test(groups_come_in_the_order_of_their_first_frames),
		cmocka_unit_test(nothing_is_left_for_the_next_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
