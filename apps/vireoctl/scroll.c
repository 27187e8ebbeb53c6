/* SPDX-License-Identifier: BSD-3-Clause */
#include "scroll.h"
#include "base/util.h"
#include <string.h>

enum step { UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END, QUIT };

/* What terminals send: in the order of length, so that the first that matches is the one. */
static const struct {
	const char *keys;
	enum step step;
} steps[] = {
	{"\033[5~", PAGE_UP}, {"\033[6~", PAGE_DOWN}, {"\033[1~", HOME}, {"\033[4~", END}, {"\033[A", UP},  {"\033[B", DOWN},
	{"\033OA", UP},	      {"\033OB", DOWN},	      {"\033[H", HOME},	 {"\033[F", END},  {"\033OH", HOME}, {"\033OF", END},
	{"k", UP},	      {"j", DOWN},	      {" ", PAGE_DOWN},	 {"b", PAGE_UP},   {"g", HOME},	    {"G", END},
	{"q", QUIT},	      {"Q", QUIT},
};

size_t scroll_page(const struct scroll *scroll)
{
	return scroll->rows - scroll->fixed;
}

static size_t end_of(const struct scroll *scroll)
{
	size_t rest = scroll->lines - scroll->fixed;

	return rest > scroll_page(scroll) ? rest - scroll_page(scroll) : 0;
}

bool scroll_is_all(const struct scroll *scroll)
{
	return !end_of(scroll);
}

static void move_to(struct scroll *scroll, size_t at)
{
	scroll->at = at < end_of(scroll) ? at : end_of(scroll);
}

void scroll_set(struct scroll *scroll, size_t lines, size_t fixed, size_t rows)
{
	if (fixed > lines || fixed + 2 > rows) /* a window so small is for what scrolls */
		fixed = 0;
	scroll->lines = lines;
	scroll->fixed = fixed;
	scroll->rows = rows;
	move_to(scroll, scroll->at);
}

static bool take(struct scroll *scroll, enum step step)
{
	size_t page = scroll_page(scroll) ? scroll_page(scroll) : 1, at = scroll->at;

	switch (step) {
	case UP:
		move_to(scroll, at ? at - 1 : 0);
		break;
	case DOWN:
		move_to(scroll, at + 1);
		break;
	case PAGE_UP:
		move_to(scroll, at > page ? at - page : 0);
		break;
	case PAGE_DOWN:
		move_to(scroll, at + page);
		break;
	case HOME:
		move_to(scroll, 0);
		break;
	case END:
		move_to(scroll, scroll->lines);
		break;
	case QUIT:
		return false;
	}
	return true;
}

bool scroll_keys(struct scroll *scroll, const char *keys, size_t bytes)
{
	for (size_t at = 0, len; at < bytes; at += len) {
		size_t i = 0;

		for (len = 1; i < ARRAY_SIZE(steps); i++)
			if (strlen(steps[i].keys) <= bytes - at && !memcmp(keys + at, steps[i].keys, strlen(steps[i].keys)))
				break;
		if (i == ARRAY_SIZE(steps)) /* a key without a meaning */
			continue;
		len = strlen(steps[i].keys);
		if (!take(scroll, steps[i].step))
			return false;
	}
	return true;
}
