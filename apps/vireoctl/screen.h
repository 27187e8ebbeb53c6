/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SCREEN_H
#define VIREOCTL_SCREEN_H

#include "scroll.h"
#include <stdbool.h>
#include <stdio.h>

/*
 * Repeated output: on a terminal, redrawn in place, scrolled by keys, ended by q; elsewhere, one plain text after the other.
 * The terminal is put back as it was by screen_end(), also after a signal: signals only make screen_wait()
 * end.
 */
struct screen {
	bool terminal;
	unsigned fixed_lines; /* of the text, which are not scrolled; set after screen_draw() */
	/* screen.c's own */
	char *text; /* what is being drawn, and then what is in sight */
	size_t bytes;
	FILE *out;
	struct scroll scroll;
};

void screen_begin(struct screen *screen, bool plain);	 /* plain: as if there were no terminal */
size_t screen_columns(const struct screen *screen);	 /* 0: there is no terminal */
FILE *screen_draw(struct screen *screen);		 /* print here... */
void screen_show(struct screen *screen);		 /* ...then show it */
bool screen_wait(struct screen *screen, double seconds); /* false: the user has had enough */
void screen_end(struct screen *screen);

#endif
