/* SPDX-License-Identifier: BSD-3-Clause */
#include "handover.h"
#include "daemon/handover.h"
#include "luns.h"
#include "scsid.h"
#include <stdlib.h>

/* ---- what cannot be handed over ---- */

static unsigned luns_of(const struct store *store, const struct unit *unit)
{
	unsigned count = 0;

	for (const struct export *e = store->exports.first; e; e = e->next)
		for (const struct lun *lun = scsi_export_of(e)->luns; lun; lun = lun->next)
			count += lun->unit == unit;
	return count;
}

/* Those that are being removed are in no list. */
static const char *unit_refused(const struct store *store, const struct unit *unit, char why[PARSE_WHY_BYTES])
{
	const char *problem = NULL;

	if (luns_of(store, unit) != unit->luns)
		problem = "a LUN of it is being removed";
	else if (unit->keeper.storing || unit->keeper.waiting)
		problem = "its reservations are being stored";
	if (problem)
		snprintf(why, PARSE_WHY_BYTES, "disk '%.63s' cannot be handed over now: %s: try again", unit->disk->spec.name, problem);
	return problem ? why : NULL;
}

/* Also functions that have been answered in the place of a disk, as queues that are held are: they have not ended. */
static const char *managing_refused(const struct export *export, char why[PARSE_WHY_BYTES])
{
	if (!scsi_export_of(export)->managing)
		return NULL;
	snprintf(why, PARSE_WHY_BYTES, "export '%.63s' cannot be handed over now: task management waits for a disk: try again",
		 export->spec->at.name);
	return why;
}

static const char *more_refused(const struct store *store, char why[PARSE_WHY_BYTES])
{
	const struct scsid *scsid = scsid_of(store);
	const char *text = scsid->lun_adds ? "a LUN is being added: try again" : NULL;

	for (const struct export *e = store->exports.first; e && !text; e = e->next)
		text = managing_refused(e, why);
	for (const struct unit *unit = scsid->units.first; unit && !text; unit = unit->next)
		text = unit_refused(store, unit, why);
	return text;
}

/* ---- to tell ---- */

/* With the name of its export, and all that was given with it. */
static json_t *lun_spec_json(const struct lun *lun)
{
	const struct unit *unit = lun->unit;
	char name[LUN_NAME_BYTES];

	return json_sprintf("%s=%s%s%s%s%s", lun_name(lun, name), unit->disk->spec.name, unit->use.read_only ? ",read-only=on" : "",
			    unit->use.shared ? ",writers=many" : "", *unit->serial ? ",serial=" : "", unit->serial);
}

static json_t *lun_json(const struct lun *lun)
{
	char *holds = scsi_lun_save(lun->export->bus, lun->target, lun->number);
	json_t *json = json_pack("{s:o, s:s}", "spec", lun_spec_json(lun), "holds", holds);

	free(holds);
	return json;
}

/* NULL: some of it could not be said. */
static json_t *luns_json(const struct store *store, const struct unit *unit)
{
	json_t *luns = json_array();
	bool said = luns;

	for (const struct export *e = store->exports.first; e && said; e = e->next)
		for (const struct lun *lun = scsi_export_of(e)->luns; lun && said; lun = lun->next)
			if (lun->unit == unit)
				said = !json_array_append_new(luns, lun_json(lun));
	if (said)
		return luns;
	json_decref(luns);
	return NULL;
}

static json_t *unit_json(const struct store *store, const struct unit *unit)
{
	char *holds = scsi_unit_save(unit->scsi);
	json_t *json = json_pack("{s:s, s:s, s:b, s:o}", "disk", unit->disk->spec.name, "holds", holds, "lock",
				 unit->keeper.kept.lock_fd >= 0, "luns", luns_json(store, unit));

	free(holds);
	return json;
}

static json_t *more_tell(const struct store *store)
{
	const struct scsid *scsid = scsid_of(store);
	json_t *units = json_array();
	bool said = units;

	for (const struct unit *unit = scsid->units.first; unit && said; unit = unit->next)
		said = !json_array_append_new(units, unit_json(store, unit));
	if (said)
		return json_pack("{s:s?, s:o}", "state", scsid->units.state, "units", units);
	json_decref(units);
	return NULL;
}

static int more_give(const struct store *store, struct handover *handover)
{
	int err = 0;

	for (const struct unit *unit = scsid_of(store)->units.first; unit && !err; unit = unit->next)
		if (unit->keeper.kept.lock_fd >= 0)
			err = handover_give(handover, HANDOVER_PART, NULL, 0, &unit->keeper.kept.lock_fd, 1);
	return err;
}

const struct store_more scsid_more = {
	.version = SCSID_HANDOVER_VERSION,
	.refused = more_refused,
	.tell = more_tell,
	.give = more_give,
	.take = scsid_more_take,
};
