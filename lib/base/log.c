/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES 512

/* Peers can have a say in what a line holds; they get no say in how many lines there are. */
static void replace_control_characters(char *line)
{
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

void log_write(const struct vireo_log *log, enum vireo_log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[LINE_BYTES];
	va_list args;
	int len;

	if (!log || !log->write || level > log->max_level)
		return;
	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len >= 0) {
		replace_control_characters(line);
		log->write(log->opaque, level, line);
	}
	errno = saved_errno;
}
