/* SPDX-License-Identifier: BSD-3-Clause */
#include "config_show.h"
#include "daemon/settings.h"
#include "port.h"
#include "port_set.h"
#include "written_entries.h"
#include <stdlib.h>

/* As port_set_worker() reads it; nothing where all go to whoever has the fewest. */
static void workers_write(const struct port *port, FILE *out)
{
	int first = sw_queue_home(port->sw, 0);
	const char *before = ",worker=";
	bool one = first >= 0;

	for (unsigned i = 1; i < port->in_queues; i++)
		one = one && sw_queue_home(port->sw, i) == first;
	if (one)
		fprintf(out, "%s%d", before, first);
	for (unsigned i = 0; i < port->in_queues && !one; i++) {
		if (sw_queue_home(port->sw, i) < 0)
			continue;
		fprintf(out, "%s%u:%d", before, i, sw_queue_home(port->sw, i));
		before = "+";
	}
}

/* What it was given, with what holds now in place of what it began with. */
char *config_show_spec(const struct port *port)
{
	static const char *const without[] = {"link", "worker", NULL};
	char *text = NULL;
	size_t bytes;
	FILE *spec = open_memstream(&text, &bytes);

	if (!spec)
		return NULL;
	port_set_write_without(spec, port->text, without);
	if (port->renamed) /* the one whose name it would have may have gone */
		fprintf(spec, ",name=%s", port->spec.at.name);
	if (!sw_port_link(port->sw))
		fprintf(spec, ",link=down");
	workers_write(port, spec);
	fclose(spec);
	return text;
}

static void port_write(const struct port *port, FILE *out)
{
	char *text = config_show_spec(port);

	if (text)
		settings_write_line(out, "port", text);
	else
		fprintf(out, "# cannot be written in a file: port '%s', for there is no memory\n", port->spec.at.name);
	free(text);
}

void config_show_write(const struct ports *ports, const struct daemon_options *options, FILE *out)
{
	settings_write(options, out);
	for (const struct port *p = ports->first; p; p = p->next)
		if (!p->closing && p->text)
			port_write(p, out);
	written_entries_write(ports, out);
}
