/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_OPTIONS_H
#define BLKD_OPTIONS_H

/* vireo-blkd's settings: daemon/settings.h, and those of QEMU's conventions for back-end programs. */

#include "daemon/worker_settings.h"
#include "export_spec.h"
#include <stdio.h>

struct options {
	struct worker_options run; /* first */
	char **disks; /* NAME=SPEC */
	unsigned *disk_lines; /* of the file of settings; 0: on the command line */
	unsigned disk_count;
	struct export_spec *exports;
	unsigned *export_lines;
	unsigned export_count;
	/* QEMU's conventions: one disk at one socket. */
	char *socket_path, *blk_file;
	unsigned fd; /* 0: not given */
	bool read_only;
	bool print_capabilities;
};

/* Messages go to `err`, --help and --version to `out`. To be freed after SETTINGS_RUN. */
enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options);
void options_free(struct options *options);

/* Were we started as QEMU's conventions say? There is no control socket then, unless one is asked for. */
static inline bool options_conventional(const struct options *options)
{
	return options->socket_path || options->fd;
}

#endif
