/* SPDX-License-Identifier: BSD-3-Clause */
/* LUNs that are added: what was kept of a disk's reservations is had by a thread first, for its file system may let that wait. */
#include "luns.h"
#include "scsid.h"
#include <errno.h>
#include <stdlib.h>

struct lun_adding {
	struct scsid *scsid;
	struct lun_spec spec;
	struct vireo_log log;
	char *path;
	lun_added_fn *done;
	void *opaque;
};

/* It has no unit yet: that one would have been told what was kept. */
static bool first_of_disk(const struct scsid *scsid, const struct lun_spec *spec)
{
	const struct store_disk *disk = disks_find(&scsid->store.disks, spec->disk);

	return disk && !units_find(&scsid->units, disk);
}

static void adding_free(struct lun_adding *adding)
{
	adding->scsid->lun_adds--;
	free(adding->path);
	free(adding);
}

/* Whatever has come and gone meanwhile, luns_add() finds it. */
static void kept_taken(void *opaque, int err, struct kept *kept)
{
	struct lun_adding *adding = opaque;
	char why[SPEC_WHY_BYTES] = "the daemon is ending";
	struct lun *lun = NULL;

	if (err != -ECANCELED && (!err || !first_of_disk(adding->scsid, &adding->spec)))
		err = luns_add(adding->scsid, &adding->spec, kept, &adding->log, &lun, why);
	else if (err != -ECANCELED)
		units_kept_explain(adding->path, err, why);
	kept_drop(kept);
	adding->done(adding->opaque, err, lun, why);
	adding_free(adding);
}

static const struct errand *take(struct lun_adding *adding)
{
	const struct errand *errand = NULL;

	if (!kept_take_aside(adding->scsid->units.errands, adding->path, kept_taken, adding, &errand))
		return errand;
	adding->done(adding->opaque, -EAGAIN, NULL, "too much else is being done for disks, or there is no memory: try again later");
	adding_free(adding);
	return NULL;
}

const struct errand *luns_add_aside(struct scsid *scsid, const struct lun_spec *spec, const struct vireo_log *log, lun_added_fn *done,
				    void *opaque)
{
	struct lun_adding *adding = malloc(sizeof(*adding));

	if (!adding) {
		done(opaque, -ENOMEM, NULL, "out of memory");
		return NULL;
	}
	scsid->lun_adds++;
	*adding = (struct lun_adding){.scsid = scsid, .spec = *spec, .log = *log, .done = done, .opaque = opaque};
	if (first_of_disk(scsid, spec))
		adding->path = units_kept_path(&scsid->units, spec->disk);
	if (adding->path)
		return take(adding);
	kept_taken(adding, 0, &KEPT_NONE);
	return NULL;
}
