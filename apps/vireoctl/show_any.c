/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers of which nothing is known but that they are JSON: a list of objects is a table, whose columns are the first
 * object's keys; an object is a table of names and values, and a list of objects in it follows as a table of its own.
 */
#include "show.h"
#include "table.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HEADINGS_BYTES 512u

/* A line's worth. */
static void cell(struct table *table, const json_t *value)
{
	char *text;

	if (json_is_string(value)) {
		table_cell(table, "%s", json_string_value(value));
		return;
	}
	text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	table_cell(table, "%s", text ? text : "-");
	free(text);
}

static bool is_rows(const json_t *value)
{
	const json_t *row;
	size_t i;

	for (i = 0; (row = json_array_get(value, i)); i++)
		if (!json_is_object(row) || !json_object_size(row))
			return false;
	return i != 0;
}

/* A heading out of a key: '|' separates headings, '>' is of numbers, at the right. False: not this one, or there is no room. */
static bool heading_add(char *headings, size_t *used, const char *key, const json_t *value)
{
	size_t len = strlen(key);

	if (*used + len + 3 > HEADINGS_BYTES || *key == '>')
		return false;
	if (*used)
		headings[(*used)++] = '|';
	if (json_is_number(value))
		headings[(*used)++] = '>';
	for (; *key; key++)
		headings[(*used)++] = *key == '|' ? '/' : (char)toupper((unsigned char)*key);
	headings[*used] = '\0';
	return true;
}

static void show_rows(FILE *out, json_t *rows)
{
	const char *keys[TABLE_COLUMNS_MAX];
	char headings[HEADINGS_BYTES] = "";
	json_t *first = json_array_get(rows, 0), *row;
	size_t used = 0, columns = 0, i;
	struct table *table;

	for (void *it = json_object_iter(first); it && columns < TABLE_COLUMNS_MAX; it = json_object_iter_next(first, it)) {
		keys[columns] = json_object_iter_key(it);
		if (heading_add(headings, &used, keys[columns], json_object_iter_value(it)))
			columns++;
	}
	if (!columns)
		return;
	table = table_new(headings);
	for (i = 0; (row = json_array_get(rows, i)); i++)
		for (size_t c = 0; c < columns; c++)
			cell(table, json_object_get(row, keys[c]));
	table_print(table, out);
}

static void show_object(FILE *out, json_t *object)
{
	struct table *table = table_new("NAME|VALUE");
	const char *key;
	json_t *value;
	bool any = false;

	json_object_foreach(object, key, value) {
		if (is_rows(value))
			continue;
		table_cell(table, "%s", key);
		cell(table, value);
		any = true;
	}
	if (any)
		table_print(table, out);
	else
		table_drop(table);
	json_object_foreach(object, key, value) {
		if (!is_rows(value))
			continue;
		fprintf(out, "%s%s:\n", any ? "\n" : "", key);
		show_rows(out, value);
		any = true;
	}
}

void show_any(struct show *show)
{
	json_t *result = (json_t *)(uintptr_t)show->result;
	char *text;

	if (is_rows(result)) {
		show_rows(show->out, result);
	} else if (json_is_object(result)) {
		show_object(show->out, result);
	} else if (json_is_string(result)) {
		fprintf(show->out, "%s\n", json_string_value(result));
	} else if (result && !json_is_null(result)) {
		text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		fprintf(show->out, "%s\n", text ? text : "");
		free(text);
	}
}
