/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_HANDOVER_H
#define SCSID_HANDOVER_H

/*
 * What vireo-scsid gives to another process beside disks and exports (store/handover.h): units with what they hold, LUNs with what their
 * initiators have not been told yet, and the locks by which it keeps reservations. As "more":
 *
 *	{"state": FOLDER or null, "units": [{"disk": NAME, "holds": TEXT, "lock": true, "luns": [{"spec": SPEC, "holds": TEXT}]}]}
 *
 * and as parts: for each unit with "lock" that open file, and no bytes. The texts are scsi/state.c's.
 */

#include "store/handover.h"

/* One more whenever "more" is another one; vireo-blkd's is never that of ours. */
#define SCSID_HANDOVER_VERSION (1000u + STORE_HANDOVER_VERSION)

extern const struct store_more scsid_more;

/* ---- takeover.c ---- */

int scsid_more_take(struct store *store, const struct takeover *takeover, const json_t *more); /* struct store_more.take */

#endif
