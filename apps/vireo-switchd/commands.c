/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's side of the command table. All in the control thread. */
#include "commands.h"
#include "base/nearest.h"
#include "ctl/rpc.h"
#include "ctl/switchd_commands.h"
#include "daemon/daemon.h"
#include "daemon/spec_call.h"
#include "handover.h"
#include "mirrors.h"
#include "port.h"
#include "port_bond.h"
#include "port_multicast.h"
#include "port_set.h"
#include "reload.h"
#include "report.h"
#include "static_entries.h"
#include "talk_show.h"
#include "trace_show.h"
#include "worker_move.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FDB_SHOWN_MAX 131072u /* of more entries, so many are listed: about 10 MiB of reply */

static json_t *port_list(const struct ports *ports, json_t *(*report)(const struct port *port))
{
	json_t *list = json_array();

	for (const struct port *p = ports->first; p; p = p->next)
		if (!p->closing)
			json_array_append_new(list, report(p));
	return list;
}

static void serve_port_list(struct rpc_call *call, void *opaque)
{
	rpc_call_reply(call, json_pack("{s:o}", "ports", port_list(opaque, report_port_brief)));
}

static void port_added(void *opaque, int err, const struct port *port, const char *why)
{
	struct rpc_call *call = opaque;

	if (err) {
		rpc_call_error(call, err == -EEXIST ? RPC_EXISTS : RPC_FAILED, "%s", why);
		return;
	}
	port_text_set(ports_find(port->ports, port->spec.at.name), rpc_call_param(call, "spec"), false);
	rpc_call_reply(call, json_pack("{s:s}", "name", port->spec.at.name));
}

static void port_add(void *opaque, struct rpc_call *call, const struct spec *spec)
{
	ports_add_soon(opaque, (const struct port_spec *)spec, port_added, call);
}

static void serve_port_add(struct rpc_call *call, void *opaque)
{
	struct ports *ports = opaque;

	spec_call(&ports->lookups, call, port_add, ports);
}

struct port *port_named(struct rpc_call *call, const struct ports *ports, const char *name)
{
	struct port *port = ports_find(ports, name);
	struct nearest nearest = nearest_to(name, strlen(name));
	char hint[NEAREST_HINT_BYTES];

	if (port)
		return port;
	for (const struct port *p = ports->first; p; p = p->next)
		if (!p->closing)
			nearest_offer(&nearest, p->spec.at.name);
	rpc_call_error(call, RPC_NOT_FOUND, "there is no port '%.64s'%s", name, nearest_hint(&nearest, hint, ""));
	return NULL;
}

static void port_removed(void *opaque)
{
	rpc_call_reply(opaque, json_object());
}

static void serve_port_remove(struct rpc_call *call, void *opaque)
{
	struct port *port = port_named(call, opaque, rpc_call_param(call, "name"));

	if (port)
		ports_remove(port, port_removed, call);
}

static void serve_port_show(struct rpc_call *call, void *opaque)
{
	struct port *port = port_named(call, opaque, rpc_call_param(call, "name"));

	if (port)
		rpc_call_reply(call, json_pack("{s:o}", "port", report_port_full(port)));
}

static json_t *told_json(enum port_told told)
{
	return told == PORT_TOLD_NOBODY ? json_null() : json_boolean(told == PORT_TOLD);
}

static void serve_port_link(struct rpc_call *call, void *opaque)
{
	const char *state = rpc_call_param(call, "state");
	struct port *port = port_named(call, opaque, rpc_call_param(call, "name"));
	bool up = !strcmp(state, "up");

	if (port && !up && strcmp(state, "down") != 0)
		rpc_call_error(call, RPC_INVALID_PARAMS, "STATE '%.40s': expected up or down", state);
	else if (port)
		rpc_call_reply(call, json_pack("{s:s, s:s, s:o}", "name", port->spec.at.name, "link", state, "told",
					       told_json(port_link_set(port, up))));
}

/* ---- port set ---- */

struct setting_call {
	struct rpc_call *call;
	struct ports *ports;
	char *text;
};

static void setting_parsed(void *opaque, int err, const struct spec *spec, const char *why)
{
	struct setting_call c = *(struct setting_call *)opaque;
	struct port *port = ports_find(c.ports, rpc_call_param(c.call, "name"));
	char refused[SPEC_WHY_BYTES];

	free(opaque);
	if (err)
		rpc_call_error(c.call, err == -EINVAL ? RPC_INVALID_PARAMS : RPC_FAILED, "%s", why);
	else if (!port || !port->text || !port_set_alike(&port->kind->spec, port->text, c.text))
		rpc_call_error(c.call, RPC_FAILED, "the port is another one meanwhile: try again");
	else if (port_set(port, (const struct port_spec *)spec, c.text, rpc_call_param(c.call, "settings"), refused))
		rpc_call_error(c.call, RPC_FAILED, "%s", refused);
	else
		rpc_call_reply(c.call, json_pack("{s:s, s:s}", "name", port->spec.at.name, "spec", port->text));
	free(c.text);
}

static void serve_port_set(struct rpc_call *call, void *opaque)
{
	struct ports *ports = opaque;
	struct port *port = port_named(call, ports, rpc_call_param(call, "name"));
	struct setting_call *c = port ? malloc(sizeof(*c)) : NULL;
	char why[SPEC_WHY_BYTES] = "out of memory";
	char *text = c ? port_set_text(port, rpc_call_param(call, "settings"), why) : NULL;

	if (!text) {
		free(c);
		if (port)
			rpc_call_error(call, RPC_INVALID_PARAMS, "%s", why);
		return;
	}
	*c = (struct setting_call){call, ports, text};
	lookups_spec(&ports->lookups, text, setting_parsed, c);
}

struct fdb_listing {
	json_t *list;
	size_t total;
};

static void fdb_list_entry(void *opaque, const struct sw_fdb_entry *entry)
{
	struct fdb_listing *listing = opaque;

	if (listing->total++ >= FDB_SHOWN_MAX)
		return;
	json_array_append_new(listing->list, json_pack("{s:s, s:i, s:s, s:i, s:b}", "mac", port_mac_text(entry->mac).text, "vlan", (int)entry->vlan,
						       "port", entry->port, "age_s", (int)entry->age_s, "static", entry->fixed));
}

static void serve_fdb_show(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct fdb_listing listing = {.list = json_array()};

	sw_fdb_each(ports->sw, fdb_list_entry, &listing);
	rpc_call_reply(call,
		       json_pack("{s:I, s:o}", "total", (json_int_t)listing.total, "entries", listing.list));
}

static void serve_fdb_flush(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	const char *name = rpc_call_param(call, "port");
	struct port *port = name ? port_named(call, ports, name) : NULL;

	if (name && !port)
		return;
	sw_fdb_flush(ports->sw, port ? port->sw : NULL);
	rpc_call_reply(call, json_object());
}

static void serve_worker_list(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;

	rpc_call_reply(call, json_pack("{s:b, s:o}", "balance", sw_balances(ports->sw), "workers", report_worker_list(ports)));
}

static void serve_stats(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	rpc_call_reply(call, json_pack("{s:I, s:o, s:o, s:o}", "time_us",
				       (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, "ports",
				       port_list(ports, report_port_full), "workers",
				       report_workers(ports->sw), "fdb", report_fdb(ports->sw)));
}

/* `text` is cut up. */
static json_t *lines_of(char *text)
{
	json_t *lines = json_array();
	char *rest = NULL;

	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		json_array_append_new(lines, json_string(line));
	return lines;
}

static void serve_config_show(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	char *text = NULL;
	size_t bytes;
	char *file;
	FILE *out = ports->reload ? open_memstream(&text, &bytes) : NULL;

	if (!out) {
		rpc_call_error(call, RPC_FAILED, "%s", ports->reload ? "out of memory" : "the switch is starting: try again");
		return;
	}
	reload_config(ports->reload, out);
	fclose(out);
	file = reload_file(ports->reload);
	rpc_call_reply(call, json_pack("{s:o, s:o}", "lines", lines_of(text), "file", file ? json_string(file) : json_null()));
	free(file);
	free(text);
}

static void serve_reload(struct rpc_call *call, void *opaque)
{
	reload_begin(((const struct ports *)opaque)->reload, call);
}

static void serve_log_level(struct rpc_call *call, void *opaque)
{
	daemon_serve_log_level(call, &((const struct ports *)opaque)->control_log);
}

static void serve_version(struct rpc_call *call, void *opaque)
{
	daemon_serve_version(call, "vireo-switchd");
}

const struct ctl_command switchd_commands[] = {CTL_SWITCHD_COMMANDS(CTL_ROW_SERVE)};
const size_t switchd_command_count = sizeof(switchd_commands) / sizeof(switchd_commands[0]);
