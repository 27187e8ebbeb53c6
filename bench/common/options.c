/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void options_refuse(const struct options_program *program, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s%s\n%s", program->name, what, value, program->usage);
	exit(2);
}

unsigned options_number(const struct options_program *program, const char *option, const char *text, unsigned min,
			unsigned max)
{
	char *end, what[80];
	unsigned long n = strtoul(text, &end, 10);

	if (end != text && !*end && n >= min && n <= max)
		return (unsigned)n;
	snprintf(what, sizeof(what), "%s takes %u to %u, not ", option, min, max);
	options_refuse(program, what, text);
}

unsigned options_word(const struct options_program *program, const char *option, const char *text,
		      const char *const *words)
{
	char what[80];

	for (unsigned i = 0; words[i]; i++)
		if (!strcmp(text, words[i]))
			return i;
	snprintf(what, sizeof(what), "%s knows no ", option);
	options_refuse(program, what, text);
}

void options_sizes(const struct options_program *program, const char *text, struct frame_sizes *ret)
{
	if (!frame_sizes_parse(text, ret))
		options_refuse(program, "--size takes 64 to 1518, or imix, not ", text);
}
