/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/catalogue.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 200u /* of words and parameters, which are looked through again and again */

/* ---- the daemon's side ---- */

static json_t *row_json(const struct ctl_command *row)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "words", row->words, "method", row->method, "params", row->params,
			 "help", row->help, "watch", (row->flags & CTL_WATCH) != 0, "repeat", (row->flags & CTL_REPEAT) != 0);
}

json_t *ctl_catalogue_json(const struct ctl_command *commands, size_t count)
{
	json_t *rows = json_array();

	for (size_t i = 0; rows && i < count; i++) {
		if (!commands[i].serve || !json_array_append_new(rows, row_json(&commands[i])))
			continue;
		json_decref(rows);
		return NULL;
	}
	return rows ? json_pack("{s:o}", "commands", rows) : NULL;
}

/* ---- the client's ---- */

struct ctl_catalogue {
	json_t *answer;
	size_t count;
	struct ctl_command rows[];
};

static int row_parse(json_t *json, ctl_show_fn *show, struct ctl_command *ret_row)
{
	int watch = 0, repeat = 0;
	struct ctl_command row = {.show = show};

	if (json_unpack(json, "{s:s, s:s, s:s, s:s, s?b, s?b}", "words", &row.words, "method", &row.method, "params",
			&row.params, "help", &row.help, "watch", &watch, "repeat", &repeat))
		return -EPROTO;
	if (!*row.words || *row.words == ' ' || !*row.method || strlen(row.words) > TEXT_MAX || strlen(row.params) > TEXT_MAX)
		return -EPROTO;
	row.flags = (watch ? CTL_WATCH : 0) | (repeat ? CTL_REPEAT : 0);
	*ret_row = row;
	return 0;
}

static bool words_known(const struct ctl_catalogue *catalogue, const char *words)
{
	for (size_t i = 0; i < catalogue->count; i++)
		if (!strcmp(catalogue->rows[i].words, words))
			return true;
	return false;
}

int ctl_catalogue_new(json_t *answer, ctl_show_fn *show, const struct ctl_command *own, size_t own_count,
		      struct ctl_catalogue **ret_catalogue)
{
	json_t *rows = json_object_get(answer, "commands");
	size_t count = json_array_size(rows);
	struct ctl_catalogue *catalogue;

	if (!json_is_array(rows) || count > CTL_CATALOGUE_ROWS_MAX)
		return -EPROTO;
	catalogue = calloc(1, sizeof(*catalogue) + (count + own_count) * sizeof(catalogue->rows[0]));
	if (!catalogue)
		return -ENOMEM;
	catalogue->answer = json_incref(answer);
	for (; catalogue->count < count; catalogue->count++) {
		if (!row_parse(json_array_get(rows, catalogue->count), show, &catalogue->rows[catalogue->count]))
			continue;
		ctl_catalogue_free(catalogue);
		return -EPROTO;
	}
	for (size_t i = 0; i < own_count; i++)
		if (!words_known(catalogue, own[i].words))
			catalogue->rows[catalogue->count++] = own[i];
	*ret_catalogue = catalogue;
	return 0;
}

void ctl_catalogue_free(struct ctl_catalogue *catalogue)
{
	if (!catalogue)
		return;
	json_decref(catalogue->answer);
	free(catalogue);
}

const struct ctl_command *ctl_catalogue_rows(const struct ctl_catalogue *catalogue, size_t *ret_count)
{
	*ret_count = catalogue->count;
	return catalogue->rows;
}
