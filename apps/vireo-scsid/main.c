/* SPDX-License-Identifier: BSD-3-Clause */
/* vireo-scsid: exit codes: 0 ended by a signal, 1 the environment failed, 2 bad usage. Most of it is store/store.h's. */
#include "base/log.h"
#include "ctl/scsid_commands.h"
#include "lun_commands.h"
#include "luns.h"
#include "scsid.h"
#include "store/commands.h"
#include <sys/stat.h>
#include <errno.h>
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

static int luns_open(struct store *store)
{
	struct scsid *scsid = scsid_of(store);
	const struct scsid_options *options = scsid_options_of(scsid);
	int err = state_check(scsid);

	scsid->units = (struct units){
		.state = options->state,
		.errands = &store->disks.errands,
		.mailbox = store->exports.drained,
		.log = store->daemon.log,
	};
	for (unsigned i = 0; i < options->lun_count && !err && !daemon_ending(&store->daemon); i++) {
		char why[SPEC_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];
		struct lun *lun;

		err = luns_add(scsid, &options->luns[i], &store->daemon.log, &lun, why);
		if (err)
			log_error(&store->daemon.log, "%s%s", settings_where(&options->store.run.daemon, options->lun_lines[i], where),
				  why);
	}
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
	scsid_options_free(&options);
	return ret;
}
