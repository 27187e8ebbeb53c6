/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/holding.h"
#include "base/util.h"
#include "daemon/errand.h"
#include "daemon/handover.h"
#include "disk/disk.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>

struct disk_hold {
	struct errand errand;
	struct store *store;
	struct store_disk *disk;
	bool take;
	int err; /* of the outcome */
};

static struct disk_hold *hold_of(struct errand *errand)
{
	return container_of(errand, struct disk_hold, errand);
}

static void hold_work(struct errand *errand)
{
	struct disk_hold *hold = hold_of(errand);

	if (hold->take)
		hold->err = disk_hold(hold->disk->disk);
	else
		disk_let_go(hold->disk->disk);
	store_disk_put(hold->disk);
}

static void hold_drop(struct errand *errand)
{
	free(hold_of(errand));
}

/* Whoever wanted to remove it meanwhile has waited for us. The disk may be gone afterwards. */
static void removal_go(const struct disk_hold *hold, int err)
{
	struct store_disk *disk = hold->disk;
	const struct vireo_log log = disk->removal.log;
	disk_changed_fn *done = disk->removal.done;

	disk->removal.done = NULL;
	if (done && err)
		done(disk->removal.opaque, err, NULL, "the daemon is ending");
	else if (done)
		disks_remove_aside(&hold->store->disks, disk, &log, done, disk->removal.opaque);
}

static void awaited_end(const struct store *store, struct store_disk *disk)
{
	bool awaited = disk->awaited;

	disk->awaited = false;
	if (awaited)
		handover_rests(store->handover);
}

static void awaited_look(const struct store *store, struct store_disk *disk)
{
	if (!disk->held && !disk->holding)
		awaited_end(store, disk);
}

static void hold_done(struct errand *errand, int err)
{
	struct disk_hold *hold = hold_of(errand);
	struct store_disk *disk = hold->disk;

	if (!err) {
		disk->holding = false;
		disk->held = hold->take && !hold->err;
		hold->store->kind->disk_held(hold->store, disk, hold->err);
		disk_hold_look(hold->store, disk);
		awaited_look(hold->store, disk);
	}
	removal_go(hold, err);
}

static int hold_run(struct store *store, struct store_disk *disk, bool take)
{
	static const struct errand_ops ops = {.work = hold_work, .done = hold_done, .drop = hold_drop};
	struct disk_hold *hold = calloc(1, sizeof(*hold));
	int err;

	if (!hold)
		return -ENOMEM;
	*hold = (struct disk_hold){.errand.ops = &ops, .store = store, .disk = disk, .take = take};
	store_disk_get(disk);
	err = errands_run(&store->disks.holds, &hold->errand);
	if (err) {
		store_disk_put(disk);
		free(hold);
	}
	disk->holding = !err;
	return err;
}

int disk_hold_ask(struct store *store, struct store_disk *disk)
{
	int err = 0;

	if (disk->held || !disk_changes_hands(disk->disk))
		return 0;
	if (!disk->holding && !store->disks.ending)
		err = hold_run(store, disk, true);
	return err ? err : -EINPROGRESS;
}

void disk_hold_look(struct store *store, struct store_disk *disk)
{
	if (!disk->held || disk->holding || store->disks.ending || store->kind->disk_wanted(store, disk))
		return;
	disk->held = false;
	if (!hold_run(store, disk, false))
		return;
	disk_let_go(disk->disk); /* there is no thread: then here */
	awaited_look(store, disk);
}

void disk_holds_await(struct store *store)
{
	for (struct store_disk *d = store->disks.first; d; d = d->next) {
		d->awaited = d->held || d->holding;
		if (d->awaited)
			handover_waits(store->handover);
	}
}

void disk_holds_given_up(struct store *store)
{
	for (struct store_disk *d = store->disks.first; d; d = d->next)
		awaited_end(store, d);
}
