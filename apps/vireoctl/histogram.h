/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_HISTOGRAM_H
#define VIREOCTL_HISTOGRAM_H

/* Histograms of an answer: {"le": upper bounds, "counts": one more than those, the last of what is beyond them, "sum": of the values}. */

#include <jansson.h>

/* What has been counted since `before`, which may be NULL, and is of no use where the daemon has begun to count anew. */
long long histogram_count(const json_t *now, const json_t *before);
double histogram_mean(const json_t *now); /* 0 if there is nothing */
/*
 * The value that so much of what has been counted since (0 to 1) does not exceed, if values are spread evenly between two bounds, as Prometheus' function of
 * this name takes them to be; of what is beyond the last bound, that one. Negative: nothing was counted.
 */
double histogram_quantile(const json_t *now, const json_t *before, double quantile);

#endif
