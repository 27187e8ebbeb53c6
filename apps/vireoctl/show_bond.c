/* SPDX-License-Identifier: BSD-3-Clause */
/* bond list and bond show, for people: a line for each bond, or for each member with the states of its machines. */
#include "field.h"
#include "show.h"
#include "table.h"
#include <string.h>

#define NAMES_BYTES 160u

/* Who carries: "a, b". */
static void carriers_cell(struct table *t, const json_t *members)
{
	char names[NAMES_BYTES] = "";
	const json_t *member;
	size_t at = 0, i;

	for (i = 0; (member = json_array_get(members, i)) && at < sizeof(names); i++)
		if (json_is_true(json_object_get(member, "carries")))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "", text_of(member, "port"));
	table_cell(t, "%s", at ? names : "-");
}

void show_bond_list(struct show *show)
{
	struct table *t = table_new("BOND|MODE|HASH|STATE|LINK|>MEMBERS|CARRYING|PARTNER");
	const json_t *bonds = json_object_get(show->result, "bonds"), *bond;
	size_t i;

	for (i = 0; (bond = json_array_get(bonds, i)); i++) {
		const json_t *members = json_object_get(bond, "members");

		table_cell(t, "%s", text_of(bond, "name"));
		table_cell(t, "%s", text_of(bond, "mode"));
		table_cell(t, "%s", text_of(bond, "hash"));
		table_cell(t, "%s", text_of(bond, "state"));
		table_cell(t, "%s", text_of(bond, "link"));
		table_cell(t, "%zu", json_array_size(members));
		carriers_cell(t, members);
		table_cell(t, "%s", text_of(json_object_get(json_object_get(bond, "lacp"), "partner"), "system"));
	}
	table_print(t, show->out);
}

static void head(const json_t *bond, FILE *out)
{
	const json_t *lacp = json_object_get(bond, "lacp"), *partner = json_object_get(lacp, "partner");

	fprintf(out, "%s: %s, state %s, link %s", text_of(bond, "name"), text_of(bond, "mode"), text_of(bond, "state"), text_of(bond, "link"));
	if (json_is_string(json_object_get(bond, "hash")))
		fprintf(out, ", hash %s", text_of(bond, "hash"));
	if (json_is_string(json_object_get(bond, "primary")))
		fprintf(out, ", primary %s", text_of(bond, "primary"));
	fputc('\n', out);
	if (!json_is_object(lacp))
		return;
	fprintf(out, "lacp: %s, rate %s, system %s, key %lld; ", json_is_true(json_object_get(lacp, "passive")) ? "passive" : "active",
		text_of(lacp, "rate"), text_of(lacp, "system"), number_of(lacp, "key"));
	if (json_is_object(partner))
		fprintf(out, "partner %s, priority %lld, key %lld\n", text_of(partner, "system"), number_of(partner, "system_priority"),
			number_of(partner, "key"));
	else
		fputs("no partner\n", out);
}

static const char *yes(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key)) ? "yes" : "no";
}

static void machine_cells(struct table *t, const json_t *lacp)
{
	const json_t *partner = json_object_get(lacp, "partner");

	table_cell(t, "%s", text_of(lacp, "receive"));
	table_cell(t, "%s", text_of(lacp, "periodic"));
	table_cell(t, "%s", json_is_true(json_object_get(lacp, "loop")) ? "loop" : text_of(lacp, "selected"));
	table_cell(t, "%s", text_of(lacp, "mux"));
	table_cell(t, "%s", text_of(partner, "system"));
	number_cell(t, partner, "key");
	number_cell(t, partner, "port");
	number_cell(t, lacp, "heard");
	number_cell(t, lacp, "sent");
	number_cell(t, lacp, "bad");
}

void show_bond_show(struct show *show)
{
	const json_t *bond = json_object_get(show->result, "bond"), *members = json_object_get(bond, "members"), *member;
	bool lacp = json_is_object(json_object_get(bond, "lacp"));
	struct table *t = table_new(lacp ? "PORT|LINK|TAKES|CARRIES|>SHARES|RECEIVE|PERIODIC|SELECTED|MUX|PARTNER|>KEY|>PORT|>HEARD|>SENT|>BAD"
					 : "PORT|LINK|TAKES|CARRIES|>SHARES");
	size_t i;

	head(bond, show->out);
	for (i = 0; (member = json_array_get(members, i)); i++) {
		table_cell(t, "%s", text_of(member, "port"));
		table_cell(t, "%s", text_of(member, "link"));
		table_cell(t, "%s", yes(member, "takes"));
		table_cell(t, "%s", yes(member, "carries"));
		table_cell(t, "%lld", number_of(member, "shares"));
		if (lacp)
			machine_cells(t, json_object_get(member, "lacp"));
	}
	table_print(t, show->out);
}
