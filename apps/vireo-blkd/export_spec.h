/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_EXPORT_SPEC_H
#define BLKD_EXPORT_SPEC_H

/* An export as the user writes it: an endpoint's SPEC (daemon/spec.h) with a disk's name and what its driver is to see. */

#include "store/disks.h"

#define EXPORT_QUEUES_MAX 256u
#define EXPORT_SERIAL_BYTES 20u

struct export_spec {
	struct spec at; /* first */
	char disk[SPEC_NAME_BYTES];
	unsigned queues; /* 0: not given */
	struct store_use use;
	char serial[EXPORT_SERIAL_BYTES + 1]; /* empty: the disk's name */
};

extern const struct spec_kinds export_kinds;

unsigned export_spec_queues(const struct export_spec *spec);

static inline int export_spec_parse(const char *text, struct export_spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	return spec_parse(&export_kinds, text, &ret_spec->at, why);
}

static inline int export_spec_parse_at(const char *text, struct export_spec *ret_spec, char why[SPEC_WHY_BYTES], size_t *ret_at)
{
	return spec_parse_at(&export_kinds, text, &ret_spec->at, why, ret_at);
}

#endif
