/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/copy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define ROOM 2048u
#define EDGE 64u /* untouched bytes before and behind */

static void pattern_fill(uint8_t *at, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

/* Every length, at addresses that share no alignment. */
static void each_length_copies_itself_and_nothing_else(void **state)
{
	static const uint32_t string_from[] = { 512, UINT32_MAX };
	uint8_t from[ROOM], to[ROOM], want[ROOM];

	pattern_fill(from, sizeof(from), 1);
	for (size_t bytes = 0; bytes <= ROOM - 2 * EDGE; bytes++) {
		for (unsigned i = 0; i < 2; i++) {
			size_t at = EDGE - bytes % 5, source = EDGE - bytes % 11;

			pattern_fill(to, sizeof(to), 99);
			memcpy(want, to, sizeof(want));
			memcpy(want + at, from + source, bytes);
			copy_bytes(to + at, from + source, bytes, string_from[i]);
			assert_memory_equal(to, want, sizeof(want));
		}
	}
}

/* Short ones come out right even if both are in the same memory. */
static void short_lengths_may_overlap(void **state)
{
	for (size_t bytes = 0; bytes < 128; bytes++) {
		for (size_t at = 0; at < 2 * EDGE; at++) {
			uint8_t memory[4 * EDGE + 128], want[sizeof(memory)];

			pattern_fill(memory, sizeof(memory), 5);
			memcpy(want, memory, sizeof(want));
			memmove(want + at, want + EDGE, bytes);
			copy_bytes(memory + at, memory + EDGE, bytes, UINT32_MAX);
			assert_memory_equal(memory, want, sizeof(want));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_length_copies_itself_and_nothing_else),
		cmocka_unit_test(short_lengths_may_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
