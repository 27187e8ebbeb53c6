/* SPDX-License-Identifier: BSD-3-Clause */
#include "luns.h"
#include "base/log.h"
#include "disk/disk.h"
#include "scsi/scsi.h"
#include "scsid.h"
#include "vireo/scsi.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_CHANGED 0x2a, 0x09 /* ASC and ASCQ of SPC-4 */

const char *lun_name(const struct lun *lun, char name[LUN_NAME_BYTES])
{
	snprintf(name, LUN_NAME_BYTES, "%s/%u:%u", lun->export->export.spec->at.name, lun->target, lun->number);
	return name;
}

/* ---- finding one ---- */

struct lun *lun_at(const struct scsi_export *export, unsigned target, unsigned number)
{
	for (struct lun *lun = export->luns; lun; lun = lun->next)
		if (lun->target == target && lun->number == number)
			return lun;
	return NULL;
}

bool lun_target_there(const struct scsi_export *export, unsigned target)
{
	for (const struct lun *lun = export->luns; lun; lun = lun->next)
		if (lun->target == target)
			return true;
	return false;
}

/* The one that is named, or else the only one. */
static struct scsi_export *export_find(const struct scsid *scsid, const char *name, char *why)
{
	const struct exports *exports = &scsid->store.exports;
	struct export *only = NULL;
	unsigned count = 0;

	if (*name) {
		only = exports_find(exports, name);
		if (!only)
			snprintf(why, SPEC_WHY_BYTES, "there is no export '%s'", name);
		return only ? scsi_export_of(only) : NULL;
	}
	for (struct export *e = exports->first; e; e = e->next) {
		if (e->closing)
			continue;
		only = e;
		count++;
	}
	if (count == 1)
		return scsi_export_of(only);
	if (count)
		snprintf(why, SPEC_WHY_BYTES, "there are %u exports: say which, EXPORT/TARGET:LUN", count);
	else
		snprintf(why, SPEC_WHY_BYTES, "there is no export: add it first");
	return NULL;
}

struct lun *luns_find(const struct scsid *scsid, const struct lun_address *at, char why[SPEC_WHY_BYTES])
{
	const struct scsi_export *export = export_find(scsid, at->export, why);
	struct lun *lun = export ? lun_at(export, at->target, at->number) : NULL;

	if (export && !lun)
		snprintf(why, SPEC_WHY_BYTES, "export '%s' has no LUN %u:%u", export->export.spec->at.name, at->target, at->number);
	return lun;
}

/* ---- what the driver is told ---- */

static void tell(const struct lun *lun, uint32_t kind, uint8_t asc, uint8_t ascq)
{
	struct vireo_scsi_event event = {.size = sizeof(event), .kind = kind, .target = (uint8_t)lun->target, .asc = asc, .ascq = ascq};

	scsi_lun_encode(lun->number, event.lun);
	vireo_scsi_tell(lun->export->scsi, &event); /* a driver that cannot be told learns of it by a unit attention */
}

/* ---- making one ---- */

static void link_in(struct lun *lun)
{
	struct lun **at = &lun->export->luns;

	while (*at && ((*at)->target < lun->target || ((*at)->target == lun->target && (*at)->number < lun->number)))
		at = &(*at)->next;
	lun->next = *at;
	*at = lun;
	lun->export->lun_count++;
}

static void link_out(struct lun *lun)
{
	struct lun **at = &lun->export->luns;

	while (*at != lun)
		at = &(*at)->next;
	*at = lun->next;
	lun->export->lun_count--;
}

static int lun_new(struct scsid *scsid, struct scsi_export *export, const struct lun_spec *spec, struct store_disk *disk, struct kept *kept,
		   struct lun **ret_lun, char *why)
{
	struct lun *lun = calloc(1, sizeof(*lun));
	int err = lun ? units_get(&scsid->units, disk, spec, kept, &lun->unit, why) : -ENOMEM;

	if (!err) {
		lun->export = export;
		lun->target = spec->at.target;
		lun->number = spec->at.number;
		err = scsi_bus_add(export->bus, lun->target, lun->number, lun->unit->scsi);
		if (err)
			units_put(&scsid->units, lun->unit);
	}
	if (!err) {
		disk_use(&scsid->store.disks, disk, &lun->unit->use);
		*ret_lun = lun;
		return 0;
	}
	free(lun);
	if (!*why)
		snprintf(why, SPEC_WHY_BYTES, "LUN %u:%u cannot be added: %s", spec->at.target, spec->at.number, strerror(-err));
	return err;
}

int luns_put(struct scsid *scsid, const struct lun_spec *spec, struct kept *kept, const struct vireo_log *log, struct lun **ret_lun,
	     char why[SPEC_WHY_BYTES])
{
	struct scsi_export *export;
	struct store_disk *disk = disks_find(&scsid->store.disks, spec->disk);
	char name[LUN_NAME_BYTES];
	struct lun *lun;
	int err;

	*why = '\0';
	if (!disk) {
		snprintf(why, SPEC_WHY_BYTES, "there is no disk '%s': add it first", spec->disk);
		return -ENOENT;
	}
	if (disk_changes_hands(disk->disk)) {
		snprintf(why, SPEC_WHY_BYTES, "disk '%s' has lock=running, and a LUN has its disk as long as it is there: open it with lock=on",
			 disk->spec.name);
		return -EINVAL;
	}
	export = export_find(scsid, spec->at.export, why);
	if (!export)
		return -ENOENT;
	if (lun_at(export, spec->at.target, spec->at.number)) {
		snprintf(why, SPEC_WHY_BYTES, "export '%s' has a LUN %u:%u already: choose another address",
			 export->export.spec->at.name, spec->at.target, spec->at.number);
		return -EEXIST;
	}
	err = disk_may_use(&scsid->store.disks, disk, &spec->use, why);
	if (!err)
		err = lun_new(scsid, export, spec, disk, kept, &lun, why);
	if (err)
		return err;
	link_in(lun);
	log_info(log, "%s: added: disk %s", lun_name(lun, name), disk->spec.name);
	*ret_lun = lun;
	return 0;
}

int luns_add(struct scsid *scsid, const struct lun_spec *spec, struct kept *kept, const struct vireo_log *log, struct lun **ret_lun,
	     char why[SPEC_WHY_BYTES])
{
	int err = luns_put(scsid, spec, kept, log, ret_lun, why);

	if (!err)
		tell(*ret_lun, VIREO_SCSI_UNIT_ADDED, 0, 0);
	return err;
}

/* ---- ending it ---- */

static void gone(struct vireo_letter *letter)
{
	struct lun *lun = container_of(letter, struct lun, gone);
	struct unit *unit = lun->unit;

	disk_unuse(unit->disk, &unit->use);
	units_put(&scsid_of(lun->export->export.exports->store)->units, unit);
	if (lun->removed)
		lun->removed(lun->removed_opaque);
	free(lun);
}

/* Any thread. */
static void bus_removed(void *opaque)
{
	struct lun *lun = opaque;

	lun->gone.deliver = gone;
	vireo_mailbox_post(lun->export->export.exports->drained, &lun->gone);
}

static void take_off(struct lun *lun)
{
	int err = scsi_bus_remove(lun->export->bus, lun->target, lun->number, bus_removed, lun);

	assert(!err);
	(void)err;
}

void lun_remove(struct lun *lun, const struct vireo_log *log, lun_removed_fn *removed, void *opaque)
{
	char name[LUN_NAME_BYTES];

	link_out(lun);
	lun->removed = removed;
	lun->removed_opaque = opaque;
	log_info(log, "%s: removed", lun_name(lun, name));
	tell(lun, VIREO_SCSI_UNIT_REMOVED, 0, 0);
	take_off(lun);
}

void luns_end(struct scsi_export *export)
{
	while (export->luns) {
		struct lun *lun = export->luns;

		link_out(lun);
		take_off(lun);
	}
	vireo_mailbox_deliver(export->export.exports->drained); /* with no queue, each of them has been posted by now */
}

/* ---- news ---- */

void luns_resized(struct scsid *scsid, const struct store_disk *disk)
{
	struct unit *unit = units_find(&scsid->units, disk);

	if (!unit || !scsi_unit_resized(unit->scsi))
		return;
	for (struct export *e = scsid->store.exports.first; e; e = e->next)
		for (const struct lun *lun = scsi_export_of(e)->luns; lun; lun = lun->next) {
			if (lun->unit != unit)
				continue;
			tell(lun, VIREO_SCSI_UNIT_CHANGED, CAPACITY_CHANGED);
			log_info(&e->log, "LUN %u:%u has %" PRIu64 " bytes now", lun->target, lun->number, store_disk_bytes(disk));
		}
}

/* ---- what is told of it ---- */

json_t *lun_report(const struct lun *lun)
{
	const struct unit *unit = lun->unit;
	char name[LUN_NAME_BYTES];

	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:i, s:b, s:s, s:s}", "name", lun_name(lun, name), "export",
			 lun->export->export.spec->at.name, "target", (int)lun->target, "lun", (int)lun->number, "disk",
			 unit->disk->spec.name, "size_bytes", (json_int_t)store_disk_bytes(unit->disk), "block_bytes",
			 (int)scsi_unit_block_bytes(unit->scsi), "read_only",
			 unit->use.read_only || store_disk_read_only(unit->disk), "writers", unit->use.shared ? "many" : "one",
			 "serial", *unit->serial ? unit->serial : unit->disk->spec.name);
}
