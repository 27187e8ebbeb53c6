/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

/*
 * What somebody has probably meant who mistyped a word: of the words that are offered, the one that takes the fewest
 * letters left out, put in, changed, or swapped with their neighbour, if those are few for a word of its length.
 *
 *	struct nearest nearest = nearest_to(typed, strlen(typed));
 *	for each word that there is: nearest_offer(&nearest, word);
 *	snprintf(..., "unknown word '%s'%s", typed, nearest_hint(&nearest, hint, "--"));
 */

#include <stddef.h>

#define NEAREST_BYTES 80u /* longer words are nobody's slip, and not compared */
#define NEAREST_HINT_BYTES (NEAREST_BYTES + 32u)

struct nearest {
	const char *typed;
	size_t bytes;
	unsigned distance; /* of the best so far, plus what is too far if there is none */
	char best[NEAREST_BYTES];
};

struct nearest nearest_to(const char *typed, size_t bytes);
void nearest_offer(struct nearest *nearest, const char *word);
/* As nearest_offer(), of a word that does not end with a NUL. */
void nearest_offer_bytes(struct nearest *nearest, const char *word, size_t bytes);

/* ": did you mean 'WORD'?", with `before` in front of the word, and made visible; "" if no word was near. Returns `hint`. */
const char *nearest_hint(const struct nearest *nearest, char hint[NEAREST_HINT_BYTES], const char *before);

#endif
