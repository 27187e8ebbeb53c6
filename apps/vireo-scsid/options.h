/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_OPTIONS_H
#define SCSID_OPTIONS_H

#include "lun_spec.h"
#include "store/options.h"

struct scsid_options {
	struct store_options store; /* first */
	struct lun_spec *luns;
	unsigned *lun_lines; /* of the file of settings */
	unsigned lun_count;
	char *state; /* a folder for reservations; NULL: they end with the daemon */
};

/* As store_options_parse(). To be freed after SETTINGS_RUN, what is the daemon's own by scsid_options_free(). */
enum settings_verdict scsid_options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct scsid_options *options);
void scsid_options_free(struct scsid_options *options);

#endif
