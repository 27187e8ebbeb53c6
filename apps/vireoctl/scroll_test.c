/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "scroll.h"
#include <string.h>

static bool press(struct scroll *scroll, const char *keys)
{
	return scroll_keys(scroll, keys, strlen(keys));
}

static void lines_are_moved_by_keys_and_no_further_than_to_the_ends(void **state)
{
	struct scroll scroll = {0};

	scroll_set(&scroll, 43, 3, 23); /* 40 lines in 20 rows */
	assert_false(scroll_is_all(&scroll));
	assert_true(press(&scroll, "\033[A")); /* up */
	assert_int_equal(scroll.at, 0);
	assert_true(press(&scroll, "\033[B\033OBj"));
	assert_int_equal(scroll.at, 3);
	assert_true(press(&scroll, "\033[6~"));
	assert_int_equal(scroll.at, 20);
	assert_true(press(&scroll, "j"));
	assert_int_equal(scroll.at, 20);
	assert_true(press(&scroll, "k\033[5~"));
	assert_int_equal(scroll.at, 0);
	assert_true(press(&scroll, "G"));
	assert_int_equal(scroll.at, 20);
	assert_true(press(&scroll, "\033[H"));
	assert_int_equal(scroll.at, 0);
	assert_true(press(&scroll, "x\033[99~"));
	assert_int_equal(scroll.at, 0);
	assert_false(press(&scroll, "jq"));
}

static void fewer_lines_and_another_window_keep_what_can_be_in_sight(void **state)
{
	struct scroll scroll = {0};

	scroll_set(&scroll, 43, 3, 23);
	press(&scroll, "G");
	scroll_set(&scroll, 33, 3, 23);
	assert_int_equal(scroll.at, 10);
	scroll_set(&scroll, 5, 3, 23);
	assert_true(scroll_is_all(&scroll));
	assert_int_equal(scroll.at, 0);
	scroll_set(&scroll, 43, 3, 4); /* so few rows are for what scrolls */
	assert_int_equal(scroll_page(&scroll), 4);
	scroll_set(&scroll, 2, 3, 23);
	assert_true(scroll_is_all(&scroll));
	scroll_set(&scroll, 43, 3, 0); /* a window of one row */
	assert_true(press(&scroll, "\033[6~\033[5~jkG"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_moved_by_keys_and_no_further_than_to_the_ends),
		cmocka_unit_test(fewer_lines_and_another_window_keep_what_can_be_in_sight),
	};

	return cmocka_run_group_tests_name("scroll", tests, NULL, NULL);
}
