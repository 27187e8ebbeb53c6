/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/visible.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES 512

void log_write(const struct vireo_log *log, enum vireo_log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[LINE_BYTES], shown[2 * LINE_BYTES];
	va_list args;
	int len;

	if (!log || !log->write || level > log->max_level)
		return;
	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len >= 0) {
		/* Peers may have a say in what a line holds, and none in how many lines there are. */
		visible_copy(shown, sizeof(shown), line);
		log->write(log->opaque, level, shown);
	}
	errno = saved_errno;
}
