/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

/*
 * Counts of values over many orders of magnitude, each kept to within 1/64 of itself: buckets are 64 per
 * power of two. Smallest and largest value are exact. Written by one thread; read when that is done, or, by
 * histogram_merge(), while it goes on: then some of the last values may be missing.
 */

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_BUCKETS ((64u - HISTOGRAM_SUB_BITS + 1u) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count, min, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* Adds all of `from`, which another thread may write, to `to`, which none does. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The value that `per_million` of a million counted values do not exceed; 0 if nothing was counted. */
uint64_t histogram_quantile(const struct histogram *h, uint32_t per_million);

#endif
