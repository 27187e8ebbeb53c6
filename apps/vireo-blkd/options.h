/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_OPTIONS_H
#define BLKD_OPTIONS_H

#include "store/options.h"

/* vireo-blkd's: see store_options_parse(). */
enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct store_options *options);

#endif
