/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_SCSID_H
#define SCSID_SCSID_H

#include "options.h"
#include "store/store.h"
#include "unit.h"

struct scsid {
	struct store store; /* first */
	struct units units;
	unsigned lun_adds; /* that are under way */
	char *state_taken; /* the folder of a process that has handed over; to be freed */
	/* Of the LUN that has been opened last, when the daemon starts. */
	int start_err;
	char start_why[SPEC_WHY_BYTES];
};

/* From here on units are made; what they hold is kept in the folder, which is borrowed. NULL: it ends with the daemon. */
void scsid_units_begin(struct scsid *scsid, const char *state);

static inline struct scsid *scsid_of(const struct store *store)
{
	return (struct scsid *)(uintptr_t)store;
}

static inline struct scsid_options *scsid_options_of(const struct scsid *scsid)
{
	return (struct scsid_options *)scsid->store.options;
}

#endif
