/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_UNIT_H
#define SCSID_UNIT_H

/*
 * Logical units: a disk is one of them, however many LUNs show it; machines that share it share its reservations. They are kept in a file of
 * the state folder, if there is one (APTPL). Control thread, but for what is said of keepers.
 */

#include "kept.h"
#include "lun_spec.h"

struct vireo_mailbox;

struct keep_note;

/* What is to be stored of a unit, one text at a time: the last one stands for those before it. */
struct keeper {
	char *path; /* NULL: it is not kept */
	struct kept kept; /* the lock; the text has been read by now */
	struct errands *errands;
	struct vireo_mailbox *mailbox;
	struct vireo_log log;
	struct keep_note *waiting;
	bool storing;
	uint64_t stored_order;
};

struct unit {
	struct unit *next;
	struct store_disk *disk;
	struct scsi_unit *scsi;
	struct store_use use;
	char serial[SCSI_SERIAL_BYTES + 1];
	unsigned luns; /* that show it, or are being removed */
	struct keeper keeper;
};

struct units {
	struct unit *first;
	const char *state; /* a folder; NULL: reservations end with the daemon */
	struct errands *errands;
	struct vireo_mailbox *mailbox;
	struct vireo_log log;
};

/* Where the reservations of a disk are kept, to be freed; NULL: nowhere, or there is no memory. */
char *units_kept_path(const struct units *units, const char *disk);
/* What kept_take() has said of that file, in a line for the user. */
void units_kept_explain(const char *path, int err, char why[SPEC_WHY_BYTES]);
/* That of the disk, for one more LUN; made if it has none, with what was kept of it (taken over then). 0, or -errno and why. */
int units_get(struct units *units, struct store_disk *disk, const struct lun_spec *spec, struct kept *kept, struct unit **ret_unit,
	      char why[SPEC_WHY_BYTES]);
void units_put(struct units *units, struct unit *unit); /* one LUN less */
struct unit *units_find(const struct units *units, const struct store_disk *disk); /* NULL: no LUN shows it */

/* ---- keeper.c ---- */

void keeper_keep(void *keeper, struct scsi_keep *keep); /* for struct scsi_unit_config; any thread */

#endif
