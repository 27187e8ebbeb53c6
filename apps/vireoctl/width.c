/* SPDX-License-Identifier: BSD-3-Clause */
#include "width.h"
#include "base/util.h"
#include "base/visible.h"
#include <stdint.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"

struct range {
	uint32_t first, last;
};

/* Unicode's marks without a width of their own, as they occur in names. */
static const struct range marks[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f}, {0x1ab0, 0x1aff},
	{0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef},
};

/* Unicode's annex 11, W and F: in blocks. */
static const struct range wide[] = {
	{0x1100, 0x115f}, {0x2e80, 0x303e},   {0x3041, 0xa4cf},	  {0xa960, 0xa97c},   {0xac00, 0xd7a3},	  {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff01, 0xff60},   {0xffe0, 0xffe6},	  {0x16fe0, 0x18cff}, {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

static int is_in(const struct range *ranges, size_t count, uint32_t codepoint)
{
	for (size_t i = 0; i < count; i++)
		if (codepoint >= ranges[i].first && codepoint <= ranges[i].last)
			return 1;
	return 0;
}

/* Of one character, and how many bytes it has. */
static size_t next(const char *at, size_t *ret_columns)
{
	uint32_t codepoint;
	bool visible;
	size_t bytes = visible_next(at, &codepoint, &visible);

	if (is_in(marks, ARRAY_SIZE(marks), codepoint))
		*ret_columns = 0;
	else
		*ret_columns = is_in(wide, ARRAY_SIZE(wide), codepoint) ? 2 : 1;
	return bytes;
}

size_t width_of(const char *text, size_t bytes)
{
	size_t columns = 0, own;

	for (size_t at = 0; at < bytes; columns += own)
		at += next(text + at, &own);
	return columns;
}

size_t width_cut(const char *text, size_t bytes, size_t columns)
{
	size_t at = 0, own, len;

	for (; at < bytes; at += len, columns -= own) {
		len = next(text + at, &own);
		if (own > columns || at + len > bytes)
			break;
	}
	return at;
}

/* Where the end of the text begins that takes at most so many columns. */
static size_t tail_of(const char *text, size_t bytes, size_t columns)
{
	size_t at = 0, own, len, left = width_of(text, bytes);

	while (at < bytes && left > columns) {
		len = next(text + at, &own);
		left -= own;
		at += len;
	}
	while (at < bytes && (next(text + at, &own), !own)) /* no mark without what it marks */
		at += next(text + at, &own);
	return at;
}

void width_fit(char *to, const char *text, size_t bytes, size_t columns)
{
	size_t head, tail;

	if (width_of(text, bytes) <= columns || !columns) {
		head = width_cut(text, bytes, columns);
		memcpy(to, text, head);
		to[head] = '\0';
		return;
	}
	tail = tail_of(text, bytes, (columns - 1) / 3);
	head = width_cut(text, bytes, columns - 1 - width_of(text + tail, bytes - tail));
	memcpy(to, text, head);
	memcpy(to + head, ELLIPSIS, 3);
	memcpy(to + head + 3, text + tail, bytes - tail);
	to[head + 3 + bytes - tail] = '\0';
}
