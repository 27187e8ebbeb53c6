/* SPDX-License-Identifier: BSD-3-Clause */
#include "logger.h"
#include "options.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Names and messages of peers end up here: a terminal must not be told to do things. */
static void defuse(char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
}

static void logger_write(void *opaque, enum vireo_log_level level, const char *line)
{
	const char *subject = opaque;
	char text[1024], stamp[32];
	struct timespec now;
	struct tm utc;
	int n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	n = snprintf(text, sizeof(text) - 1, "%s.%03ldZ %-7s %s%s%s", stamp, now.tv_nsec / 1000000,
		     options_level_name(level), subject ? subject : "", subject ? ": " : "", line);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	defuse(text);
	text[n] = '\n';
	(void)!write(STDERR_FILENO, text, (size_t)n + 1);
}

struct vireo_log logger_new(enum vireo_log_level max_level, const char *subject)
{
	union { /* opaque is not const, and we do not write through it */
		const char *in;
		void *out;
	} cast = {.in = subject};

	return (struct vireo_log){.write = logger_write, .opaque = cast.out, .max_level = max_level};
}
