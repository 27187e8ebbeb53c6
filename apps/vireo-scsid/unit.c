/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "scsid.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY_NAME_BYTES 40

struct unit *units_find(const struct units *units, const struct store_disk *disk)
{
	for (struct unit *unit = units->first; unit; unit = unit->next)
		if (unit->disk == disk)
			return unit;
	return NULL;
}

/* What the driver reads as the serial number. */
static const char *serial_of(const char *given, const struct store_disk *disk)
{
	return *given ? given : disk->spec.name;
}

/* FNV-1a, of what stands before the options. */
static uint64_t address_hash(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text && (*text != ',' || text[1] == ','); text++) {
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
		text += *text == ',';
	}
	return hash;
}

/*
 * By what drivers know it (VPD page 83): the same after a restart, and where a machine moves to if the disk has the same name and address there; but
 * not what another daemon's disk of that name has. A serial number that is given stands for all of it.
 */
static void identity_write(const struct store_disk *disk, const char *serial, char name[SCSI_NAME_BYTES + 1])
{
	if (*serial)
		snprintf(name, SCSI_NAME_BYTES + 1, "%s", serial);
	else
		snprintf(name, SCSI_NAME_BYTES + 1, "%.*s-%016" PRIx64, IDENTITY_NAME_BYTES, disk->spec.name,
			 address_hash(disk->spec.text));
}

/* ---- what is kept ---- */

char *units_kept_path(const struct units *units, const char *disk)
{
	char *path = NULL;

	if (!units->state || asprintf(&path, "%s/%s.reservations", units->state, disk) < 0)
		return NULL;
	return path;
}

void units_kept_explain(const char *path, int err, char why[SPEC_WHY_BYTES])
{
	if (err == -EINVAL)
		snprintf(why, SPEC_WHY_BYTES, "%.150s cannot be understood: remove it if no machine is to have reserved the disk", path);
	else if (err == -ESTALE)
		snprintf(why, SPEC_WHY_BYTES,
			 "%.120s is of a disk with another serial= or address: remove it if no machine is to have reserved this one", path);
	else if (err == -EBUSY)
		snprintf(why, SPEC_WHY_BYTES,
			 "another process keeps %.150s: give the disk another name, or one of the two daemons another --state", path);
	else
		snprintf(why, SPEC_WHY_BYTES, "%.150s: %s: it holds the reservations of the disk", path, strerror(-err));
}

/* Without its lock, nothing is kept: somebody else may do that. */
static int keeper_open(const struct units *units, struct unit *unit, struct kept *kept)
{
	struct keeper *keeper = &unit->keeper;

	keeper->errands = units->errands;
	keeper->mailbox = units->mailbox;
	keeper->log = units->log;
	keeper->kept = KEPT_NONE;
	if (!units->state)
		return 0;
	if (kept->lock_fd < 0)
		return -EAGAIN;
	keeper->path = units_kept_path(units, unit->disk->spec.name);
	if (!keeper->path)
		return -ENOMEM;
	keeper->kept = *kept;
	*kept = KEPT_NONE;
	return 0;
}

/* ---- units ---- */

void scsid_units_begin(struct scsid *scsid, const char *state)
{
	struct store *store = &scsid->store;

	scsid->units = (struct units){
		.state = state,
		.errands = &store->disks.errands,
		.mailbox = store->exports.drained,
		.log = store->daemon.log,
	};
}

static void unit_free(struct unit *unit)
{
	scsi_unit_free(unit->scsi);
	kept_drop(&unit->keeper.kept);
	free(unit->keeper.path);
	free(unit);
}

static int unit_open(const struct units *units, struct unit *unit, struct kept *kept, char *why)
{
	char name[SCSI_NAME_BYTES + 1], serial[SCSI_SERIAL_BYTES + 1];
	struct scsi_unit_config config = {
		.disk = unit->disk->disk,
		.name = name,
		.serial = serial,
		.read_only = unit->use.read_only,
		.opaque = &unit->keeper,
	};
	struct disk_info info;
	int err;

	disk_info_get(unit->disk->disk, &info);
	if (info.zones.zone_bytes) {
		snprintf(why, SPEC_WHY_BYTES, "disk '%s' has zones, and no LUN has: export it by vireo-blkd", unit->disk->spec.name);
		return -EINVAL;
	}
	err = keeper_open(units, unit, kept);
	if (err)
		return err;
	identity_write(unit->disk, unit->serial, name);
	snprintf(serial, sizeof(serial), "%.*s", (int)SCSI_SERIAL_BYTES, serial_of(unit->serial, unit->disk));
	config.reservations = unit->keeper.kept.text;
	config.keep = unit->keeper.path ? keeper_keep : NULL;
	err = scsi_unit_new(&config, &unit->scsi);
	if ((err == -EINVAL || err == -ESTALE) && unit->keeper.kept.text)
		units_kept_explain(unit->keeper.path, err, why);
	free(unit->keeper.kept.text);
	unit->keeper.kept.text = NULL;
	return err;
}

static int unit_new(struct units *units, struct store_disk *disk, const struct lun_spec *spec, struct kept *kept, struct unit **ret_unit,
		    char *why)
{
	struct unit *unit = calloc(1, sizeof(*unit));
	int err = -ENOMEM;

	if (unit) {
		unit->disk = disk;
		unit->keeper.kept = KEPT_NONE;
		unit->use = spec->use;
		memcpy(unit->serial, spec->serial, sizeof(unit->serial));
		err = unit_open(units, unit, kept, why);
	}
	if (!err) {
		unit->next = units->first;
		units->first = unit;
		*ret_unit = unit;
		return 0;
	}
	if (!*why)
		snprintf(why, SPEC_WHY_BYTES, "disk '%s' cannot be shown: %s", disk->spec.name, strerror(-err));
	if (unit)
		unit_free(unit);
	return err;
}

/* Multipath software takes two disks of one serial number for two ways to one disk. NULL: no other one has it. */
static const struct unit *serial_taken(const struct units *units, const char *serial)
{
	for (const struct unit *unit = units->first; unit; unit = unit->next)
		if (!strcmp(serial_of(unit->serial, unit->disk), serial))
			return unit;
	return NULL;
}

static bool serial_free(const struct units *units, const struct store_disk *disk, const struct lun_spec *spec, char *why)
{
	const char *serial = serial_of(spec->serial, disk);
	const struct unit *other = serial_taken(units, serial);

	if (other)
		snprintf(why, SPEC_WHY_BYTES,
			 "disks '%s' and '%s' would both have serial %s, and drivers would take them for one: give each its own serial=",
			 other->disk->spec.name, disk->spec.name, serial);
	return !other;
}

int units_get(struct units *units, struct store_disk *disk, const struct lun_spec *spec, struct kept *kept, struct unit **ret_unit,
	      char why[SPEC_WHY_BYTES])
{
	struct unit *unit = units_find(units, disk);
	int err = 0;

	if (unit && (unit->use.read_only != spec->use.read_only || strcmp(unit->serial, spec->serial) != 0)) {
		snprintf(why, SPEC_WHY_BYTES, "another LUN shows disk '%s' with other words: give both the same read-only= and serial=",
			 disk->spec.name);
		return -EINVAL;
	}
	if (!unit && !serial_free(units, disk, spec, why))
		return -EINVAL;
	if (!unit)
		err = unit_new(units, disk, spec, kept, &unit, why);
	if (err)
		return err;
	unit->luns++;
	*ret_unit = unit;
	return 0;
}

void units_put(struct units *units, struct unit *unit)
{
	struct unit **at = &units->first;

	if (--unit->luns)
		return;
	while (*at != unit)
		at = &(*at)->next;
	*at = unit->next;
	unit_free(unit);
}
