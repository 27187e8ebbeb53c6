/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/nearest.h"
#include "base/visible.h"
#include <stdio.h>
#include <string.h>

/* A third of the word may be wrong, and at least one letter, but never all of it. */
static unsigned too_far(size_t bytes)
{
	if (bytes < 2 || bytes >= NEAREST_BYTES)
		return 0;
	return bytes < 6 ? 2 : bytes < 9 ? 3 : 4;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Damerau's and Levenshtein's, where a letter is moved once at most: rows[i % 3][j] is the distance of the first i bytes of `a`
 * from the first j of `b`.
 */
static unsigned distance_of(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	unsigned rows[3][NEAREST_BYTES + 1];

	for (unsigned j = 0; j <= b_bytes; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a_bytes; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i - 1) % 3], *swapped = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= b_bytes; j++) {
			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], swapped[j - 2] + 1);
		}
	}
	return rows[a_bytes % 3][b_bytes];
}

struct nearest nearest_to(const char *typed, size_t bytes)
{
	return (struct nearest){.typed = typed, .bytes = bytes, .distance = too_far(bytes)};
}

void nearest_offer_bytes(struct nearest *nearest, const char *word, size_t bytes)
{
	unsigned distance;

	if (!nearest->distance || !bytes || bytes >= NEAREST_BYTES)
		return;
	distance = distance_of(nearest->typed, nearest->bytes, word, bytes);
	if (distance >= nearest->distance || distance >= bytes)
		return;
	nearest->distance = distance;
	memcpy(nearest->best, word, bytes);
	nearest->best[bytes] = '\0';
}

void nearest_offer(struct nearest *nearest, const char *word)
{
	nearest_offer_bytes(nearest, word, strlen(word));
}

const char *nearest_hint(const struct nearest *nearest, char hint[NEAREST_HINT_BYTES], const char *before)
{
	char shown[NEAREST_BYTES];

	visible_copy(shown, sizeof(shown), nearest->best);
	*hint = '\0';
	if (*shown)
		snprintf(hint, NEAREST_HINT_BYTES, ": did you mean '%.8s%s'?", before, shown);
	return hint;
}
