/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_WIDTH_H
#define VIREOCTL_WIDTH_H

/*
 * How many columns of a terminal text takes: a character takes one, an East Asian one two, one that is put on top of the character
 * before it none. Text is visible UTF-8 (base/visible.h).
 */

#include <stddef.h>

size_t width_of(const char *text, size_t bytes);

/* Bytes of the text's beginning that fit, in whole characters. */
size_t width_cut(const char *text, size_t bytes, size_t columns);

/*
 * The text in at most so many columns, in `to`, which holds WIDTH_FIT_BYTES(bytes): in the place of what is left out in its midst
 * stands an ellipsis. Names that begin alike mostly differ at their end.
 */
#define WIDTH_FIT_BYTES(bytes) ((bytes) + 4)
void width_fit(char *to, const char *text, size_t bytes, size_t columns);

#endif
