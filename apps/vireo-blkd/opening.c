/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that are added while the daemon runs. To open one may wait, for a lock or a file system, so a thread does it, for which nobody waits: as
 * soon as it has said that it is ready, the control thread takes the disk over. Whoever of the two lets go last frees what is left,
 * so that a thread that hangs when the daemon ends harms nobody.
 */
#include "base/log.h"
#include "base/loop.h"
#include "daemon/aside.h"
#include "disk/disk.h"
#include "disks.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct disk_opening {
	struct disk_opening *next;
	disk_opened_fn *done;
	void *opaque;
	struct vireo_log log;
	/* The thread's, until it is ready; then the control thread's. */
	struct blkd_disk *disk; /* NULL: it has been taken over */
	int err;
	char why[SPEC_WHY_BYTES];
	/* Atomic. */
	unsigned refs;
	bool ready;
};

static void opening_put(struct disk_opening *opening)
{
	if (__atomic_sub_fetch(&opening->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (opening->disk)
		blkd_disk_free(opening->disk);
	free(opening);
}

static void open_disk(void *argument)
{
	struct disk_opening *opening = argument;

	opening->err = blkd_disk_open(opening->disk, opening->why);
	__atomic_store_n(&opening->ready, true, __ATOMIC_RELEASE);
	opening_put(opening);
}

static void opened(struct disks *disks, struct disk_opening *opening)
{
	struct blkd_disk *disk = opening->disk;

	if (!opening->err) {
		opening->disk = NULL;
		disks_link(disks, disk, &opening->log);
	}
	opening->done(opening->opaque, opening->err, disk, opening->why);
	opening_put(opening);
}

static void look(void *opaque)
{
	struct disks *disks = opaque;
	struct disk_opening **at = &disks->opening;

	while (*at) {
		struct disk_opening *opening = *at;

		if (!__atomic_load_n(&opening->ready, __ATOMIC_ACQUIRE)) {
			at = &opening->next;
			continue;
		}
		*at = opening->next;
		disks->opening_count--;
		opened(disks, opening);
		at = &disks->opening; /* `done` may have changed the list */
	}
	if (disks->opening)
		loop_timer_start(disks->timer, ASIDE_LOOK_MS);
}

int disks_aside_init(struct disks *disks, struct loop *loop)
{
	return loop_timer_new(loop, look, disks, &disks->timer);
}

void disks_aside_end(struct disks *disks)
{
	struct disk_opening *opening;

	while ((opening = disks->opening)) {
		disks->opening = opening->next;
		disks->opening_count--;
		opening->done(opening->opaque, -ECANCELED, NULL, "the daemon is ending");
		opening_put(opening);
	}
	if (disks->timer)
		loop_timer_free(&disks->timer);
}

static bool is_being_opened(const struct disks *disks, const char *name)
{
	for (const struct disk_opening *o = disks->opening; o; o = o->next)
		if (!strcmp(o->disk->spec.name, name))
			return true;
	return false;
}

static struct disk_opening *opening_new(struct disks *disks, const struct blkd_spec *spec)
{
	struct disk_opening *opening = calloc(1, sizeof(*opening));

	if (!opening)
		return NULL;
	opening->refs = 2;
	opening->disk = blkd_disk_new(disks, spec);
	if (opening->disk && !aside_run(NULL, open_disk, opening))
		return opening;
	if (opening->disk)
		blkd_disk_free(opening->disk);
	free(opening);
	return NULL;
}

void disks_add_aside(struct disks *disks, const struct blkd_spec *spec, const struct vireo_log *log, disk_opened_fn *done,
		     void *opaque)
{
	struct disk_opening *opening;
	char why[SPEC_WHY_BYTES];

	if (disks_find(disks, spec->name) || is_being_opened(disks, spec->name)) {
		snprintf(why, sizeof(why), "there is a disk '%s' already: choose another name", spec->name);
		done(opaque, -EEXIST, NULL, why);
		return;
	}
	opening = disks->opening_count < DISKS_OPENING_MAX ? opening_new(disks, spec) : NULL;
	if (!opening) {
		done(opaque, -EAGAIN, NULL, "too many disks are being opened, or there is no memory: try again later");
		return;
	}
	opening->done = done;
	opening->opaque = opaque;
	opening->log = *log;
	opening->next = disks->opening;
	disks->opening = opening;
	disks->opening_count++;
	loop_timer_start(disks->timer, ASIDE_LOOK_MS);
}
