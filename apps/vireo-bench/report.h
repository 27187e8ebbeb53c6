/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "traffic.h"

/* Did the run show what must not be? */
bool report_failed(const struct traffic *t);

void report_table(const struct traffic *t);
void report_json(const struct traffic *t); /* the object that vireo-bench(1) documents */

/* One line on a terminal's stderr, redrawn in place; ended by progress_end(). */
void progress_line(const struct traffic *t);
void progress_end(void);

#endif
