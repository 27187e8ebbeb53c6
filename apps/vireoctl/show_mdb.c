/* SPDX-License-Identifier: BSD-3-Clause */
/* mdb show, for people: a line for each port that a group goes to, and below that who asks for members. */
#include "show.h"
#include "table.h"

static const char *text_or(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : otherwise;
}

static void vlan_cell(struct table *t, const json_t *entry)
{
	json_int_t vlan = json_integer_value(json_object_get(entry, "vlan"));

	if (vlan)
		table_cell(t, "%lld", (long long)vlan);
	else
		table_cell(t, "-");
}

static void expires_cell(struct table *t, const json_t *entry)
{
	const json_t *expires_s = json_object_get(entry, "expires_s");

	if (json_is_integer(expires_s))
		table_cell(t, "%lld", (long long)json_integer_value(expires_s));
	else
		table_cell(t, "static");
}

static void entries(struct table *t, const json_t *list, const char *key, const char *otherwise, const char *before)
{
	const json_t *entry;
	size_t i;

	for (i = 0; (entry = json_array_get(list, i)); i++) {
		table_cell(t, "%s%s", before, text_or(entry, key, otherwise));
		vlan_cell(t, entry);
		table_cell(t, "%s", text_or(entry, "port", "-"));
		expires_cell(t, entry);
	}
}

static void queriers(struct show *show)
{
	const json_t *list = json_object_get(show->result, "queriers"), *side;
	struct table *t = table_new("FAMILY|>VLAN|QUERIER|FILTERS");
	size_t i;

	for (i = 0; (side = json_array_get(list, i)); i++) {
		table_cell(t, "%s", text_or(side, "family", "-"));
		vlan_cell(t, side);
		table_cell(t, "%s", text_or(side, "other", json_is_true(json_object_get(side, "own")) ? "this switch" : "nobody"));
		table_cell(t, "%s", json_is_true(json_object_get(side, "filters")) ? "yes" : "no: all goes to all");
	}
	table_print(t, show->out);
}

void show_mdb_show(struct show *show)
{
	struct table *t;

	if (!json_is_true(json_object_get(show->result, "snooping"))) {
		fputs("no snooping: multicast goes to all; give vireo-switchd --mcast-snooping on\n", show->out);
		return;
	}
	t = table_new("GROUP|>VLAN|PORT|>EXPIRES S");
	entries(t, json_object_get(show->result, "members"), "group", "-", "");
	entries(t, json_object_get(show->result, "routers"), "family", "any", "router ");
	table_print(t, show->out);
	fputc('\n', show->out);
	queriers(show);
}
