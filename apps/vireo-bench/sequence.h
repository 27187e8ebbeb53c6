/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_SEQUENCE_H
#define BENCH_SEQUENCE_H

/*
 * What became of a stream's numbered frames: which came, in what order, and which came twice. A bit map
 * remembers the last SEQUENCE_WINDOW numbers; a frame that is older still is reported as stale, which is as
 * bad as twice: no path through two rings holds so many.
 */

#include <stdint.h>

#define SEQUENCE_WINDOW 65536u

enum sequence_verdict {
	SEQUENCE_NEXT, /* beyond all that came before */
	SEQUENCE_LATE, /* out of order, for the first time */
	SEQUENCE_DUPLICATE, /* seen before */
	SEQUENCE_STALE, /* too old to tell */
};

struct sequence {
	uint64_t top; /* one more than the highest number seen */
	uint64_t seen[SEQUENCE_WINDOW / 64];
};

enum sequence_verdict sequence_add(struct sequence *s, uint64_t number);

#endif
