/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

static long long item(const json_t *histogram, const char *key, size_t i)
{
	return (long long)json_integer_value(json_array_get(json_object_get(histogram, key), i));
}

static size_t buckets_of(const json_t *histogram)
{
	return json_array_size(json_object_get(histogram, "counts"));
}

static long long count_of(const json_t *histogram)
{
	long long count = 0;

	for (size_t i = 0; i < buckets_of(histogram); i++)
		count += item(histogram, "counts", i);
	return count;
}

/* Did it begin anew after `before`? */
static const json_t *of_use(const json_t *now, const json_t *before)
{
	for (size_t i = 0; i < buckets_of(now); i++)
		if (item(now, "counts", i) < item(before, "counts", i))
			return NULL;
	return before;
}

long long histogram_count(const json_t *now, const json_t *before)
{
	return count_of(now) - count_of(of_use(now, before));
}

double histogram_mean(const json_t *now)
{
	long long count = count_of(now);

	return count ? (double)json_integer_value(json_object_get(now, "sum")) / (double)count : 0;
}

double histogram_quantile(const json_t *now, const json_t *before, double quantile)
{
	size_t bounds = json_array_size(json_object_get(now, "le"));
	long long count = histogram_count(now, before);
	double rest = quantile * (double)count;

	before = of_use(now, before);
	if (count <= 0 || !bounds)
		return -1;
	for (size_t i = 0; i < bounds; i++) {
		double here = (double)(item(now, "counts", i) - item(before, "counts", i));
		double from = i ? (double)item(now, "le", i - 1) : 0;

		if (here > 0 && here >= rest)
			return from + ((double)item(now, "le", i) - from) * rest / here;
		rest -= here;
	}
	return (double)item(now, "le", bounds - 1);
}
