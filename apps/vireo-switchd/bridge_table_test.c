/* SPDX-License-Identifier: BSD-3-Clause */
#include "bridge_table.h"
#include "base/util.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define MANY 512u

static struct bridge_table *make(uint32_t max)
{
	struct bridge_table *table;

	assert_int_equal(bridge_table_new(max, &table), 0);
	return table;
}

static struct bridge_address address_of(unsigned i, uint16_t vid)
{
	return (struct bridge_address){.mac = {2, 0, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, .vid = vid};
}

static void want(struct bridge_table *table, unsigned i, int port)
{
	struct bridge_address address = address_of(i, 0);

	bridge_table_want(table, &address, port);
}

static void found(struct bridge_table *table, unsigned i)
{
	struct bridge_address address = address_of(i, 0);

	bridge_table_found(table, &address);
}

/* The next change is of this address, and is answered so. */
static void expect_told(struct bridge_table *table, unsigned i, bool add, int err)
{
	struct bridge_address address = address_of(i, 0);
	struct bridge_change change;

	assert_int_equal(bridge_table_take(table, &change, 1), 1);
	assert_memory_equal(change.address.mac, address.mac, 6);
	assert_int_equal(change.add, add);
	bridge_table_answer(table, &change, err);
}

static void expect_rest(struct bridge_table *table)
{
	struct bridge_change change;

	assert_int_equal(bridge_table_take(table, &change, 1), 0);
}

/* How many are told, all of which the kernel takes. */
static unsigned tell_all(struct bridge_table *table)
{
	struct bridge_change changes[16];
	unsigned count, told = 0;

	while ((count = bridge_table_take(table, changes, ARRAY_SIZE(changes)))) {
		for (unsigned i = 0; i < count; i++)
			bridge_table_answer(table, &changes[i], 0);
		told += count;
	}
	return told;
}

static void an_address_is_added_once_and_taken_back(void **state)
{
	struct bridge_table *table = make(64);

	want(table, 1, 7);
	want(table, 1, 7);
	expect_told(table, 1, true, 0);
	expect_rest(table);
	want(table, 1, 8); /* another port of the switch: the same to the kernel */
	expect_rest(table);
	assert_int_equal(bridge_table_state(table).held, 1);
	want(table, 1, BRIDGE_PORT_NONE);
	expect_told(table, 1, false, 0);
	expect_rest(table);
	want(table, 2, BRIDGE_PORT_NONE); /* nobody has ever wanted it */
	expect_rest(table);
	assert_int_equal(bridge_table_state(table).wanted + bridge_table_state(table).held, 0);
	bridge_table_free(table);
}

static void the_same_address_in_two_vlans_is_two(void **state)
{
	struct bridge_table *table = make(64);
	struct bridge_address ten = address_of(1, 10), twenty = address_of(1, 20);

	bridge_table_want(table, &ten, 1);
	bridge_table_want(table, &twenty, 1);
	assert_int_equal(tell_all(table), 2);
	bridge_table_want(table, &ten, BRIDGE_PORT_NONE);
	assert_int_equal(tell_all(table), 1);
	assert_int_equal(bridge_table_state(table).held, 1);
	bridge_table_free(table);
}

static void what_changes_while_it_is_told_is_told_after(void **state)
{
	struct bridge_table *table = make(64);
	struct bridge_change change;

	want(table, 1, 1);
	assert_int_equal(bridge_table_take(table, &change, 1), 1);
	want(table, 1, BRIDGE_PORT_NONE);
	expect_rest(table);
	bridge_table_answer(table, &change, 0);
	assert_int_equal(bridge_table_take(table, &change, 1), 1);
	assert_false(change.add);
	want(table, 1, 1);
	bridge_table_answer(table, &change, 0);
	expect_told(table, 1, true, 0);
	want(table, 1, BRIDGE_PORT_NONE);
	want(table, 1, 1); /* never mind */
	expect_rest(table);
	bridge_table_free(table);
}

static void what_the_kernel_refuses_is_not_tried_again_and_again(void **state)
{
	struct bridge_table *table = make(64);

	want(table, 1, 1);
	expect_told(table, 1, true, -EINVAL);
	want(table, 1, 1);
	expect_rest(table);
	want(table, 1, BRIDGE_PORT_NONE);
	expect_rest(table);
	want(table, 1, 1);
	expect_told(table, 1, true, -EPERM);
	bridge_table_look_begin(table); /* it may be another bridge */
	bridge_table_look_end(table);
	expect_told(table, 1, true, 0);
	want(table, 1, BRIDGE_PORT_NONE);
	expect_told(table, 1, false, -ENOENT); /* another one has it by now */
	expect_rest(table);
	assert_int_equal(bridge_table_state(table).held, 0);
	bridge_table_free(table);
}

static void an_answer_that_nobody_waits_for_says_nothing(void **state)
{
	struct bridge_table *table = make(64);
	struct bridge_change lie = {.address = address_of(9, 0), .add = true};

	bridge_table_answer(table, &lie, 0);
	want(table, 9, 1);
	bridge_table_answer(table, &lie, 0);
	expect_told(table, 9, true, 0);
	bridge_table_answer(table, &lie, -EPERM);
	assert_int_equal(bridge_table_state(table).held, 1);
	bridge_table_free(table);
}

static void a_walk_takes_back_what_it_does_not_find(void **state)
{
	struct bridge_table *table = make(64);

	for (unsigned i = 0; i < 4; i++)
		want(table, i, 1);
	assert_int_equal(tell_all(table), 4);
	bridge_table_walk_begin(table);
	want(table, 1, 1);
	want(table, 5, 1);
	bridge_table_walk_end(table);
	assert_int_equal(tell_all(table), 4);
	assert_int_equal(bridge_table_state(table).held, 2);
	bridge_table_want_none(table);
	assert_int_equal(tell_all(table), 2);
	assert_int_equal(bridge_table_state(table).held, 0);
	bridge_table_free(table);
}

static void what_is_found_and_not_wanted_is_taken_back(void **state)
{
	struct bridge_table *table = make(64);

	want(table, 1, 1);
	want(table, 2, 1);
	assert_int_equal(tell_all(table), 2);
	bridge_table_look_begin(table);
	found(table, 2);
	found(table, 2);
	found(table, 3); /* of a daemon before this one */
	bridge_table_look_end(table);
	expect_told(table, 3, false, 0); /* what goes goes first */
	expect_told(table, 1, true, 0);
	expect_rest(table);
	assert_int_equal(bridge_table_state(table).held, 2);
	bridge_table_free(table);
}

static void a_bridge_that_has_gone_is_told_everything_again(void **state)
{
	struct bridge_table *table = make(64);

	for (unsigned i = 0; i < 9; i++)
		want(table, i, 1);
	assert_int_equal(tell_all(table), 9);
	want(table, 3, BRIDGE_PORT_NONE);
	bridge_table_look_begin(table);
	bridge_table_look_end(table);
	assert_int_equal(bridge_table_state(table).held, 0);
	assert_int_equal(tell_all(table), 8);
	bridge_table_free(table);
}

static void a_port_that_floods_addresses_gets_its_share_and_no_more(void **state)
{
	struct bridge_table *table = make(MANY);

	assert_int_equal(bridge_table_share(MANY), MANY / 8);
	assert_int_equal(bridge_table_share(20), 16);
	assert_int_equal(bridge_table_share(3), 3);
	for (unsigned i = 0; i < 100000; i++)
		want(table, i, 1);
	assert_int_equal(bridge_table_state(table).wanted, MANY / 8);
	assert_true(bridge_table_state(table).refused);
	assert_false(bridge_table_state(table).room);
	want(table, 200000, 2);
	assert_int_equal(tell_all(table), MANY / 8 + 1);
	want(table, 200001, 2);
	want(table, 200001, 1); /* nor by taking another's */
	assert_int_equal(bridge_table_state(table).wanted, MANY / 8 + 1);
	want(table, 5, BRIDGE_PORT_NONE);
	assert_true(bridge_table_state(table).room);
	bridge_table_walk_begin(table);
	assert_false(bridge_table_state(table).refused);
	bridge_table_walk_end(table);
	bridge_table_free(table);
}

static void the_kernel_never_has_more_than_may_be(void **state)
{
	struct bridge_table *table = make(MANY);
	struct bridge_change changes[MANY];

	for (unsigned i = 0; i < 10 * MANY; i++)
		want(table, i, (int)(i % 64));
	assert_int_equal(bridge_table_state(table).wanted, MANY);
	assert_int_equal(tell_all(table), MANY);
	bridge_table_want_none(table);
	for (unsigned i = 0; i < MANY; i++)
		want(table, 100000 + i, (int)(i % 64));
	assert_int_equal(bridge_table_take(table, changes, MANY), MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_false(changes[i].add);
	expect_rest(table); /* there is no room until they are gone */
	for (unsigned i = 0; i < MANY; i++)
		bridge_table_answer(table, &changes[i], 0);
	assert_int_equal(tell_all(table), MANY);
	assert_int_equal(bridge_table_state(table).held, MANY);
	bridge_table_free(table);
}

static void more_foreign_addresses_than_can_be_known_are_taken_back_in_turns(void **state)
{
	struct bridge_table *table = make(64);

	bridge_table_look_begin(table);
	for (unsigned i = 0; i < 1000; i++)
		found(table, i);
	bridge_table_look_end(table);
	assert_true(bridge_table_state(table).foreign);
	assert_int_equal(tell_all(table), 128);
	bridge_table_look_begin(table);
	bridge_table_found_more(table); /* who has asked has had no room himself */
	bridge_table_look_end(table);
	assert_true(bridge_table_state(table).foreign);
	bridge_table_look_begin(table);
	bridge_table_look_end(table);
	assert_false(bridge_table_state(table).foreign);
	bridge_table_free(table);
}

/* The kernel as it could be, which refuses at random: in the end it has what is wanted and nothing else, but for what it refuses. */
#define ADDRESSES 96u

static void the_bridge_is_as_wanted_in_the_end(void **state)
{
	struct bridge_table *table = make(ADDRESSES * 8);
	bool kernel[ADDRESSES] = {false}, wanted[ADDRESSES] = {false};
	struct bridge_change changes[8];
	unsigned count;

	srand(7);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)rand() % ADDRESSES;
		int port = rand() % 4 - 1;

		wanted[i] = port >= 0;
		want(table, i, port);
		count = bridge_table_take(table, changes, (unsigned)rand() % 8);
		for (unsigned c = 0; c < count; c++) {
			unsigned at = changes[c].address.mac[5];

			assert_true(kernel[at] != changes[c].add);
			kernel[at] = changes[c].add;
			bridge_table_answer(table, &changes[c], 0);
		}
	}
	while ((count = bridge_table_take(table, changes, 8)))
		for (unsigned c = 0; c < count; c++) {
			kernel[changes[c].address.mac[5]] = changes[c].add;
			bridge_table_answer(table, &changes[c], 0);
		}
	for (unsigned i = 0; i < ADDRESSES; i++)
		assert_int_equal(kernel[i], wanted[i]);
	bridge_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_added_once_and_taken_back),
		cmocka_unit_test(the_same_address_in_two_vlans_is_two),
		cmocka_unit_test(what_changes_while_it_is_told_is_told_after),
		cmocka_unit_test(what_the_kernel_refuses_is_not_tried_again_and_again),
		cmocka_unit_test(an_answer_that_nobody_waits_for_says_nothing),
		cmocka_unit_test(a_walk_takes_back_what_it_does_not_find),
		cmocka_unit_test(what_is_found_and_not_wanted_is_taken_back),
		cmocka_unit_test(a_bridge_that_has_gone_is_told_everything_again),
		cmocka_unit_test(a_port_that_floods_addresses_gets_its_share_and_no_more),
		cmocka_unit_test(the_kernel_never_has_more_than_may_be),
		cmocka_unit_test(more_foreign_addresses_than_can_be_known_are_taken_back_in_turns),
		cmocka_unit_test(the_bridge_is_as_wanted_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
