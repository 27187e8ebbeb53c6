/* SPDX-License-Identifier: BSD-3-Clause */
#include "foreign.h"
#include "base/visible.h"
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static json_t *string_visible(json_t *string)
{
	const char *text = json_string_value(string);
	size_t bytes = 4 * strlen(text) + 1;
	json_t *shown;
	char *copy;

	if (visible_is(text))
		return json_incref(string);
	copy = malloc(bytes);
	if (!copy)
		return NULL;
	visible_copy(copy, bytes, text);
	shown = json_string(copy);
	free(copy);
	return shown;
}

static json_t *array_visible(const json_t *array)
{
	json_t *shown = json_array(), *item;
	size_t i;

	for (i = 0; shown && (item = json_array_get(array, i)); i++) {
		if (!json_array_append_new(shown, foreign_visible(item)))
			continue;
		json_decref(shown);
		return NULL;
	}
	return shown;
}

static json_t *object_visible(json_t *object)
{
	json_t *shown = json_object();

	for (void *it = json_object_iter(object); shown && it; it = json_object_iter_next(object, it)) {
		json_t *key = json_string(json_object_iter_key(it)), *shown_key = key ? string_visible(key) : NULL;
		int err = !shown_key || json_object_set_new(shown, json_string_value(shown_key),
							    foreign_visible(json_object_iter_value(it)));

		json_decref(shown_key);
		json_decref(key);
		if (!err)
			continue;
		json_decref(shown);
		return NULL;
	}
	return shown;
}

/* Not deeper than the parser allows, which is 2048. */
json_t *foreign_visible(json_t *answer)
{
	if (json_is_string(answer))
		return string_visible(answer);
	if (json_is_array(answer))
		return array_visible(answer);
	if (json_is_object(answer))
		return object_visible(answer);
	return json_incref(answer);
}

static void escape(uint32_t codepoint, FILE *out)
{
	if (codepoint < 0x10000) {
		fprintf(out, "\\u%04x", codepoint);
		return;
	}
	codepoint -= 0x10000;
	fprintf(out, "\\u%04x\\u%04x", 0xd800 + (codepoint >> 10), 0xdc00 + (codepoint & 0x3ff));
}

/* What lies above ASCII, or is DEL, is within a string; of C0 there are only the newlines between values. */
int foreign_dump(const json_t *answer, FILE *out, size_t flags)
{
	char *text = json_dumps(answer, flags | JSON_ENCODE_ANY);

	if (!text)
		return -ENOMEM;
	for (const char *at = text; *at;) {
		uint32_t codepoint;
		bool visible;
		size_t bytes = visible_next(at, &codepoint, &visible);

		if (visible || codepoint < 0x20)
			fwrite(at, 1, bytes, out);
		else
			escape(codepoint, out);
		at += bytes;
	}
	free(text);
	return 0;
}
