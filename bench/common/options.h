/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "frames.h"

/* Words on the command line that a program takes, or refuses: a line that says why, its usage, and exit status 2. */
struct options_program {
	const char *name, *usage;
};

_Noreturn void options_refuse(const struct options_program *program, const char *what, const char *value);
unsigned options_number(const struct options_program *program, const char *option, const char *text, unsigned min,
			unsigned max);
/* The index of `text` in `words`, which end with NULL. */
unsigned options_word(const struct options_program *program, const char *option, const char *text,
		      const char *const *words);
void options_sizes(const struct options_program *program, const char *text, struct frame_sizes *ret);

#endif
