/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_LINE_H
#define CTL_LINE_H

#include "base/visible.h"
#include <stdarg.h>
#include <stdio.h>

/*
 * Prints a line that may repeat what somebody else has said: it stays one line, and does nothing to a terminal. The
 * format holds no newline.
 */
__attribute__((format(printf, 2, 3))) static inline void line_print(FILE *out, const char *fmt, ...)
{
	char line[2048], shown[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	visible_copy(shown, sizeof(shown), line);
	fprintf(out, "%s\n", shown);
}

#endif
