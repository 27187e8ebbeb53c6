/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks that are added while the daemon runs: to open one may wait, for a lock, a file system or a server. */
#include "base/util.h"
#include "daemon/errand.h"
#include "disk/disk.h"
#include "store/disks.h"
#include "store/sizes.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct disk_opening {
	struct errand errand;
	struct disk_opening *next; /* of those that are under way */
	struct disks *disks;
	disk_opened_fn *done;
	void *opaque;
	struct vireo_log log;
	char name[SPEC_NAME_BYTES];
	/* Of the outcome. */
	struct store_disk *disk; /* NULL: it has been taken over */
	int err;
	char why[SPEC_WHY_BYTES];
};

static struct disk_opening *opening_of(struct errand *errand)
{
	return container_of(errand, struct disk_opening, errand);
}

static void opening_free(struct errand *errand)
{
	struct disk_opening *opening = opening_of(errand);

	if (opening->disk)
		store_disk_free(opening->disk);
	free(opening);
}

static void open_disk(struct errand *errand)
{
	struct disk_opening *opening = opening_of(errand);

	opening->err = store_disk_open(opening->disk, NULL, opening->why);
}

static void opened(struct errand *errand, int err)
{
	struct disk_opening *opening = opening_of(errand), **at = &opening->disks->opening;
	struct store_disk *disk;

	while (*at != opening)
		at = &(*at)->next;
	*at = opening->next;
	if (err) {
		opening->done(opening->opaque, err, NULL, "the daemon is ending");
		return;
	}
	disk = opening->disk;
	if (!opening->err) {
		opening->disk = NULL;
		disks_link(opening->disks, disk, &opening->log);
	}
	opening->done(opening->opaque, opening->err, disk, opening->why);
}

static const struct errand_ops opening_ops = {.work = open_disk, .done = opened, .drop = opening_free};

int disks_aside_init(struct disks *disks, struct loop *loop)
{
	int err = errands_init(&disks->errands, loop, DISKS_ASIDE_MAX);

	if (!err)
		err = errands_init(&disks->holds, loop, DISKS_HOLDS_MAX);
	return err ? err : sizes_init(disks, loop);
}

void disks_aside_end(struct disks *disks)
{
	disks->ending = true;
	errands_fini(&disks->errands);
	errands_fini(&disks->holds);
}

static bool is_being_opened(const struct disks *disks, const char *name)
{
	for (const struct disk_opening *o = disks->opening; o; o = o->next)
		if (!strcmp(o->name, name))
			return true;
	return false;
}

static int opening_run(struct disks *disks, const struct store_spec *spec, const struct vireo_log *log, disk_opened_fn *done,
		       void *opaque)
{
	struct disk_opening *opening = calloc(1, sizeof(*opening));
	int err = -ENOMEM;

	if (!opening)
		return err;
	*opening = (struct disk_opening){.errand.ops = &opening_ops, .disks = disks, .done = done, .opaque = opaque, .log = *log};
	memcpy(opening->name, spec->name, sizeof(opening->name));
	opening->disk = store_disk_new(disks, spec);
	if (opening->disk)
		err = errands_run(&disks->errands, &opening->errand);
	if (err) {
		opening_free(&opening->errand);
		return err;
	}
	opening->next = disks->opening;
	disks->opening = opening;
	return 0;
}

void disks_add_aside(struct disks *disks, const struct store_spec *spec, const struct vireo_log *log, disk_opened_fn *done,
		     void *opaque)
{
	char why[SPEC_WHY_BYTES];

	if (disks_find(disks, spec->name) || is_being_opened(disks, spec->name)) {
		snprintf(why, sizeof(why), "there is a disk '%s' already: choose another name", spec->name);
		done(opaque, -EEXIST, NULL, why);
	} else if (opening_run(disks, spec, log, done, opaque)) {
		done(opaque, -EAGAIN, NULL, "too many disks are being opened, or there is no memory: try again later");
	}
}
