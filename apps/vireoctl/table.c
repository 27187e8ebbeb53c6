/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"
#include "width.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_COLUMNS 8u /* text is not cut to fewer, unless it stands alone */

struct table {
	size_t columns, cells, capacity, within;
	size_t shown; /* columns that are printed */
	size_t widths[TABLE_COLUMNS_MAX];
	bool right[TABLE_COLUMNS_MAX];
	char **cell;
};

static void *must(void *memory)
{
	if (!memory) {
		fputs("vireoctl: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

static void add(struct table *t, char *text)
{
	size_t column = t->cells % t->columns, len = width_of(text, strlen(text));

	if (t->cells == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 64;
		t->cell = must(realloc(t->cell, t->capacity * sizeof(*t->cell)));
	}
	t->cell[t->cells++] = text;
	if (len > t->widths[column])
		t->widths[column] = len;
}

struct table *table_new(const char *headings)
{
	struct table *t = must(calloc(1, sizeof(*t)));
	const char *at = headings;

	for (t->columns = 1; (at = strchr(at, '|')); at++)
		t->columns++;
	for (size_t i = 0; i < t->columns; i++) {
		size_t len = strcspn(headings, "|");

		t->right[i] = *headings == '>';
		add(t, must(strndup(headings + t->right[i], len - t->right[i])));
		headings += len + (headings[len] == '|');
	}
	return t;
}

void table_cell(struct table *table, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = must(NULL);
	va_end(ap);
	add(table, text);
}

void table_within(struct table *table, size_t columns)
{
	table->within = columns;
}

/* What the shown columns take, or take at least. */
static size_t taken(const struct table *t, bool at_least)
{
	size_t sum = 2 * (t->shown - 1);

	for (size_t i = 0; i < t->shown; i++)
		sum += at_least && !t->right[i] && t->widths[i] > TEXT_COLUMNS ? TEXT_COLUMNS : t->widths[i];
	return sum;
}

static size_t *widest_text(struct table *t)
{
	size_t *widest = NULL;

	for (size_t i = 0; i < t->shown; i++)
		if (!t->right[i] && (!widest || t->widths[i] > *widest))
			widest = &t->widths[i];
	return widest;
}

static void fit(struct table *t)
{
	size_t *widest;

	t->shown = t->columns;
	if (!t->within)
		return;
	while (t->shown > 1 && taken(t, true) > t->within)
		t->shown--;
	while (taken(t, false) > t->within && (widest = widest_text(t)))
		--*widest;
}

static void cell_print(const struct table *t, const char *text, size_t column, FILE *out)
{
	size_t bytes = strlen(text), width = t->widths[column], own;
	bool last = column + 1 == t->shown;
	char *fitted = must(malloc(WIDTH_FIT_BYTES(bytes)));
	int blanks;

	width_fit(fitted, text, bytes, width);
	own = width_of(fitted, strlen(fitted));
	blanks = (int)(width - own);
	if (t->right[column])
		fprintf(out, "%*s%s", blanks, "", fitted);
	else
		fprintf(out, "%s%*s", fitted, last ? 0 : blanks, "");
	fputs(last ? "\n" : "  ", out);
	free(fitted);
}

void table_print(struct table *table, FILE *out)
{
	fit(table);
	for (size_t i = 0; i < table->cells; i++)
		if (i % table->columns < table->shown)
			cell_print(table, table->cell[i], i % table->columns, out);
	table_drop(table);
}

void table_drop(struct table *table)
{
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table);
}
