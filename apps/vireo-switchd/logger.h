/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_LOGGER_H
#define SWITCHD_LOGGER_H

#include "vireo/base.h"

/*
 * Lines on stderr: time, level, subject, text. Any thread; a line is one write, so lines do not mix. The
 * log's opaque is the subject (a port's name), or NULL; borrowed, it outlives the log.
 */
struct vireo_log logger_new(enum vireo_log_level max_level, const char *subject);

#endif
