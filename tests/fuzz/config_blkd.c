/* SPDX-License-Identifier: BSD-3-Clause */
#define options_parse blkd_options_parse
#include "apps/vireo-blkd/options.c"
#include "config_store.h"

_Static_assert(sizeof(struct store_options) <= CONFIG_OPTIONS_BYTES, "room for what is read");

static enum settings_verdict parse(int argc, char *const *argv, FILE *out, FILE *err, void *options)
{
	return options_parse(argc, argv, out, err, options);
}

static void free_all(void *options)
{
	store_options_free(options);
}

const struct config_daemon config_blkd = {&settings, &blk_spec_kinds, parse, store_write_many, free_all};
