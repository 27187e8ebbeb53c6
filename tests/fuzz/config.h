/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_CONFIG_H
#define FUZZ_CONFIG_H

/* What fuzz_config.c knows of a daemon's settings. A file of its own compiles the options.c of each in, for its table. */

#include "daemon/settings.h"
#include "daemon/spec.h"

#define CONFIG_OPTIONS_BYTES 8192u

struct config_daemon {
	const struct settings *settings;
	const struct spec_kinds *kinds; /* of its ports or exports */
	enum settings_verdict (*parse)(int argc, char *const *argv, FILE *out, FILE *err, void *options);
	/* What may be given often, as it was given. */
	void (*write_many)(const void *options, FILE *out);
	void (*free)(void *options);
};

extern const struct config_daemon config_switchd, config_blkd, config_scsid;

#endif
