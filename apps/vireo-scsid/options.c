/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "daemon/sandbox_rooms.h"
#include "disk/disk.h"
#include "scsi_spec.h"
#include <stdlib.h>
#include <string.h>

static const struct calls *const scsid_rooms[] = {SANDBOX_ROOMS_OF_ALL, &work_calls, &disk_calls, &nbd_calls, &rbd_calls, &cuse_calls, &scsi_calls, NULL};

static bool same_place(const struct lun_address *a, const struct lun_address *b)
{
	return a->target == b->target && a->number == b->number && !strcmp(a->export, b->export);
}

static bool set_lun(void *options, const char *value, char *why)
{
	struct scsid_options *o = options;
	struct lun_spec spec, *luns;

	if (lun_spec_parse(value, &spec, why))
		return false;
	for (unsigned i = 0; i < o->lun_count; i++)
		if (same_place(&o->luns[i].at, &spec.at)) {
			snprintf(why, PARSE_WHY_BYTES, "expected another address: there is a LUN %u:%u already", spec.at.target,
				 spec.at.number);
			return false;
		}
	luns = realloc(o->luns, (o->lun_count + 1) * sizeof(*luns));
	if (!luns)
		return store_out_of_memory(why);
	o->luns = luns;
	if (!store_line_note(&o->lun_lines, o->lun_count, &o->store, why))
		return false;
	luns[o->lun_count++] = spec;
	return true;
}

static bool set_state(void *options, const char *value, char *why)
{
	struct scsid_options *o = options;
	char *copy;

	if (*value != '/')
		return false;
	copy = strdup(value);
	if (!copy)
		return store_out_of_memory(why);
	free(o->state);
	o->state = copy;
	return true;
}

static const struct setting rows[] = {
	STORE_SETTINGS_BEGIN("TYPE:ADDRESS[,key=value...]", "offer a SCSI host at an endpoint (see below); may be given often"),
	{"lun", "SPEC", set_lun, "[EXPORT/]TARGET:LUN=DISK[,key=value...]", "show a disk there (see below); may be given often",
	 .many = true},
	{"state", "FOLDER", set_state, "an absolute path", "keep persistent reservations there over the end of the daemon"},
	SETTING_TAKEOVER("daemon", "its disks and LUNs with what machines have\n"
			 "reserved, its exports with their sessions and rings, its control socket. Those of these settings are not looked at"),
	STORE_SETTINGS_END,
};

static void help_more(FILE *out)
{
	disk_spec_help(out);
	fprintf(out, "\nSPEC of an export:");
	spec_help(&scsi_spec_kinds, out);
	lun_spec_help(out);
}

static const struct settings settings = {
	.program = "vireo-scsid",
	.usage = "Usage: vireo-scsid [OPTION]... [--disk NAME=SPEC]... [--export SPEC]... [--lun SPEC]...\n"
		 "SCSI hosts with disks for virtual machines.\n",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.problem = store_problem,
	.help_more = help_more,
	.rooms = scsid_rooms,
};

static bool conventional(struct store_options *options, char *why)
{
	return set_lun(options, options->read_only ? "0:0=" STORE_CONVENTIONAL_DISK ",read-only=on" : "0:0=" STORE_CONVENTIONAL_DISK,
		       why);
}

static const struct store_settings scsid_settings = {
	.settings = &settings,
	.exports = &scsi_spec_kinds,
	.capabilities = "{\n  \"type\": \"scsi\"\n}\n",
	.export_keys = {"", ""},
	.conventional = conventional,
};

enum settings_verdict scsid_options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct scsid_options *options)
{
	enum settings_verdict verdict;

	*options = (struct scsid_options){0};
	verdict = store_options_parse(&scsid_settings, argc, argv, out, err, &options->store);
	if (verdict != SETTINGS_RUN)
		scsid_options_free(options);
	return verdict;
}

void scsid_options_free(struct scsid_options *options)
{
	free(options->luns);
	free(options->lun_lines);
	free(options->state);
	options->luns = NULL;
	options->lun_lines = NULL;
	options->state = NULL;
	options->lun_count = 0;
}
