/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_CONFIG_STORE_H
#define FUZZ_CONFIG_STORE_H

/* Of both daemons that have disks. */

#include "config.h"
#include "store/options.h"

/* What the conventions have made of their own settings would be given twice. */
static inline void store_write_many(const void *options, FILE *out)
{
	const struct store_options *o = options;

	for (unsigned i = 0; i < o->disk_count && !store_options_conventional(o); i++)
		settings_write_line(out, "disk", o->disks[i]);
	for (unsigned i = 0; i < o->export_count && !store_options_conventional(o); i++)
		settings_write_line(out, "export", o->export_texts[i]);
}

#endif
