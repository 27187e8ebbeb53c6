/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/options.h"
#include "base/util.h"
#include "ctl/line.h"
#include "disk/disk.h"
#include "store/disks.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_SHORT "out of memory"

bool store_out_of_memory(char *why)
{
	snprintf(why, PARSE_WHY_BYTES, MEMORY_SHORT);
	return false;
}

/* ---- one function per setting: struct setting ---- */

static bool disk_given(const struct store_options *o, const char *text, size_t name_bytes)
{
	for (unsigned i = 0; i < o->disk_count; i++)
		if (!strncmp(o->disks[i], text, name_bytes + 1)) /* with the '=' */
			return true;
	return false;
}

bool store_line_note(unsigned **lines, unsigned index, const struct store_options *o, char *why)
{
	unsigned *more = realloc(*lines, (index + 1) * sizeof(*more));

	if (!more)
		return store_out_of_memory(why);
	more[index] = o->run.daemon.config_line;
	*lines = more;
	return true;
}

bool store_set_disk(void *options, const char *value, char *why)
{
	struct store_options *o = options;
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
		return store_out_of_memory(why);
	o->disks = disks;
	if (!store_line_note(&o->disk_lines, o->disk_count, o, why))
		return false;
	copy = strdup(value);
	if (!copy)
		return store_out_of_memory(why);
	o->disks[o->disk_count++] = copy;
	return true;
}

static bool export_given(const struct store_options *o, const char *name)
{
	for (unsigned i = 0; i < o->export_count; i++)
		if (o->exports[i]->at.name_given && !strcmp(o->exports[i]->at.name, name))
			return true;
	return false;
}

static bool export_keep(struct store_options *o, struct export_spec *spec, const char *text, char *why)
{
	struct export_spec **exports;
	char **texts;

	if (spec->at.name_given && export_given(o, spec->at.name)) {
		snprintf(why, PARSE_WHY_BYTES, "expected another name: there is an export '%s' already", spec->at.name);
		return false;
	}
	exports = realloc(o->exports, (o->export_count + 1) * sizeof(*exports));
	if (!exports)
		return store_out_of_memory(why);
	o->exports = exports;
	texts = realloc(o->export_texts, (o->export_count + 1) * sizeof(*texts));
	if (!texts)
		return store_out_of_memory(why);
	o->export_texts = texts;
	if (!store_line_note(&o->export_lines, o->export_count, o, why))
		return false;
	texts[o->export_count] = strdup(text);
	if (!texts[o->export_count])
		return store_out_of_memory(why);
	exports[o->export_count++] = spec;
	return true;
}

bool store_set_export(void *options, const char *value, char *why)
{
	struct store_options *o = options;
	const struct spec_kinds *kinds = o->settings->exports;
	struct export_spec *spec = malloc(kinds->spec_bytes);
	size_t at;

	if (!spec)
		return store_out_of_memory(why);
	if (spec_parse_at(kinds, value, &spec->at, why, &at))
		o->run.daemon.config_at += at;
	else if (export_keep(o, spec, value, why))
		return true;
	free(spec);
	return false;
}

static bool set_text(char **to, const char *value, char *why)
{
	char *copy = *value ? strdup(value) : NULL;

	if (!*value)
		return false;
	if (!copy)
		return store_out_of_memory(why);
	free(*to);
	*to = copy;
	return true;
}

bool store_set_socket_path(void *options, const char *value, char *why)
{
	return set_text(&((struct store_options *)options)->socket_path, value, why);
}

bool store_set_blk_file(void *options, const char *value, char *why)
{
	return set_text(&((struct store_options *)options)->blk_file, value, why);
}

bool store_set_fd(void *options, const char *value, char *why)
{
	struct store_options *o = options;
	unsigned long n;

	if (!parse_number(value, 3, INT_MAX, &n))
		return false;
	o->fd = (unsigned)n;
	return true;
}

bool store_set_read_only(void *options, const char *value, char *why)
{
	((struct store_options *)options)->read_only = true;
	return true;
}

bool store_set_print_capabilities(void *options, const char *value, char *why)
{
	((struct store_options *)options)->print_capabilities = true;
	return true;
}

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

static char *conventional_export(const struct store_options *o)
{
	const char *keys = o->settings->export_keys[o->read_only];
	char *text;
	int length;

	if (o->socket_path)
		length = asprintf(&text, "vhost-user:%s%s%s", strncmp(o->socket_path, "fd:", 3) ? "" : "./", o->socket_path, keys);
	else
		length = asprintf(&text, "vhost-user:fd:%u%s", o->fd, keys);
	return length < 0 ? NULL : text;
}

/* In the words of --disk and --export, so that there is one way only. */
static bool conventional_apply(struct store_options *o, char *why)
{
	char *disk = NULL, *export = conventional_export(o), *file = commas_doubled(o->blk_file);
	bool ok;

	if (!file || asprintf(&disk, STORE_CONVENTIONAL_DISK "=file:%s%s", file, o->read_only ? ",read-only=on" : "") < 0)
		disk = NULL;
	ok = disk && export ? store_set_disk(o, disk, why) && store_set_export(o, export, why) : store_out_of_memory(why);
	if (ok && o->settings->conventional)
		ok = o->settings->conventional(o, why);
	free(file);
	free(disk);
	free(export);
	return ok;
}

const char *store_problem(const void *options)
{
	const struct store_options *o = options;

	if (o->print_capabilities) /* nothing else is done */
		return NULL;
	if (o->socket_path && o->fd)
		return "expected one of --socket-path and --fd";
	if (o->socket_path && strchr(o->socket_path, ','))
		return "--socket-path: expected a path without a comma";
	if (store_options_conventional(o) && !o->blk_file)
		return "expected --blk-file PATH with --socket-path and --fd";
	if (!store_options_conventional(o) && (o->blk_file || o->read_only))
		return "expected --blk-file and --read-only with --socket-path or --fd only; see --help";
	return NULL;
}

static enum settings_verdict conventional_check(struct store_options *o, FILE *err)
{
	char why[PARSE_WHY_BYTES] = "";

	if (!store_options_conventional(o) || conventional_apply(o, why))
		return SETTINGS_RUN;
	line_print(err, "%s: %s", o->settings->settings->program, why);
	return SETTINGS_BAD;
}

enum settings_verdict store_options_parse(const struct store_settings *settings, int argc, char *const *argv, FILE *out, FILE *err,
					  struct store_options *options)
{
	enum settings_verdict verdict;

	options->settings = settings;
	worker_options_init(&options->run);
	verdict = settings_parse(settings->settings, options, argc, argv, out, err);
	if (verdict == SETTINGS_RUN && options->print_capabilities) {
		fputs(settings->capabilities, out);
		verdict = line_output_arrived(out, err, settings->settings->program) ? SETTINGS_DONE : SETTINGS_LOST;
	}
	if (verdict == SETTINGS_RUN)
		verdict = conventional_check(options, err);
	if (verdict != SETTINGS_RUN)
		store_options_free(options);
	return verdict;
}

void store_options_free(struct store_options *options)
{
	daemon_options_free(&options->run.daemon);
	for (unsigned i = 0; i < options->disk_count; i++)
		free(options->disks[i]);
	for (unsigned i = 0; i < options->export_count; i++) {
		free(options->exports[i]);
		free(options->export_texts[i]);
	}
	free(options->disks);
	free(options->exports);
	free(options->export_texts);
	free(options->disk_lines);
	free(options->export_lines);
	free(options->socket_path);
	free(options->blk_file);
	memset(options, 0, sizeof(*options));
}
