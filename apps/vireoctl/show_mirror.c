/* SPDX-License-Identifier: BSD-3-Clause */
/* mirror add and mirror list, for people. */
#include "field.h"
#include "show.h"
#include "table.h"

void show_mirror_add(struct show *show)
{
	const json_t *mirror = json_object_get(show->result, "mirror");

	fprintf(show->out, "mirror %lld: %s to %s\n", number_of(mirror, "id"), text_of(mirror, "port"), text_of(mirror, "to"));
}

static const char *filter_of(const json_t *mirror)
{
	bool unnamed = json_is_true(json_object_get(mirror, "filtered")) && !json_is_string(json_object_get(mirror, "filter"));

	return unnamed ? "(program)" : text_of(mirror, "filter");
}

void show_mirror_list(struct show *show)
{
	struct table *t = table_new(">ID|PORT|TO|STATE|>FRAMES|>BYTES|>LOST|FILTER");
	const json_t *mirror;
	size_t i;

	for (i = 0; (mirror = json_array_get(json_object_get(show->result, "mirrors"), i)); i++) {
		const json_t *error = json_object_get(mirror, "error");

		number_cell(t, mirror, "id");
		table_cell(t, "%s", text_of(mirror, "port"));
		table_cell(t, "%s", text_of(mirror, "to"));
		table_cell(t, "%s", json_is_string(error) ? json_string_value(error) : text_of(mirror, "state"));
		number_cell(t, mirror, "frames");
		number_cell(t, mirror, "bytes");
		number_cell(t, mirror, "lost");
		table_cell(t, "%s", filter_of(mirror));
	}
	show->fixed_lines = 1;
	table_within(t, show->columns);
	table_print(t, show->out);
}
