/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/given.h"
#include "base/nearest.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

static const char *const words[] = {"port", "poll", "name", "mode", "mtu", "mac", "log-level", "vhost-user", "tap", "x"};

static void assert_hint(const char *typed, const char *expected)
{
	struct nearest nearest = nearest_to(typed, strlen(typed));
	char hint[NEAREST_HINT_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		nearest_offer(&nearest, words[i]);
	assert_string_equal(nearest_hint(&nearest, hint, "--"), expected);
}

static void a_slip_finds_its_word(void **state)
{
	assert_hint("prot", ": did you mean '--port'?"); /* two letters swapped */
	assert_hint("por", ": did you mean '--port'?");
	assert_hint("portt", ": did you mean '--port'?");
	assert_hint("moed", ": did you mean '--mode'?");
	assert_hint("vhots-usr", ": did you mean '--vhost-user'?");
	assert_hint("log_level", ": did you mean '--log-level'?");
	assert_hint("taq", ": did you mean '--tap'?");
}

static void what_is_far_from_all_words_gets_no_hint(void **state)
{
	char longest[4 * NEAREST_BYTES];

	assert_hint("colour", "");
	assert_hint("", "");
	assert_hint("y", "");
	assert_hint("xy", ""); /* half of it is none of a word's */
	assert_hint("qqrt", "");
	memset(longest, 'p', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_hint(longest, "");
	longest[NEAREST_BYTES] = '\0';
	assert_hint(longest, "");
	longest[NEAREST_BYTES - 1] = '\0';
	assert_hint(longest, "");
}

static void of_equals_the_first_is_meant(void **state)
{
	struct nearest nearest = nearest_to("vm", 2);
	char hint[NEAREST_HINT_BYTES];

	nearest_offer(&nearest, "vm1");
	nearest_offer(&nearest, "vm2");
	assert_string_equal(nearest_hint(&nearest, hint, ""), ": did you mean 'vm1'?");
}

static void a_hint_is_safe_to_show(void **state)
{
	struct nearest nearest = nearest_to("ab", 2);
	char hint[NEAREST_HINT_BYTES];

	nearest_offer(&nearest, "a\x1b");
	assert_string_equal(nearest_hint(&nearest, hint, ""), ": did you mean 'a\\x1b'?");
}

static void a_word_within_a_text_is_compared_alone(void **state)
{
	struct nearest nearest = nearest_to("lits", 4);
	char hint[NEAREST_HINT_BYTES];

	nearest_offer_bytes(&nearest, "list NAME", 4);
	assert_string_equal(nearest_hint(&nearest, hint, ""), ": did you mean 'list'?");
}

static void what_is_given_is_noted_once(void **state)
{
	uint64_t given = 0;

	assert_true(given_first(&given, 0));
	assert_true(given_first(&given, 63));
	assert_false(given_first(&given, 0));
	assert_false(given_first(&given, 63));
	assert_true(given_has(given, 63));
	assert_false(given_has(given, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_finds_its_word),
		cmocka_unit_test(what_is_far_from_all_words_gets_no_hint),
		cmocka_unit_test(of_equals_the_first_is_meant),
		cmocka_unit_test(a_hint_is_safe_to_show),
		cmocka_unit_test(a_word_within_a_text_is_compared_alone),
		cmocka_unit_test(what_is_given_is_noted_once),
	};

	return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}
