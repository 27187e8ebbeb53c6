/* SPDX-License-Identifier: BSD-3-Clause */
#include "foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

/* ESC, C1 as UTF-8, a newline, an override of direction, DEL, and a tag above U+FFFF. */
#define EVIL "vm\x1b[2J\xc2\x9b" "31m\n\xe2\x80\xae\x7f\xf3\xa0\x81\x81\xc3\xbc"
#define SHOWN "vm\\x1b[2J\\xc2\\x9b31m\\x0a\\xe2\\x80\\xae\\x7f\\xf3\\xa0\\x81\\x81\xc3\xbc"

static json_t *evil_answer(void)
{
	return json_pack("{s:[{s:s, s:[s], s:i}], s:n}", "ports", "name", EVIL, "offloads", EVIL, "x" EVIL, 7, "fine");
}

static void tables_get_what_is_visible_keys_included(void **state)
{
	json_t *answer = evil_answer(), *shown = foreign_visible(answer), *expected;

	expected = json_pack("{s:[{s:s, s:[s], s:i}], s:n}", "ports", "name", SHOWN, "offloads", SHOWN, "x" SHOWN, 7, "fine");
	assert_true(json_equal(shown, expected));
	json_decref(expected);
	json_decref(shown);
	json_decref(answer);
}

static void json_is_printed_without_them_and_means_the_same(void **state)
{
	json_t *answer = evil_answer(), *read;
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_int_equal(foreign_dump(answer, out, JSON_COMPACT), 0);
	fclose(out);
	for (const char *at = text; *at; at++)
		assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
	assert_null(strstr(text, "\xc2\x9b"));
	assert_null(strstr(text, "\xe2\x80\xae"));
	assert_non_null(strstr(text, "\\u009b"));
	assert_non_null(strstr(text, "\\udb40\\udc41"));
	assert_non_null(strstr(text, "\xc3\xbc"));
	read = json_loads(text, 0, NULL);
	assert_true(json_equal(read, answer));
	json_decref(read);
	free(text);
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_get_what_is_visible_keys_included),
		cmocka_unit_test(json_is_printed_without_them_and_means_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
