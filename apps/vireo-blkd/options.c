/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "blk_spec.h"
#include "daemon/sandbox_rooms.h"
#include "disk/disk.h"

static const struct calls *const blkd_rooms[] = {SANDBOX_ROOMS_OF_ALL, &work_calls, &disk_calls, &nbd_calls, &rbd_calls, NULL};

static const struct setting rows[] = {
	STORE_SETTINGS_BEGIN("TYPE:ADDRESS,disk=NAME[,key=value...]", "offer a disk at an endpoint (see below); may be given often"),
	STORE_SETTING_TAKEOVER,
	STORE_SETTINGS_END,
};

static void help_more(FILE *out)
{
	disk_spec_help(out);
	fprintf(out, "\nSPEC of an export, with disk=NAME:");
	spec_help(&blk_spec_kinds, out);
}

static const struct settings settings = {
	.program = "vireo-blkd",
	.usage = "Usage: vireo-blkd [OPTION]... [--disk NAME=SPEC]... [--export SPEC]...\n"
		 "Disks for virtual machines.\n",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.problem = store_problem,
	.help_more = help_more,
	.rooms = blkd_rooms,
};

static const struct store_settings blkd_settings = {
	.settings = &settings,
	.exports = &blk_spec_kinds,
	.capabilities = "{\n  \"type\": \"block\",\n  \"features\": [\"read-only\", \"blk-file\"]\n}\n",
	.export_keys = {",disk=" STORE_CONVENTIONAL_DISK, ",disk=" STORE_CONVENTIONAL_DISK ",read-only=on"},
};

enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct store_options *options)
{
	*options = (struct store_options){0};
	return store_options_parse(&blkd_settings, argc, argv, out, err, options);
}
