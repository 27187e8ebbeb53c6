/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_LUNS_H
#define SCSID_LUNS_H

/*
 * LUNs of exports: a unit at an address that an export's driver sees, and is told of when it comes, goes or changes. Control thread.
 *
 * Life: luns_add_aside() -> lun_remove(): no commands any more -> its disk has answered what it had -> freed, and `removed` is told.
 */

#include "lun_spec.h"
#include "scsi_export.h"
#include "vireo/mailbox.h"
#include <jansson.h>

struct scsid;
struct unit;

typedef void lun_removed_fn(void *opaque);

struct errand;
struct kept;

struct lun {
	struct lun *next; /* of the export, by address; those that are being removed are in no list */
	struct scsi_export *export;
	struct unit *unit;
	unsigned target, number;
	struct vireo_letter gone;
	lun_removed_fn *removed; /* may be NULL */
	void *removed_opaque;
};

/* With what was kept of its disk, if that has no unit yet. 0, or -errno and why; -EEXIST: there is one. */
int luns_add(struct scsid *scsid, const struct lun_spec *spec, struct kept *kept, const struct vireo_log *log, struct lun **ret_lun,
	     char why[SPEC_WHY_BYTES]);
/* The same, and its driver is not told: it knows. */
int luns_put(struct scsid *scsid, const struct lun_spec *spec, struct kept *kept, const struct vireo_log *log, struct lun **ret_lun,
	     char why[SPEC_WHY_BYTES]);
/* NULL and why: there is none. */
struct lun *luns_find(const struct scsid *scsid, const struct lun_address *at, char why[SPEC_WHY_BYTES]);
void lun_remove(struct lun *lun, const struct vireo_log *log, lun_removed_fn *removed, void *opaque);
/* Its export has ended, and nothing uses it any more: all are gone when this returns. */
void luns_end(struct scsi_export *export);
/* The disk's size is another one: units look, and drivers are told. */
void luns_resized(struct scsid *scsid, const struct store_disk *disk);
struct lun *lun_at(const struct scsi_export *export, unsigned target, unsigned number); /* NULL: none */
bool lun_target_there(const struct scsi_export *export, unsigned target);

#define LUN_NAME_BYTES (SPEC_NAME_BYTES + 16u)
const char *lun_name(const struct lun *lun, char name[LUN_NAME_BYTES]); /* EXPORT/TARGET:LUN; returns name */

/* ---- lun_adding.c ---- */

/*
 * The same; a thread takes what was kept. `done` is told once, here or from the loop, with the LUN or with -errno and why. Returns the
 * errand that is under way, one of the disks'; NULL: `done` has been told.
 */
typedef void lun_added_fn(void *opaque, int err, const struct lun *lun, const char *why);
const struct errand *luns_add_aside(struct scsid *scsid, const struct lun_spec *spec, const struct vireo_log *log, lun_added_fn *done,
				    void *opaque);

json_t *lun_report(const struct lun *lun);

#endif
