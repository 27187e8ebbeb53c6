/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_LINE_H
#define CTL_LINE_H

#include "base/visible.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

/* Has all that was printed arrived? If not, a line on `err` says so: a full disk is no success. */
static inline bool line_output_arrived(FILE *out, FILE *err, const char *program)
{
	bool before = ferror(out);

	errno = 0;
	if (!fflush(out) && !before)
		return true;
	line_print(err, "%s: what was to be printed is not all written: %s", program,
		   errno ? strerror(errno) : "an earlier write has failed");
	return false;
}

#endif
