/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_SCRAMBLE_H
#define SWITCH_SCRAMBLE_H

/*
 * A permutation of the numbers of 60 bits, another for each seed: what differs anywhere differs everywhere, and since
 * nothing is lost, a hash table whose bucket is named by some bits of the result need only keep the others.
 *
 * Numbers lie in the upper 60 bits of a word, the lower four are zero: so products are cut off at the right bit by
 * themselves. The first multiplication lets each bit reach all above it, the fold brings the upper half to the lower one,
 * and the second multiplication brings it up again.
 */

#include <stdint.h>

#define SCRAMBLE_MASK (~UINT64_C(15))

#define SCRAMBLE_FIRST        UINT64_C(0xd6e8feb86659fd93)
#define SCRAMBLE_SECOND       UINT64_C(0x9e3779b97f4a7c15)
#define SCRAMBLE_FIRST_UNDONE  UINT64_C(0xcfee444d8b59a89b)
#define SCRAMBLE_SECOND_UNDONE UINT64_C(0xf1de83e19937733d)

/* Undoes itself. */
static inline uint64_t scramble_fold(uint64_t number)
{
	return number ^ (number >> 30 & SCRAMBLE_MASK);
}

/* The lower four bits of the seed are zero, too. */
static inline uint64_t scramble(uint64_t number, uint64_t seed)
{
	return scramble_fold(number * SCRAMBLE_FIRST + seed) * SCRAMBLE_SECOND;
}

static inline uint64_t unscramble(uint64_t scrambled, uint64_t seed)
{
	return (scramble_fold(scrambled * SCRAMBLE_SECOND_UNDONE) - seed) * SCRAMBLE_FIRST_UNDONE;
}

#endif
