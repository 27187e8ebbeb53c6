/* SPDX-License-Identifier: BSD-3-Clause */
#include "sequence.h"
#include <stdbool.h>
#include <string.h>

static uint64_t *word_of(struct sequence *s, uint64_t number)
{
	return &s->seen[number % SEQUENCE_WINDOW / 64];
}

/* Numbers from s->top up to `number` enter the window: none of them is seen yet. */
static void window_move(struct sequence *s, uint64_t number)
{
	if (number - s->top >= SEQUENCE_WINDOW) {
		memset(s->seen, 0, sizeof(s->seen));
		return;
	}
	for (uint64_t i = s->top; i <= number; i++)
		*word_of(s, i) &= ~(UINT64_C(1) << i % 64);
}

enum sequence_verdict sequence_add(struct sequence *s, uint64_t number)
{
	uint64_t bit = UINT64_C(1) << number % 64;
	bool next = number >= s->top;

	if (next) {
		window_move(s, number);
		s->top = number + 1;
	} else if (s->top - number > SEQUENCE_WINDOW) {
		return SEQUENCE_STALE;
	} else if (*word_of(s, number) & bit) {
		return SEQUENCE_DUPLICATE;
	}
	*word_of(s, number) |= bit;
	return next ? SEQUENCE_NEXT : SEQUENCE_LATE;
}
