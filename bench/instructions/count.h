/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_INSTRUCTIONS_COUNT_H
#define BENCH_INSTRUCTIONS_COUNT_H

/*
 * Functions that callgrind knows by name (see `run`): they lie in a file of their own, so that no compiler
 * merges them with who calls them.
 */

/* What fn does counts if it would not count outside, and does not if it would. */
void count_toggled(void (*fn)(void *opaque), void *opaque);

/* Forgets what has been counted of the calling thread. */
void count_from_zero(void);

#endif
