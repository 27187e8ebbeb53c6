/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations: who is kept out (SPC-4, 5.13; RESERVE and RELEASE: SPC-2). Whenever they change it is worked
 * out for each lun of the unit what it is kept from, and a command looks at that word alone.
 */
#include "scsi/internal.h"

struct scsi_registrant *scsi_registrant(struct scsi_reservations *r, const struct scsi_nexus *nexus)
{
	for (unsigned i = 0; i < r->count; i++)
		if (nexus_same(&r->registrants[i].nexus, nexus))
			return &r->registrants[i];
	return NULL;
}

static bool registered(const struct scsi_reservations *r, const struct scsi_nexus *nexus)
{
	for (unsigned i = 0; i < r->count; i++)
		if (nexus_same(&r->registrants[i].nexus, nexus))
			return true;
	return false;
}

bool scsi_holds(const struct scsi_reservations *r, const struct scsi_nexus *nexus)
{
	if (!r->type)
		return false;
	return reservation_all_registrants(r->type) ? registered(r, nexus) : nexus_same(&r->holder, nexus);
}

static unsigned persistent_bars(const struct scsi_reservations *r, const struct scsi_nexus *nexus)
{
	bool exclusive = r->type == RESERVE_EXCLUSIVE || r->type == RESERVE_EXCLUSIVE_REGISTRANTS || r->type == RESERVE_EXCLUSIVE_ALL;

	if (!r->type || scsi_holds(r, nexus) || (reservation_registrants(r->type) && registered(r, nexus)))
		return 0;
	return exclusive ? BAR_READ | BAR_WRITE : BAR_WRITE;
}

unsigned scsi_bars_of(const struct scsi_unit *unit, const struct scsi_lun *lun)
{
	const struct scsi_reservations *r = &unit->reservations;

	if (r->legacy)
		return nexus_same(&r->legacy_holder, &lun->nexus) ? 0 : BAR_LEGACY;
	return persistent_bars(r, &lun->nexus);
}

void scsi_bars_apply(struct scsi_unit *unit)
{
	for (struct scsi_lun *lun = unit->luns; lun; lun = lun->next_of_unit)
		__atomic_store_n(&lun->barred, scsi_bars_of(unit, lun), __ATOMIC_RELAXED);
}

/* ---- RESERVE and RELEASE ---- */

void scsi_release_legacy(struct scsi_unit *unit, const struct scsi_nexus *nexus)
{
	struct scsi_reservations *r = &unit->reservations;

	if (!r->legacy || (nexus && !nexus_same(&r->legacy_holder, nexus)))
		return;
	r->legacy = false;
	scsi_bars_apply(unit);
}

static bool reserve_locked(struct scsi_unit *unit, const struct scsi_nexus *nexus)
{
	struct scsi_reservations *r = &unit->reservations;

	if (r->count || r->type || (r->legacy && !nexus_same(&r->legacy_holder, nexus)))
		return false;
	r->legacy = true;
	r->legacy_holder = *nexus;
	scsi_bars_apply(unit);
	return true;
}

/* Not where there are persistent ones (SPC-2, 5.5.1). */
void scsi_do_reserve(struct scsi_task *task)
{
	struct scsi_unit *unit = unit_of(task);
	bool got;

	pthread_mutex_lock(&unit->lock);
	got = reserve_locked(unit, &task->path->lun->nexus);
	pthread_mutex_unlock(&unit->lock);
	scsi_end_status(task, got ? SCSI_GOOD : SCSI_CONFLICT);
}

/* Of what somebody else has it changes nothing, and that is no error. */
void scsi_do_release(struct scsi_task *task)
{
	struct scsi_unit *unit = unit_of(task);
	bool conflict;

	pthread_mutex_lock(&unit->lock);
	conflict = unit->reservations.count;
	scsi_release_legacy(unit, &task->path->lun->nexus);
	pthread_mutex_unlock(&unit->lock);
	scsi_end_status(task, conflict ? SCSI_CONFLICT : SCSI_GOOD);
}
