/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_LOGGER_H
#define DAEMON_LOGGER_H

#include "daemon/rate.h"
#include "vireo/base.h"

/*
 * Lines on stderr: time, level, subject, text. Any thread; a line is one write, so lines do not mix. Nobody waits for
 * who reads stderr, or does not: see log_queue.h.
 *
 * A peer that connects, lies and connects again must not fill a disk: of lines with a rate only so many are written,
 * and the next one that is tells how many were left out. Debug lines were asked for and are not limited.
 */
struct logger {
	const char *subject; /* a port's name, or NULL: nobody's, or the lines begin with it; borrowed */
	struct rate *rate;   /* NULL: no limit; borrowed */
	const char *rated;   /* whose lines are left out; borrowed */
};

#define LOGGER_END_MS 200u

/*
 * From logger_start() on a thread writes the lines; until then whoever has one does. logger_end(): all threads that had
 * lines are gone. It waits a moment for what is still to be written, if nobody reads it, and some seconds otherwise.
 */
int logger_start(void);
void logger_end(void);

/* Lines are written a little later, and many at a time, until it is over (log_queue_hold()). Control thread. */
void logger_hold(bool on);

/* The logger outlives its log, which is told all that is said: what is written, the level decides when it is. */
struct vireo_log logger_log(struct logger *logger);

/* What is written from now on, of all loggers: one process, one level. Any thread may ask. */
void logger_level_set(enum vireo_log_level level);
enum vireo_log_level logger_level(void);

/* error, warning, info or debug. */
bool logger_level_parse(const char *name, enum vireo_log_level *ret_level);
const char *logger_level_name(enum vireo_log_level level);

#endif
