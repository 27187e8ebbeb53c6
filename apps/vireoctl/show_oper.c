/* SPDX-License-Identifier: BSD-3-Clause */
/* The answers to what an operator sets while a daemon runs, for people. */
#include "show.h"

/* Who has asked for it knows that the link is down; that the other end does not know is news. */
void show_port_link(struct show *show)
{
	const char *name = json_string_value(json_object_get(show->result, "name"));
	const char *link = json_string_value(json_object_get(show->result, "link"));

	if (!name || !link)
		return;
	fprintf(show->out, "%s: link %s", name, link);
	if (json_is_false(json_object_get(show->result, "told")))
		fprintf(show->out, "; the other end cannot be told: it %s", *link == 'd' ? "sees a link on which nothing comes" :
				"has seen no change");
	fputc('\n', show->out);
}

void show_log_level(struct show *show)
{
	const char *level = json_string_value(json_object_get(show->result, "level"));

	fprintf(show->out, "%s\n", level ? level : "-");
}

/* Done is done. */
void show_nothing(struct show *show)
{
}
