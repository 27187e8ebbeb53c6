/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/visible.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

static void assert_shown(const char *text, const char *expected)
{
	char shown[256], again[256];

	assert_int_equal(visible_copy(shown, sizeof(shown), text), strlen(expected));
	assert_string_equal(shown, expected);
	assert_int_equal(visible_is(text), !strcmp(text, expected));
	visible_copy(again, sizeof(again), shown);
	assert_string_equal(again, shown);
}

static void what_people_write_stays_as_it_is(void **state)
{
	assert_shown("", "");
	assert_shown("/run/vm1.sock ~!\\x", "/run/vm1.sock ~!\\x");
	assert_shown("Z\xc3\xbcrich \xe2\x82\xac \xe6\x9d\xb1 \xf0\x9f\x90\xa7", "Z\xc3\xbcrich \xe2\x82\xac \xe6\x9d\xb1 \xf0\x9f\x90\xa7");
}

static void control_characters_are_shown(void **state)
{
	for (unsigned c = 1; c < 0xa0; c++) {
		char text[8], expected[16];
		bool plain = c >= 0x20 && c < 0x7f;

		if (c < 0x80)
			snprintf(text, sizeof(text), "a%cb", (int)c);
		else
			snprintf(text, sizeof(text), "a\xc2%cb", (int)c);
		if (plain)
			snprintf(expected, sizeof(expected), "%s", text);
		else
			snprintf(expected, sizeof(expected), c < 0x80 ? "a\\x%02xb" : "a\\xc2\\x%02xb", c);
		assert_shown(text, expected);
	}
}

static void what_turns_or_hides_text_is_shown(void **state)
{
	assert_shown("\xe2\x80\xae" "abc", "\\xe2\\x80\\xaeabc"); /* U+202E */
	assert_shown("\xe2\x81\xa6", "\\xe2\\x81\\xa6");	      /* U+2066 */
	assert_shown("\xe2\x80\xa8", "\\xe2\\x80\\xa8");	      /* U+2028 */
	assert_shown("\xd8\x9c", "\\xd8\\x9c");		      /* U+061C */
	assert_shown("\xef\xbb\xbf", "\\xef\\xbb\\xbf");	      /* U+FEFF */
	assert_shown("\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"); /* U+E0041 */
}

/* Each byte by itself, so that what follows the lie is read as it stands. */
static void bytes_that_are_no_utf8_are_shown(void **state)
{
	static const char *const wrong[][2] = {
		{"\x9b" "31m", "\\x9b31m"},
		{"\xff\xfe", "\\xff\\xfe"},
		{"\xc0\x8a", "\\xc0\\x8a"},		    /* overlong */
		{"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},
		{"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"},
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},	    /* a surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
		{"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
		{"\xe2\x82", "\\xe2\\x82"},		    /* cut off */
		{"\xe2" "a\nb", "\\xe2" "a\\x0ab"},
		{"\x80", "\\x80"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_shown(wrong[i][0], wrong[i][1]);
}

static void what_does_not_fit_is_left_out_in_whole_characters(void **state)
{
	char shown[16];

	for (size_t bytes = 1; bytes < sizeof(shown); bytes++) {
		size_t length;

		memset(shown, 'z', sizeof(shown));
		length = visible_copy(shown, bytes, "\xe2\x82\xac\n\xe2\x82\xac\xe2\x82\xac");
		assert_int_equal(length, bytes < 4 ? 0 : bytes < 8 ? 3 : bytes < 11 ? 7 : bytes < 14 ? 10 : 13);
		assert_int_equal(shown[length], 0);
		assert_int_equal(shown[bytes], 'z');
		assert_true(visible_is(shown));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_people_write_stays_as_it_is),
		cmocka_unit_test(control_characters_are_shown),
		cmocka_unit_test(what_turns_or_hides_text_is_shown),
		cmocka_unit_test(bytes_that_are_no_utf8_are_shown),
		cmocka_unit_test(what_does_not_fit_is_left_out_in_whole_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
