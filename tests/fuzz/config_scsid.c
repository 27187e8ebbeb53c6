/* SPDX-License-Identifier: BSD-3-Clause */
#include "apps/vireo-scsid/options.c"
#include "config_store.h"

_Static_assert(sizeof(struct scsid_options) <= CONFIG_OPTIONS_BYTES, "room for what is read");

static enum settings_verdict parse(int argc, char *const *argv, FILE *out, FILE *err, void *options)
{
	return scsid_options_parse(argc, argv, out, err, options);
}

static void free_all(void *options)
{
	scsid_options_free(options);
	store_options_free(options);
}

const struct config_daemon config_scsid = {&settings, &scsi_spec_kinds, parse, store_write_many, free_all};
