/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "daemon/cpus.h"
#include "switch/switch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one function per setting: struct setting ---- */

static bool set_workers(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;
	int count;

	if (parse_number(value, 1, OPTIONS_WORKERS_MAX, &n)) {
		o->workers = (unsigned)n;
		o->pinned = false;
		return true;
	}
	count = strpbrk(value, "-,") ? cpus_parse(value, o->cpus, OPTIONS_WORKERS_MAX) : -EINVAL;
	if (count == -ENODEV)
		snprintf(why, PARSE_WHY_BYTES, "expected CPUs that this process may run on");
	if (count <= 0)
		return false;
	o->workers = (unsigned)count;
	o->pinned = true;
	return true;
}

static bool set_poll(void *options, const char *value, char *why)
{
	struct options *o = options;

	o->poll = true;
	return true;
}

static bool set_adaptive(void *options, const char *value, char *why)
{
	struct options *o = options;

	o->poll = false;
	return true;
}

static bool set_spin_us(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 0, 1000000, &n))
		return false;
	o->spin_us = n ? (unsigned)n : SW_SPIN_NEVER;
	return true;
}

static bool set_spin_percent(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 0, 100, &n))
		return false;
	o->spin_percent = n ? (unsigned)n : SW_SPIN_NEVER;
	return true;
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

static bool port_given(const struct options *o, const char *name)
{
	for (unsigned i = 0; i < o->port_count; i++)
		if (o->ports[i].at.name_given && !strcmp(o->ports[i].at.name, name))
			return true;
	return false;
}

static bool set_port(void *options, const char *value, char *why)
{
	struct options *o = options;
	struct port_spec *ports = realloc(o->ports, (o->port_count + 1) * sizeof(*ports));

	if (!ports) {
		snprintf(why, PARSE_WHY_BYTES, "out of memory");
		return false;
	}
	o->ports = ports;
	if (port_spec_parse(value, &ports[o->port_count], why))
		return false;
	if (ports[o->port_count].at.name_given && port_given(o, ports[o->port_count].at.name)) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is a port '%s' already",
			 ports[o->port_count].at.name);
		return false;
	}
	o->port_count++;
	return true;
}

static const struct setting rows[] = {
	{"port", "SPEC", set_port, "TYPE:ADDRESS[,key=value...]",
	 "add a port (see below); may be given often"},
	SETTING_CONTROL,
	SETTING_CONTROL_GROUP,
	{"workers", "N|CPU-LIST", set_workers,
	 "a number from 1 to 128, or a list of CPUs such as 0-1,4 or 3,",
	 "so many workers, or one pinned to each CPU (1)"},
	{"poll", NULL, set_poll, NULL, "workers never sleep"},
	{"adaptive", NULL, set_adaptive, NULL, "workers sleep when there is nothing to do (default)"},
	{"spin-us", "US", set_spin_us, "0 to 1000000",
	 "adaptive: wait awake for frames that usually come within US (as a sleep costs)"},
	{"spin-percent", "P", set_spin_percent, "0 to 100", "adaptive: and for P percent of the time at most (10)"},
	{"fdb-entries", "N", set_fdb_entries, "16 to 1048576", "room in the forwarding database (65536)"},
	{"fdb-age", "S", set_fdb_age, "1 to 1000000", "forget an address after S seconds of silence (300)"},
	SETTING_LOG_LEVEL,
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
};

enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options)
{
	enum settings_verdict verdict;

	*options = (struct options){.workers = 1, .fdb_entries = 65536, .fdb_age_s = 300};
	daemon_options_init(&options->daemon);
	verdict = settings_parse(&settings, options, argc, argv, out, err);
	if (verdict != SETTINGS_RUN)
		options_free(options);
	return verdict;
}

void options_free(struct options *options)
{
	daemon_options_free(&options->daemon);
	free(options->ports);
	memset(options, 0, sizeof(*options));
}
