/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/takeover.h"
#include "base/fd.h"
#include "daemon/handover.h"
#include "daemon/landlock.h"
#include "handover.h"
#include "luns.h"
#include "scsid.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* What is told is anybody's bytes. Nothing of it is looked at by a command before all of it has been taken. */

static int refuse(char why[SPEC_WHY_BYTES], const char *text)
{
	snprintf(why, SPEC_WHY_BYTES, "%s", text);
	return -EINVAL;
}

static const char *word(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

/* ---- units, with their LUNs ---- */

/* No driver is told: it knows them. */
static int lun_take(struct scsid *scsid, const char *disk, const json_t *told, struct kept *kept, char why[SPEC_WHY_BYTES])
{
	struct lun_spec spec;
	struct lun *lun;
	int err = word(told, "spec") ? lun_spec_parse(word(told, "spec"), &spec, why) : refuse(why, "a LUN without its SPEC");

	if (!err && strcmp(spec.disk, disk) != 0)
		err = refuse(why, "a LUN is that of another disk");
	return err ? err : luns_put(scsid, &spec, kept, &scsid->store.daemon.log, &lun, why);
}

static int unit_make(struct scsid *scsid, const json_t *told, struct kept *kept, char why[SPEC_WHY_BYTES])
{
	const json_t *luns = json_object_get(told, "luns");
	const char *disk = word(told, "disk");
	const struct store_disk *known = disk ? disks_find(&scsid->store.disks, disk) : NULL;
	int err = 0;

	if (!known || units_find(&scsid->units, known) || !json_array_size(luns))
		return refuse(why, "a unit without a disk or without LUNs, or one that was there already");
	for (size_t i = 0; i < json_array_size(luns) && !err; i++)
		err = lun_take(scsid, disk, json_array_get(luns, i), kept, why);
	return err;
}

/* The lock is of the file that this process would lock: both have it, and it is never free. */
static int lock_take(const struct scsid *scsid, const struct takeover *takeover, const char *disk, struct kept *kept,
		     char why[SPEC_WHY_BYTES])
{
	char *path = disk ? units_kept_path(&scsid->units, disk) : NULL;
	struct parcel parcel;
	int err = takeover_next(takeover, HANDOVER_PART, &parcel);

	if (err) {
		free(path);
		return err;
	}
	if (path && parcel.fd_count == 1 && !parcel.bytes)
		err = kept_lock_look(path, parcel.fds[0]);
	else
		err = -EINVAL;
	if (!err) {
		kept->lock_fd = parcel.fds[0];
		parcel.fds[0] = -1;
	} else {
		snprintf(why, SPEC_WHY_BYTES, "what is handed over is not the lock of the reservations of disk '%.63s'", disk ? disk : "");
	}
	parcel_free(&parcel);
	free(path);
	return err ? takeover_complain(takeover, why) : 0;
}

static int unit_take(struct scsid *scsid, const struct takeover *takeover, const json_t *told)
{
	struct kept kept = KEPT_NONE;
	char why[SPEC_WHY_BYTES] = "";
	int err = 0;

	if (json_is_true(json_object_get(told, "lock")))
		err = lock_take(scsid, takeover, word(told, "disk"), &kept, why);
	if (err)
		return err;
	err = unit_make(scsid, told, &kept, why);
	kept_drop(&kept);
	return err ? takeover_complain(takeover, why) : 0;
}

/* ---- what they hold: when all are there, since each one that is added is told to others ---- */

static int lun_fill(const struct scsid *scsid, const json_t *told)
{
	char why[SPEC_WHY_BYTES];
	struct lun_spec spec;
	int err = lun_spec_parse(word(told, "spec"), &spec, why);
	const struct lun *lun = err ? NULL : luns_find(scsid, &spec.at, why);

	return lun && word(told, "holds") ? scsi_lun_load(lun->export->bus, lun->target, lun->number, word(told, "holds")) : -EINVAL;
}

static int unit_fill(const struct scsid *scsid, const struct takeover *takeover, const json_t *told)
{
	const struct store_disk *disk = disks_find(&scsid->store.disks, word(told, "disk"));
	const json_t *luns = json_object_get(told, "luns");
	char why[SPEC_WHY_BYTES];
	int err = word(told, "holds") ? scsi_unit_load(units_find(&scsid->units, disk)->scsi, word(told, "holds")) : -EINVAL;

	for (size_t i = 0; i < json_array_size(luns) && !err; i++)
		err = lun_fill(scsid, json_array_get(luns, i));
	if (!err)
		return 0;
	snprintf(why, sizeof(why), "what disk '%.63s' holds as a logical unit cannot be understood: %s", disk->spec.name, strerror(-err));
	return takeover_complain(takeover, why);
}

/* ---- all of it ---- */

static bool folder_barred(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool barred = fd < 0 && errno == EACCES;

	fd_close(&fd);
	return barred;
}

static int state_take(struct scsid *scsid, const struct takeover *takeover, const json_t *more)
{
	const json_t *state = json_object_get(more, "state");
	const char *folder = json_string_value(state);
	char why[SPEC_WHY_BYTES];

	if (!json_is_array(json_object_get(more, "units")) || (!json_is_null(state) && (!folder || *folder != '/')))
		return takeover_complain(takeover, "it does not say which logical units it has, or where it keeps their reservations");
	if (folder && landlock_in_force() && folder_barred(folder)) {
		snprintf(why, sizeof(why), "it keeps reservations in '%.100s': --beneath is to name that folder", folder);
		return takeover_complain(takeover, why);
	}
	scsid->state_taken = folder ? strdup(folder) : NULL;
	if (folder && !scsid->state_taken)
		return takeover_complain(takeover, strerror(ENOMEM));
	scsid_units_begin(scsid, scsid->state_taken);
	return 0;
}

int scsid_more_take(struct store *store, const struct takeover *takeover, const json_t *more)
{
	struct scsid *scsid = scsid_of(store);
	const json_t *units = json_object_get(more, "units");
	int err = state_take(scsid, takeover, more);

	for (size_t i = 0; i < json_array_size(units) && !err; i++)
		err = unit_take(scsid, takeover, json_array_get(units, i));
	for (size_t i = 0; i < json_array_size(units) && !err; i++)
		err = unit_fill(scsid, takeover, json_array_get(units, i));
	return err;
}
