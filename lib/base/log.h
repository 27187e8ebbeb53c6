/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/util.h"
#include "vireo/base.h"

void log_write(const struct vireo_log *log, enum vireo_log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(log, ...) log_write((log), VIREO_LOG_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_write((log), VIREO_LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...) log_write((log), VIREO_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write((log), VIREO_LOG_DEBUG, __VA_ARGS__)

#endif
