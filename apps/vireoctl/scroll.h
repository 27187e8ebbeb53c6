/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SCROLL_H
#define VIREOCTL_SCROLL_H

/* Which lines of a text are in sight, and what keys do about it. */

#include <stdbool.h>
#include <stddef.h>

struct scroll {
	size_t lines, fixed; /* of the text; so many of them always stay in sight, at the top */
	size_t rows;	     /* that there are for them */
	size_t at;	     /* the first line in sight below the fixed ones, from 0 on */
};

/* The text or the window is another one. */
void scroll_set(struct scroll *scroll, size_t lines, size_t fixed, size_t rows);

/* Rows below the fixed lines. */
size_t scroll_page(const struct scroll *scroll);
bool scroll_is_all(const struct scroll *scroll); /* all is in sight */

/* Takes what a terminal has sent. False: it asks for the end (q). */
bool scroll_keys(struct scroll *scroll, const char *keys, size_t bytes);

#endif
