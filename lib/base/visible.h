/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_VISIBLE_H
#define BASE_VISIBLE_H

/*
 * Text that others have written, made fit for people to see: on a terminal, in a log, in a table. What a terminal or an
 * editor would obey instead of showing it becomes visible: control characters (C0, DEL, C1), bytes that are no UTF-8,
 * characters without a width, separators of lines, and those that turn the direction of what follows.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at `at`, which is not at its end: its bytes, and whether it may be shown. Of what is no UTF-8, one byte. */
size_t visible_next(const char *at, uint32_t *ret_codepoint, bool *ret_visible);

/* Is that all of it? */
bool visible_is(const char *text);

/*
 * Copies with \xNN in the place of each byte of what must not be shown; what does not fit is left out, in whole
 * characters. Returns the copy's length, which is below to_bytes. A second time it changes nothing.
 */
size_t visible_copy(char *to, size_t to_bytes, const char *text);

#endif
