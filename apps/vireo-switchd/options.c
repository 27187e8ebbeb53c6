/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "commands.h"
#include "ctl/line.h"
#include "port.h"
#include "switch/switch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one function per setting: struct setting ---- */

static bool switch_parse(const char *value, bool *ret)
{
	*ret = !strcmp(value, "on");
	return *ret || !strcmp(value, "off");
}

static bool set_fdb_entries(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 16, 1u << 20, &n))
		return false;
	o->fdb_entries = (unsigned)n;
	return true;
}

static bool set_fdb_age(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 1, 1000000, &n))
		return false;
	o->fdb_age_s = (unsigned)n;
	return true;
}

/* What would keep it from being opened beside those before it, as far as they themselves say: ports_add() looks at the same. */
static bool port_fits(const struct options *o, const struct port_spec *spec, char *why)
{
	bool fixed = spec->at.name_given || port_kind_of(&spec->at)->address_is_name;

	for (unsigned i = 0; i < o->port_count; i++) {
		const struct port_spec *there = &o->ports[i].spec;

		if (fixed && !strcmp(there->at.name, spec->at.name)) {
			snprintf(why, PARSE_WHY_BYTES, "expected another name: there is a port '%s' already", spec->at.name);
			return false;
		}
		if (port_spec_same_address(there, spec, why) || port_spec_same_mac(there, spec, why))
			return false;
	}
	return true;
}

static bool set_port(void *options, const char *value, char *why)
{
	struct options *o = options;
	struct option_port *ports, *port;
	size_t at;

	if (o->port_count == SW_PORTS_MAX) {
		snprintf(why, PARSE_WHY_BYTES, "expected at most %u ports", SW_PORTS_MAX);
		return false;
	}
	ports = realloc(o->ports, (o->port_count + 1) * sizeof(*ports));
	if (!ports) {
		snprintf(why, PARSE_WHY_BYTES, "out of memory");
		return false;
	}
	o->ports = ports;
	port = &ports[o->port_count];
	port->line = o->run.daemon.config_line;
	if (port_spec_parse_at(value, &port->spec, why, &at)) {
		o->run.daemon.config_at += at;
		return false;
	}
	if (!port_fits(o, &port->spec, why))
		return false;
	port->text = strdup(value);
	if (!port->text)
		snprintf(why, PARSE_WHY_BYTES, "out of memory");
	o->port_count += !!port->text;
	return port->text;
}

static bool set_fdb(void *options, const char *value, char *why)
{
	struct options *o = options;

	return written_entries_add(&o->entries, value, o->run.daemon.config_line, why);
}

static bool set_mcast_snooping(void *options, const char *value, char *why)
{
	return switch_parse(value, &((struct options *)options)->multicast.snooping);
}

static bool set_mcast_querier(void *options, const char *value, char *why)
{
	return switch_parse(value, &((struct options *)options)->multicast.querier);
}

static bool set_mcast_unknown(void *options, const char *value, char *why)
{
	struct options *o = options;

	o->multicast.unknown_to_routers = !strcmp(value, "routers");
	return o->multicast.unknown_to_routers || !strcmp(value, "flood");
}

static bool set_mcast_interval(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 1, 3600, &n))
		return false;
	o->multicast.query_interval_s = (unsigned)n;
	return true;
}

static bool set_vm2vm(void *options, const char *value, char *why)
{
	return port_vm2vm_parse(value, &((struct options *)options)->vm2vm);
}

static bool set_udp_pacing(void *options, const char *value, char *why)
{
	bool on, good = switch_parse(value, &on);

	((struct options *)options)->unpaced = !on;
	return good;
}

static bool set_reopen(void *options, const char *value, char *why)
{
	struct options *o = options;

	if (o->run.daemon.config_line)
		snprintf(why, PARSE_WHY_BYTES, "expected on the command line only");
	o->reopen = !o->run.daemon.config_line;
	return o->reopen;
}

static const struct setting rows[] = {
	{"port", "SPEC", set_port, "TYPE:ADDRESS[,key=value...]",
	 "add a port (see below); may be given often", .many = true},
	SETTING_CONTROL,
	SETTING_CONTROL_GROUP,
	SETTING_WORKERS("frames"),
	SETTING_WORKER_BALANCE("queues"),
	{"udp-pacing", "on|off", set_udp_pacing, "on or off", "adaptive: who sends UDP waits for its receiver while CPUs are wanted (on)"},
	{"fdb-entries", "N", set_fdb_entries, "16 to 1048576", "room in the forwarding database (65536)"},
	{"fdb-age", "S", set_fdb_age, "1 to 1000000", "forget an address after S seconds of silence (300)"},
	{"mcast-snooping", "on|off", set_mcast_snooping, "on or off", "multicast goes to ports that have asked for it (off)"},
	{"mcast-querier", "on|off", set_mcast_querier, "on or off", "snooping: ask who is a member, where nobody else does (off)"},
	{"mcast-unknown", "WHERE", set_mcast_unknown, "flood or routers", "snooping: groups without members go to all, or to routers (flood)"},
	{"mcast-interval", "S", set_mcast_interval, "1 to 3600", "snooping: seconds between two questions to all (125)"},
	{"vm2vm", "MODE", set_vm2vm, PORT_VM2VM_EXPECTED,
	 "how guests reach each other, where their SPEC does not say: off, software (default), or\n"
	 "hardware: the bridge behind the uplinks forwards"},
	{"fdb", "ENTRY", set_fdb, "MAC PORT, or MAC PORT VLAN",
	 "keep an address behind a port: MAC PORT [VLAN]; may be given often", .many = true},
	SETTING_TAKEOVER("switch", "its ports, their sessions and rings, its control\n"
			 "socket. Ports of these settings come with the next reload"),
	{"reopen", NULL, set_reopen, NULL, "so take over ports as well that cannot be handed over: they are opened anew", .once = true},
	SETTING_LOG_LEVEL,
	SETTING_BENEATH,
	SETTING_NO_SANDBOX,
};

static void help_ports(FILE *out)
{
	spec_help(&port_kinds, out);
}

static const struct settings settings = {
	.program = "vireo-switchd",
	.usage = "Usage: vireo-switchd [OPTION]... [--port SPEC]...\n"
		 "A learning Ethernet switch for virtual machines.\n",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.help_more = help_ports,
	.rooms = switchd_rooms,
};

enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options)
{
	enum settings_verdict verdict;

	*options = (struct options){.fdb_entries = 65536, .fdb_age_s = 300, .multicast = {.query_interval_s = 125}};
	worker_options_init(&options->run);
	verdict = settings_parse(&settings, options, argc, argv, out, err);
	if (verdict == SETTINGS_RUN && options->reopen && !options->run.daemon.takeover) {
		line_print(err, "vireo-switchd: --reopen: nothing is taken over: say --takeover or --upgrade as well");
		verdict = SETTINGS_BAD;
	}
	if (verdict != SETTINGS_RUN)
		options_free(options);
	return verdict;
}

void options_free(struct options *options)
{
	daemon_options_free(&options->run.daemon);
	for (unsigned i = 0; i < options->port_count; i++)
		free(options->ports[i].text);
	free(options->ports);
	written_entries_free(&options->entries);
	memset(options, 0, sizeof(*options));
}
