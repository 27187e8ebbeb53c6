/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_OPTIONS_H
#define SWITCHD_OPTIONS_H

/* vireo-switchd's settings: daemon/settings.h. */

#include "daemon/settings.h"
#include "port_spec.h"
#include <sched.h>
#include <stdio.h>

#define OPTIONS_WORKERS_MAX 128u

struct options {
	struct daemon_options daemon; /* first */
	unsigned workers;
	bool pinned; /* cpus[] holds one per worker */
	int cpus[OPTIONS_WORKERS_MAX];
	bool poll;
	unsigned spin_us, spin_percent; /* as in struct sw_config */
	unsigned fdb_entries, fdb_age_s;
	struct port_spec *ports;
	unsigned port_count;
};

/* Messages go to `err`, --help and --version to `out`. To be freed after SETTINGS_RUN. */
enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options);
void options_free(struct options *options);

#endif
