/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that are resized and closed while the daemon runs: a file system or a server may let that wait. A disk that is being resized
 * is nobody else's to resize, refresh or close meanwhile; one that is closed is in no list any more.
 */
#include "base/log.h"
#include "base/util.h"
#include "disk/disk.h"
#include "store/disks.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct disk_change {
	struct errand errand;
	struct store_disk *disk; /* closing: the thread's */
	uint64_t bytes;
	disk_changed_fn *done;
	void *opaque;
	/* Of the outcome. */
	int err;
	char why[SPEC_WHY_BYTES];
};

static struct disk_change *change_of(struct errand *errand)
{
	return container_of(errand, struct disk_change, errand);
}

static void change_free(struct errand *errand)
{
	free(change_of(errand));
}

static int change_run(struct disks *disks, struct store_disk *disk, uint64_t bytes, const struct errand_ops *ops, disk_changed_fn *done,
		      void *opaque)
{
	struct disk_change *change = calloc(1, sizeof(*change));
	int err;

	if (!change)
		return -ENOMEM;
	*change = (struct disk_change){.errand.ops = ops, .disk = disk, .bytes = bytes, .done = done, .opaque = opaque};
	err = errands_run(&disks->errands, &change->errand);
	if (err)
		free(change);
	return err;
}

/* ---- another size ---- */

static const char *resize_advice(int err)
{
	switch (-err) {
	case ENOTSUP:
		return "it has the size of what lies below: make that larger, then: disk resize NAME now";
	case EINVAL:
		return "expected a multiple of its block size";
	case EROFS:
		return "it is read-only";
	case EBUSY:
		return "another process has its lock: resize it there, then: disk resize NAME now";
	default:
		return strerror(-err);
	}
}

static void resize(struct errand *errand)
{
	struct disk_change *change = change_of(errand);

	change->err = change->bytes ? disk_resize(change->disk->disk, change->bytes) : disk_refresh(change->disk->disk);
	store_disk_put(change->disk);
}

static void resized(struct errand *errand, int err)
{
	struct disk_change *change = change_of(errand);

	if (err) { /* the disk stays as it is, if the thread is still in it */
		change->done(change->opaque, err, NULL, "the daemon is ending");
		return;
	}
	change->disk->resizing = change->disk->shrinking = false;
	if (change->err < 0)
		snprintf(change->why, sizeof(change->why), "disk '%s' cannot be resized: %s", change->disk->spec.name,
			 resize_advice(change->err));
	change->done(change->opaque, change->err < 0 ? change->err : 0, change->disk, change->why);
}

void disks_resize_aside(struct disks *disks, struct store_disk *disk, uint64_t bytes, disk_changed_fn *done, void *opaque)
{
	static const struct errand_ops ops = {.work = resize, .done = resized, .drop = change_free};
	bool smaller = bytes && bytes < store_disk_bytes(disk);
	char why[SPEC_WHY_BYTES];
	int err = 0;

	if (disk->resizing) {
		snprintf(why, sizeof(why), "disk '%s' is being resized: try again when that is done", disk->spec.name);
		err = -EBUSY;
	} else if (smaller && disk->users) {
		snprintf(why, sizeof(why), "disk '%s' would become smaller under %u %ss: remove them first", disk->spec.name,
			 disk->users, disks->user_called);
		err = -EBUSY;
	} else {
		store_disk_get(disk);
		err = change_run(disks, disk, bytes, &ops, done, opaque);
		if (err)
			store_disk_put(disk);
		disk->resizing = !err;
		disk->shrinking = !err && smaller;
		snprintf(why, sizeof(why), "too much else is being done for disks, or there is no memory: try again later");
	}
	if (err)
		done(opaque, err, NULL, why);
}

/* ---- the end of one ---- */

static void close_disk(struct errand *errand)
{
	store_disk_free(change_of(errand)->disk);
}

static void closed(struct errand *errand, int err)
{
	struct disk_change *change = change_of(errand);

	change->done(change->opaque, err, NULL, "the daemon is ending");
}

static void removal_wait(struct store_disk *disk, const struct vireo_log *log, disk_changed_fn *done, void *opaque)
{
	char why[SPEC_WHY_BYTES];

	if (!disk->removal.done) {
		disk->removal.done = done;
		disk->removal.opaque = opaque;
		disk->removal.log = *log;
		return;
	}
	snprintf(why, sizeof(why), "disk '%s' is being removed: its lock is not given back yet", disk->spec.name);
	done(opaque, -EBUSY, NULL, why);
}

void disks_remove_aside(struct disks *disks, struct store_disk *disk, const struct vireo_log *log, disk_changed_fn *done, void *opaque)
{
	static const struct errand_ops ops = {.work = close_disk, .done = closed, .drop = change_free};
	char why[SPEC_WHY_BYTES];

	if (disk->users || disk->resizing) {
		if (disk->users)
			snprintf(why, sizeof(why), "disk '%s' is used by %u %ss: remove them first", disk->spec.name, disk->users,
				 disks->user_called);
		else
			snprintf(why, sizeof(why), "disk '%s' is being resized: try again when that is done", disk->spec.name);
		done(opaque, -EBUSY, NULL, why);
		return;
	}
	if (disk->holding) { /* in a moment, as a rule */
		removal_wait(disk, log, done, opaque);
		return;
	}
	disks_unlink(disks, disk);
	log_info(log, "%s: closed", disk->spec.name);
	if (store_disk_leave(disk))
		done(opaque, 0, NULL, ""); /* who looks at its size closes it */
	else if (change_run(disks, disk, 0, &ops, done, opaque)) {
		store_disk_free(disk); /* there is no thread: then here */
		done(opaque, 0, NULL, "");
	}
}
