/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "ctl/line.h"
#include "disk/disk.h"
#include "store/disks.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CONVENTIONAL_NAME "disk"
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

/* Notes in which line of the file number `index` stands. */
static bool line_note(unsigned **lines, unsigned index, const struct options *o, char *why)
{
	unsigned *more = realloc(*lines, (index + 1) * sizeof(*more));

	if (!more)
		return out_of_memory(why);
	more[index] = o->run.daemon.config_line;
	*lines = more;
	return true;
}

static bool set_disk(void *options, const char *value, char *why)
{
	struct options *o = options;
	char **disks, *copy;
	struct store_spec spec;

	if (store_spec_parse(value, &spec, why))
		return false;
	if (disk_given(o, value, strlen(spec.name))) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is a disk '%s' already", spec.name);
		return false;
	}
	disks = realloc(o->disks, (o->disk_count + 1) * sizeof(*disks));
	if (!disks)
		return out_of_memory(why);
	o->disks = disks;
	if (!line_note(&o->disk_lines, o->disk_count, o, why))
		return false;
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
	size_t at;

	if (!exports)
		return out_of_memory(why);
	o->exports = exports;
	spec = &exports[o->export_count];
	if (export_spec_parse_at(value, spec, why, &at)) {
		o->run.daemon.config_at += at;
		return false;
	}
	if (spec->at.name_given && export_given(o, spec->at.name)) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is an export '%s' already", spec->at.name);
		return false;
	}
	if (!line_note(&o->export_lines, o->export_count, o, why))
		return false;
	o->export_count++;
	return true;
}

static bool set_text(char **to, const char *value, char *why)
{
	char *copy = *value ? strdup(value) : NULL;

	if (!*value)
		return false;
	if (!copy)
		return out_of_memory(why);
	free(*to);
	*to = copy;
	return true;
}

static bool set_socket_path(void *options, const char *value, char *why)
{
	return set_text(&((struct options *)options)->socket_path, value, why);
}

static bool set_blk_file(void *options, const char *value, char *why)
{
	return set_text(&((struct options *)options)->blk_file, value, why);
}

static bool set_fd(void *options, const char *value, char *why)
{
	struct options *o = options;
	unsigned long n;

	if (!parse_number(value, 3, INT_MAX, &n))
		return false;
	o->fd = (unsigned)n;
	return true;
}

static bool set_read_only(void *options, const char *value, char *why)
{
	((struct options *)options)->read_only = true;
	return true;
}

static bool set_print_capabilities(void *options, const char *value, char *why)
{
	((struct options *)options)->print_capabilities = true;
	return true;
}

static const struct setting rows[] = {
	{"disk", "NAME=SPEC", set_disk, "NAME=TYPE:ADDRESS[,key=value...]", "open a disk (see below); may be given often",
	 .many = true},
	{"export", "SPEC", set_export, "TYPE:ADDRESS,disk=NAME[,key=value...]",
	 "offer a disk at an endpoint (see below); may be given often", .many = true},
	SETTING_CONTROL,
	SETTING_CONTROL_GROUP,
	SETTING_WORKERS("requests"),
	SETTING_LOG_LEVEL,
	{"socket-path", "PATH", set_socket_path, "the path of a UNIX socket", "QEMU's conventions: one disk at this vhost-user socket"},
	{"fd", "FDNUM", set_fd, "the number of an open socket, from 3 on", "the same, at a socket that was handed over"},
	{"blk-file", "PATH", set_blk_file, "the path of a file or a block device", "the disk of --socket-path or --fd"},
	{"read-only", NULL, set_read_only, NULL, "and it is not written to"},
	{"print-capabilities", NULL, set_print_capabilities, NULL, "print what of QEMU's conventions is carried out"},
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

/* ---- the conventions ---- */

/* A comma in a disk's address is written twice. */
static char *commas_doubled(const char *path)
{
	char *text = calloc(2, strlen(path) + 1), *to = text;

	for (; text && *path; path++) {
		*to++ = *path;
		if (*path == ',')
			*to++ = ',';
	}
	return text;
}

/* In the words of --disk and --export, so that there is one way only. */
static bool conventional_apply(struct options *o, char *why)
{
	char *disk = NULL, *export = NULL, *file = commas_doubled(o->blk_file);
	bool ok;

	if (!file || asprintf(&disk, CONVENTIONAL_NAME "=file:%s%s", file, o->read_only ? ",read-only=on" : "") < 0)
		disk = NULL;
	if (o->socket_path ? asprintf(&export, "vhost-user:%s%s,disk=" CONVENTIONAL_NAME "%s",
				      strncmp(o->socket_path, "fd:", 3) ? "" : "./", o->socket_path,
				      o->read_only ? ",read-only=on" : "") < 0 :
			     asprintf(&export, "vhost-user:fd:%u,disk=" CONVENTIONAL_NAME "%s", o->fd,
				      o->read_only ? ",read-only=on" : "") < 0)
		export = NULL;
	ok = disk && export ? set_disk(o, disk, why) && set_export(o, export, why) : out_of_memory(why);
	free(file);
	free(disk);
	free(export);
	return ok;
}

static const char *conventional_problem(const struct options *o)
{
	if (o->socket_path && o->fd)
		return "expected one of --socket-path and --fd";
	if (o->socket_path && strchr(o->socket_path, ','))
		return "--socket-path: expected a path without a comma";
	if (options_conventional(o) && !o->blk_file)
		return "expected --blk-file PATH with --socket-path and --fd";
	if (!options_conventional(o) && (o->blk_file || o->read_only))
		return "expected --blk-file and --read-only with --socket-path or --fd only; see --help";
	return NULL;
}

static enum settings_verdict conventional_check(struct options *o, FILE *err)
{
	const char *problem = conventional_problem(o);
	char why[PARSE_WHY_BYTES] = "";

	if (!problem && options_conventional(o) && !conventional_apply(o, why))
		problem = why;
	if (!problem)
		return SETTINGS_RUN;
	line_print(err, "%s: %s", settings.program, problem);
	return SETTINGS_BAD;
}

enum settings_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options)
{
	enum settings_verdict verdict;

	*options = (struct options){0};
	worker_options_init(&options->run);
	verdict = settings_parse(&settings, options, argc, argv, out, err);
	if (verdict == SETTINGS_RUN && options->print_capabilities) {
		fprintf(out, "{\n  \"type\": \"block\",\n  \"features\": [\"read-only\", \"blk-file\"]\n}\n");
		verdict = line_output_arrived(out, err, settings.program) ? SETTINGS_DONE : SETTINGS_LOST;
	}
	if (verdict == SETTINGS_RUN)
		verdict = conventional_check(options, err);
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
	free(options->disk_lines);
	free(options->export_lines);
	free(options->socket_path);
	free(options->blk_file);
	memset(options, 0, sizeof(*options));
}
