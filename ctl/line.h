/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_LINE_H
#define CTL_LINE_H

#include <stdarg.h>
#include <stdio.h>

/*
 * Messages that repeat what somebody else has said stay one line, and do nothing to a terminal: control
 * characters become '?'. Bytes from 0x80 on stay as they are.
 */
static inline void line_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

/* Prints a cleaned line; the format holds no newline. */
__attribute__((format(printf, 2, 3))) static inline void line_print(FILE *out, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	line_clean(line);
	fprintf(out, "%s\n", line);
}

#endif
