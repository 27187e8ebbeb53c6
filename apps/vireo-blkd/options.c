/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "disk/disk.h"
#include "disks.h"
#include <stdlib.h>
#include <string.h>

#define MEMORY_SHORT "out of memory"

static bool out_of_memory(char *why)
{
	snprintf(why, PARSE_WHY_BYTES, MEMORY_SHORT);
	return false;
}

/* ---- one function per setting: struct setting ---- */

static bool disk_given(const struct options *o, const char *text, size_t name_bytes)
{
	for (unsigned i = 0; i < o->disk_count; i++)
		if (!strncmp(o->disks[i], text, name_bytes + 1)) /* with the '=' */
			return true;
	return false;
}

static bool set_disk(void *options, const char *value, char *why)
{
	struct options *o = options;
	char **disks, *copy;
	struct blkd_spec spec;

	if (blkd_spec_parse(value, &spec, why))
		return false;
	if (disk_given(o, value, strlen(spec.name))) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is a disk '%s' already", spec.name);
		return false;
	}
	disks = realloc(o->disks, (o->disk_count + 1) * sizeof(*disks));
	if (!disks)
		return out_of_memory(why);
	o->disks = disks;
	copy = strdup(value);
	if (!copy)
		return out_of_memory(why);
	o->disks[o->disk_count++] = copy;
	return true;
}

static bool export_given(const struct options *o, const char *name)
{
	for (unsigned i = 0; i < o->export_count; i++)
		if (o->exports[i].at.name_given && !strcmp(o->exports[i].at.name, name))
			return true;
	return false;
}

static bool set_export(void *options, const char *value, char *why)
{
	struct options *o = options;
	struct export_spec *exports = realloc(o->exports, (o->export_count + 1) * sizeof(*exports));
	struct export_spec *spec;

	if (!exports)
		return out_of_memory(why);
	o->exports = exports;
	spec = &exports[o->export_count];
	if (export_spec_parse(value, spec, why))
		return false;
	if (spec->at.name_given && export_given(o, spec->at.name)) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is an export '%s' already", spec->at.name);
		return false;
	}
	o->export_count++;
	return true;
}

static const struct setting rows[] = {
	{"disk", "NAME=SPEC", set_disk, "NAME=TYPE:ADDRESS[,key=value...]", "open a disk (see below); may be given often"},
	{"export", "SPEC", set_export, "TYPE:ADDRESS,disk=NAME[,key=value...]",
	 "offer a disk at an endpoint (see below); may be given often"},
	SETTING_CONTROL,
	SETTING_CONTROL_GROUP,
	SETTING_WORKERS("requests"),
	SETTING_LOG_LEVEL,
};

static void help_more(FILE *out)
{
	disk_spec_help(out);
	fprintf(out, "\nSPEC of an export, with disk=NAME:");
	spec_help(&export_kinds, out);
}

static const struct settings settings = {
	.program = "vireo-blkd",
	.usage = "Usage: vireo-blkd [OPTION]... [--disk NAME=SPEC]... [--export SPEC]...\n"
		 "Disks for virtual machines.\n",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.help_more = help_more,
};

enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options)
{
	enum settings_verdict verdict;

	*options = (struct options){0};
	worker_options_init(&options->run);
	verdict = settings_parse(&settings, options, argc, argv, out, err);
	if (verdict != SETTINGS_RUN)
		options_free(options);
	return verdict;
}

void options_free(struct options *options)
{
	daemon_options_free(&options->run.daemon);
	for (unsigned i = 0; i < options->disk_count; i++)
		free(options->disks[i]);
	free(options->disks);
	free(options->exports);
	memset(options, 0, sizeof(*options));
}
