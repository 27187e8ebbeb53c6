/* SPDX-License-Identifier: BSD-3-Clause */
/* vireo-blkd: exit codes: 0 ended by a signal, 1 the environment failed, 2 bad usage. All else is store/store.h's. */
#include "blk_export.h"
#include "ctl/blkd_commands.h"
#include "options.h"
#include "store/commands.h"
#include "store/store.h"

static const struct ctl_command commands[] = {CTL_BLKD_COMMANDS(CTL_ROW_SERVE)};

static const struct store_kind blkd = {
	.name = "blkd",
	.program = "vireo-blkd",
	.worker = "blk-worker",
	.disk_user = "export",
	.exports = &blk_export_kind,
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.disk_resized = blk_exports_disk_resized,
	.disk_layered = blk_exports_disk_layered,
	.disk_held = blk_exports_disk_held,
	.disk_wanted = blk_exports_disk_wanted,
};

int main(int argc, char **argv)
{
	struct store_options options;
	struct store store = {0};

	switch (options_parse(argc, argv, stdout, stderr, &options)) {
	case SETTINGS_DONE:
		return 0;
	case SETTINGS_BAD:
		return 2;
	case SETTINGS_LOST:
		return 1;
	case SETTINGS_RUN:
		break;
	}
	return store_run(&store, &blkd, &options);
}
