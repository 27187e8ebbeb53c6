/* SPDX-License-Identifier: BSD-3-Clause */
/* vireo-scsid: exit codes: 0 ended by a signal, 1 the environment failed, 2 bad usage. Most of it is store/store.h's. */
#include "base/log.h"
#include "ctl/scsid_commands.h"
#include "daemon/errand.h"
#include "handover.h"
#include "lun_commands.h"
#include "luns.h"
#include "scsid.h"
#include "store/commands.h"
#include <sys/stat.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what it has beside disks and exports ---- */

static int state_check(const struct scsid *scsid)
{
	const char *folder = scsid_options_of(scsid)->state;
	struct stat found;
	int err = 0;

	if (!folder)
		return 0;
	if (stat(folder, &found))
		err = -errno;
	else if (!S_ISDIR(found.st_mode))
		err = -ENOTDIR;
	if (err)
		log_error(&scsid->store.daemon.log, "--state %s: %s: make that folder, for who runs this", folder, strerror(-err));
	return err;
}

static bool ending(void *opaque)
{
	struct store *store = opaque;

	return daemon_ending(&store->daemon);
}

static void lun_opened(void *opaque, int err, const struct lun *lun, const char *why)
{
	struct scsid *scsid = opaque;

	scsid->start_err = err;
	if (err != 0 && err != -ECANCELED)
		snprintf(scsid->start_why, sizeof(scsid->start_why), "%s", why);
}

/* Nobody is served yet: the loop stands still, and a file system that hangs lets the end be asked for all the same. */
static int lun_open(struct scsid *scsid, unsigned index)
{
	struct store *store = &scsid->store;
	const struct scsid_options *options = scsid_options_of(scsid);
	char where[SETTINGS_WHERE_BYTES];
	const struct errand *errand = luns_add_aside(scsid, &options->luns[index], &store->daemon.log, lun_opened, scsid);

	if (errand && errands_wait(&store->disks.errands, errand, ending, store))
		return 0;
	if (scsid->start_err)
		log_error(&store->daemon.log, "%s%s", settings_where(&options->store.run.daemon, options->lun_lines[index], where),
			  scsid->start_why);
	return scsid->start_err;
}

static int luns_open(struct store *store)
{
	struct scsid *scsid = scsid_of(store);
	const struct scsid_options *options = scsid_options_of(scsid);
	int err;

	if (options->store.run.daemon.takeover)
		return 0; /* they are there: takeover.c */
	err = state_check(scsid);
	scsid_units_begin(scsid, options->state);
	for (unsigned i = 0; i < options->lun_count && !err && !daemon_ending(&store->daemon); i++)
		err = lun_open(scsid, i);
	return err;
}

static void disk_resized(struct store *store, const struct store_disk *disk)
{
	luns_resized(scsid_of(store), disk);
}

/* Queues of a bus have queues at all its disks: those are opened anew together. */
static void disk_layered(struct store *store, const struct store_disk *disk)
{
	for (struct export *e = store->exports.first; e; e = e->next)
		for (const struct lun *lun = scsi_export_of(e)->luns; lun; lun = lun->next)
			if (lun->unit->disk == disk) {
				export_queues_reopen(e);
				break;
			}
}

static const struct ctl_command commands[] = {CTL_SCSID_COMMANDS(CTL_ROW_SERVE)};

static const struct store_kind kind = {
	.name = "scsid",
	.program = "vireo-scsid",
	.worker = "scsi-worker",
	.disk_user = "LUN",
	.exports = &scsi_export_kind,
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.disk_resized = disk_resized,
	.disk_layered = disk_layered,
	.open = luns_open,
	.more = &scsid_more,
};

int main(int argc, char **argv)
{
	struct scsid_options options;
	struct scsid scsid = {0};
	int ret;

	switch (scsid_options_parse(argc, argv, stdout, stderr, &options)) {
	case SETTINGS_DONE:
		return 0;
	case SETTINGS_BAD:
		return 2;
	case SETTINGS_LOST:
		return 1;
	case SETTINGS_RUN:
		break;
	}
	ret = store_run(&scsid.store, &kind, &options.store);
	free(scsid.state_taken);
	scsid_options_free(&options);
	return ret;
}
