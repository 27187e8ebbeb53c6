/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_OPTIONS_H
#define SWITCHD_OPTIONS_H

/* vireo-switchd's settings: daemon/settings.h. */

#include "daemon/worker_settings.h"
#include "port_spec.h"
#include "written_entries.h"
#include "switch/switch.h"
#include <stdio.h>

struct options {
	struct worker_options run; /* first; spin_us and spin_percent are as in struct sw_config */
	bool reopen; /* what cannot be taken over is opened anew */
	bool unpaced; /* see struct sw_config */
	unsigned fdb_entries, fdb_age_s;
	enum sw_vm2vm vm2vm;
	struct sw_multicast multicast;
	struct option_port *ports;
	unsigned port_count;
	struct written_entries entries;
};

struct option_port {
	struct port_spec spec;
	unsigned line; /* of the file of settings; 0: on the command line */
	char *text;    /* as it was written */
};

/* Messages go to `err`, --help and --version to `out`. To be freed after SETTINGS_RUN. */
enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options);
void options_free(struct options *options);

#endif
