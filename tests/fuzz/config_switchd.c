/* SPDX-License-Identifier: BSD-3-Clause */
#define options_parse switchd_options_parse
#define options_free  switchd_options_free
#include "apps/vireo-switchd/options.c"
#include "config.h"

_Static_assert(sizeof(struct options) <= CONFIG_OPTIONS_BYTES, "room for what is read");

static enum settings_verdict parse(int argc, char *const *argv, FILE *out, FILE *err, void *options)
{
	return options_parse(argc, argv, out, err, options);
}

static void write_many(const void *options, FILE *out)
{
	const struct options *o = options;

	for (unsigned i = 0; i < o->port_count; i++)
		settings_write_line(out, "port", o->ports[i].text);
}

static void free_all(void *options)
{
	options_free(options);
}

const struct config_daemon config_switchd = {&settings, &port_kinds, parse, write_many, free_all};
