/* SPDX-License-Identifier: BSD-3-Clause */

/* Whose a capture is that somebody wants to write anew: files of others, cut ones, and ones that lie. */

#include "switch/pcapng.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PROGRAM "a program "

static uint8_t head[PCAPNG_HEAD_MAX];

static size_t written_by(const char *program)
{
	return pcapng_head(head, &(struct pcapng_head){.program = program, .interface = "out", .snaplen = 1500});
}

/* In memory that ends where they do: the sanitizer sees who reads further. */
static bool is_ours(size_t count)
{
	uint8_t *bytes = malloc(count ? count : 1);
	bool ours;

	assert_non_null(bytes);
	memcpy(bytes, head, count);
	ours = pcapng_is_by(bytes, count, PROGRAM);
	free(bytes);
	return ours;
}

static void a_head_is_known_by_its_program(void **state)
{
	char longest[300];

	assert_true(is_ours(written_by(PROGRAM "1.2")));
	assert_true(is_ours(written_by(PROGRAM)));
	assert_false(is_ours(written_by("another program 1.2")));
	assert_false(is_ours(written_by("a progra")));
	assert_false(is_ours(written_by("")));
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, PROGRAM, strlen(PROGRAM));
	longest[sizeof(longest) - 1] = 0;
	written_by(longest);
	assert_true(is_ours(PCAPNG_LOOK_BYTES));
}

static void what_is_cut_is_nobodys(void **state)
{
	size_t whole = 28 + strlen(PROGRAM);

	written_by(PROGRAM "1.2");
	for (size_t count = 0; count < whole; count++)
		assert_false(is_ours(count));
	assert_true(is_ours(whole));
}

/* Type, order, the option's code, its length. */
static void a_lie_in_the_head_is_seen(void **state)
{
	static const size_t places[] = {0, 3, 8, 11, 24, 25, 26, 28, 37};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		size_t bytes = written_by(PROGRAM "1.2");

		head[places[i]] = places[i] == 26 ? (uint8_t)strlen(PROGRAM) - 1 : head[places[i]] ^ 0x40;
		assert_false(is_ours(bytes));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_is_known_by_its_program),
		cmocka_unit_test(what_is_cut_is_nobodys),
		cmocka_unit_test(a_lie_in_the_head_is_seen),
	};

	return cmocka_run_group_tests_name("pcapng", tests, NULL, NULL);
}
