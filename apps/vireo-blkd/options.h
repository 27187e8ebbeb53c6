/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_OPTIONS_H
#define BLKD_OPTIONS_H

/* vireo-blkd's settings: daemon/settings.h. */

#include "daemon/worker_settings.h"
#include "export_spec.h"
#include <stdio.h>

struct options {
	struct worker_options run; /* first */
	char **disks; /* NAME=SPEC */
	unsigned disk_count;
	struct export_spec *exports;
	unsigned export_count;
};

/* Messages go to `err`, --help and --version to `out`. To be freed after SETTINGS_RUN. */
enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options);
void options_free(struct options *options);

#endif
