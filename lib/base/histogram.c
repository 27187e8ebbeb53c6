/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"
#include "base/util.h"

#define SUB_COUNT (UINT64_C(1) << HISTOGRAM_SUB_BITS)

/* Values below 64 have buckets of their own; above, the exponent and the next 6 bits choose one. */
static unsigned bucket_of(uint64_t value)
{
	unsigned exponent;

	if (value < SUB_COUNT)
		return (unsigned)value;
	exponent = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (unsigned)(((uint64_t)exponent << HISTOGRAM_SUB_BITS) + (value >> exponent));
}

/* The largest value of a bucket. */
static uint64_t bucket_top(unsigned bucket)
{
	unsigned exponent = bucket >> HISTOGRAM_SUB_BITS;

	if (exponent < 2)
		return bucket;
	exponent--;
	return (((uint64_t)bucket - ((uint64_t)exponent << HISTOGRAM_SUB_BITS) + 1) << exponent) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	uint64_t *bucket;

	if (!h->count || value < h->min)
		__atomic_store_n(&h->min, value, __ATOMIC_RELAXED);
	if (value > h->max)
		__atomic_store_n(&h->max, value, __ATOMIC_RELAXED);
	counter_add(&h->count, 1);
	bucket = &h->buckets[bucket_of(value)];
	__atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELEASE); /* last: who sees it counted sees it between min and max */
}

/* What is counted is what the buckets have, and they are read first: their writer may be between two of its counters. */
void histogram_merge(struct histogram *to, const struct histogram *from)
{
	uint64_t count = 0, min, max;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t n = __atomic_load_n(&from->buckets[i], __ATOMIC_ACQUIRE);

		to->buckets[i] += n;
		count += n;
	}
	if (!count)
		return;
	min = counter_read(&from->min);
	max = counter_read(&from->max);
	to->min = to->count ? min_u64(to->min, min) : min;
	to->max = max_u64(to->max, max);
	to->count += count;
}

uint64_t histogram_quantile(const struct histogram *h, uint32_t per_million)
{
	/* The rank, rounded up; in two steps, since count * a million may not fit. */
	uint64_t rank =
		h->count / 1000000 * per_million + (h->count % 1000000 * per_million + 999999) / 1000000;
	uint64_t seen = 0, top;

	if (!h->count)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (!seen || seen < rank)
			continue;
		top = bucket_top(i);
		if (top < h->min)
			return h->min;
		return top < h->max ? top : h->max;
	}
	return h->max;
}
