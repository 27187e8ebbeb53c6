/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_FIELD_H
#define VIREOCTL_FIELD_H

/* Fields of an answer, which may be missing or of any kind. */

#include "table.h"
#include <jansson.h>

static inline const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static inline long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* "-" for null or nothing. */
static inline void number_cell(struct table *t, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		table_cell(t, "%lld", (long long)json_integer_value(value));
	else
		table_cell(t, "-");
}

#endif
