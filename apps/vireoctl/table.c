/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct table {
	size_t columns, cells, capacity;
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
	size_t column = t->cells % t->columns, len = strlen(text);

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

void table_print(struct table *table, FILE *out)
{
	for (size_t i = 0; i < table->cells; i++) {
		size_t column = i % table->columns;
		bool last = column + 1 == table->columns;
		int width = (int)table->widths[column];

		if (table->right[column])
			fprintf(out, "%*s", width, table->cell[i]);
		else
			fprintf(out, "%-*s", last ? 0 : width, table->cell[i]);
		fputs(last ? "\n" : "  ", out);
	}
	table_drop(table);
}

void table_drop(struct table *table)
{
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table);
}
