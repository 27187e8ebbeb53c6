/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_LOGGER_H
#define SWITCHD_LOGGER_H

#include "rate.h"
#include "vireo/base.h"

/*
 * Lines on stderr: time, level, subject, text. Any thread; a line is one write, so lines do not mix.
 *
 * A peer that connects, lies and connects again must not fill a disk: of lines with a rate only so many are written,
 * and the next one that is tells how many were left out. Debug lines were asked for and are not limited.
 */
struct logger {
	const char *subject; /* a port's name, or NULL: nobody's, or the lines begin with it; borrowed */
	struct rate *rate;   /* NULL: no limit; borrowed */
	const char *rated;   /* whose lines are left out; borrowed */
};

/* The logger outlives its log. */
struct vireo_log logger_log(struct logger *logger, enum vireo_log_level max_level);

#endif
