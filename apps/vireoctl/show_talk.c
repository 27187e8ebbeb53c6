/* SPDX-License-Identifier: BSD-3-Clause */
/* talk show, for people. */
#include "field.h"
#include "show.h"
#include "table.h"

void show_talk(struct show *show)
{
	struct table *t = table_new("FROM|TO|>FRAMES|>BYTES");
	json_int_t uncounted = json_integer_value(json_object_get(show->result, "uncounted"));
	const json_t *pair;
	size_t i;

	for (i = 0; (pair = json_array_get(json_object_get(show->result, "pairs"), i)); i++) {
		table_cell(t, "%s", text_of(pair, "from"));
		table_cell(t, "%s", text_of(pair, "to"));
		number_cell(t, pair, "frames");
		number_cell(t, pair, "bytes");
	}
	show->fixed_lines = 1;
	table_within(t, show->columns);
	table_print(t, show->out);
	if (uncounted > 0)
		fprintf(show->out, "not counted, for there is no room for so many pairs: %" JSON_INTEGER_FORMAT " frames\n", uncounted);
}
