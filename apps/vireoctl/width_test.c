/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "table.h"
#include "width.h"
#include <stdlib.h>
#include <string.h>

static void assert_fits(const char *text, size_t columns, const char *expected)
{
	size_t bytes = strlen(text);
	char *to = malloc(WIDTH_FIT_BYTES(bytes));

	assert_non_null(to);
	width_fit(to, text, bytes, columns);
	assert_string_equal(to, expected);
	assert_true(width_of(to, strlen(to)) <= columns);
	free(to);
}

static void characters_have_their_columns(void **state)
{
	assert_int_equal(width_of("vm1", 3), 3);
	assert_int_equal(width_of("Z\xc3\xbcrich", 7), 6);
	assert_int_equal(width_of("\xe6\x9d\xb1", 3), 2);		/* an ideograph */
	assert_int_equal(width_of("u\xcc\x88", 3), 1);			/* u and its dots */
	assert_int_equal(width_of("\xf0\x9f\x90\xa7", 4), 2);		/* a penguin */
	assert_int_equal(width_cut("\xe6\x9d\xb1\xe6\x9d\xb1", 6, 3), 3); /* no half of one */
	assert_int_equal(width_cut("a\xc3\xbc", 3, 1), 1);
	assert_int_equal(width_cut("abc", 3, 9), 3);
}

static void what_is_too_long_is_cut_in_its_midst(void **state)
{
	assert_fits("short", 5, "short");
	assert_fits("machine-0001", 8, "machi\xe2\x80\xa6" "01");
	assert_fits("machine-0001", 1, "\xe2\x80\xa6");
	assert_fits("machine-0001", 0, "");
	assert_fits("\xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1", 7, "\xe6\x9d\xb1\xe6\x9d\xb1\xe2\x80\xa6\xe6\x9d\xb1");
}

static char *printed(size_t columns)
{
	struct table *t = table_new("NAME|STATE|>FRAMES|>BYTES");
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	table_cell(t, "%s", "a-name-of-many-letters-\xc3\xbc");
	table_cell(t, "%s", "connected");
	table_cell(t, "%d", 123456);
	table_cell(t, "%d", 7);
	table_within(t, columns);
	table_print(t, out);
	fclose(out);
	return text;
}

static void assert_printed(size_t columns, const char *expected)
{
	char *text = printed(columns);

	assert_string_equal(text, expected);
	free(text);
}

static void a_table_fits_into_its_columns(void **state)
{
	assert_printed(0, "NAME                      STATE      FRAMES  BYTES\n"
			  "a-name-of-many-letters-\xc3\xbc  connected  123456      7\n");
	assert_printed(50, "NAME                      STATE      FRAMES  BYTES\n"
			   "a-name-of-many-letters-\xc3\xbc  connected  123456      7\n");
	assert_printed(40, "NAME            STATE      FRAMES  BYTES\n"
			   "a-name-of\xe2\x80\xa6rs-\xc3\xbc  connected  123456      7\n");
	assert_printed(26, "NAME      STATE     FRAMES\n"
			   "a-nam\xe2\x80\xa6-\xc3\xbc  conne\xe2\x80\xa6" "ed  123456\n");
	assert_printed(20, "NAME       STATE\n"
			   "a-name\xe2\x80\xa6-\xc3\xbc  connected\n");
	assert_printed(3, "NA\xe2\x80\xa6\na-\xe2\x80\xa6\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_have_their_columns),
		cmocka_unit_test(what_is_too_long_is_cut_in_its_midst),
		cmocka_unit_test(a_table_fits_into_its_columns),
	};

	return cmocka_run_group_tests_name("width", tests, NULL, NULL);
}
