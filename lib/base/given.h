/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_GIVEN_H
#define BASE_GIVEN_H

/* What a user has given of a table of at most 64 things each of which is given once at most: options, keys. */

#include <stdbool.h>
#include <stdint.h>

#define GIVEN_MAX 64u
#define GIVEN_TWICE "is given twice: leave one out"

static inline bool given_has(uint64_t given, unsigned index)
{
	return given >> index & 1;
}

/* Notes it; false: it was there already. */
static inline bool given_first(uint64_t *given, unsigned index)
{
	bool first = !given_has(*given, index);

	*given |= UINT64_C(1) << index;
	return first;
}

#endif
