/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_OPTIONS_H
#define SWITCHD_OPTIONS_H

/*
 * The command line and the configuration file. Both are made of the same settings: --fdb-age 60 on the one is
 * "fdb-age 60" in the other. What the command line says holds over the file; ports of both are made.
 */

#include "spec.h"
#include "vireo/base.h"
#include <sched.h>
#include <stdio.h>

#define OPTIONS_WORKERS_MAX 128u

struct options {
	char *control; /* NULL: the default path */
	bool set_control_group;
	gid_t control_group;
	unsigned workers;
	bool pinned; /* cpus[] holds one per worker */
	int cpus[OPTIONS_WORKERS_MAX];
	bool poll;
	unsigned spin_us, spin_percent; /* as in struct sw_config */
	unsigned fdb_entries, fdb_age_s;
	enum vireo_log_level log_level;
	struct spec *ports;
	unsigned port_count;
};

enum options_verdict {
	OPTIONS_RUN,
	OPTIONS_DONE, /* --help or --version has been printed: exit 0 */
	OPTIONS_BAD,  /* one line has been printed: exit 2 */
};

/* Messages go to `err`, --help and --version to `out`. */
enum options_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err,
				   struct options *options);
void options_free(struct options *options);

#endif
