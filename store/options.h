/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_OPTIONS_H
#define STORE_OPTIONS_H

/* Settings of a daemon that serves disks: daemon/settings.h, and those of QEMU's conventions for back-end programs. */

#include "daemon/worker_settings.h"
#include "store/export_spec.h"
#include <stdio.h>

#define STORE_CONVENTIONAL_DISK "disk" /* the name of the only one */

struct store_settings;

/* What a daemon knows of its options begins with this. */
struct store_options {
	struct worker_options run; /* first */
	const struct store_settings *settings;
	char **disks; /* NAME=SPEC */
	unsigned *disk_lines; /* of the file of settings; 0: on the command line */
	unsigned disk_count;
	struct export_spec **exports;
	char **export_texts; /* as they were given */
	unsigned *export_lines;
	unsigned export_count;
	/* QEMU's conventions: one disk at one socket. */
	char *socket_path, *blk_file;
	unsigned fd; /* 0: not given */
	bool read_only;
	bool print_capabilities;
};

/* What a daemon says of them. */
struct store_settings {
	const struct settings *settings; /* STORE_SETTINGS_BEGIN, its own, STORE_SETTINGS_END */
	const struct spec_kinds *exports;
	const char *capabilities; /* what --print-capabilities prints */
	const char *export_keys[2]; /* of the only export of the conventions, ",disk=disk", and with --read-only */
	bool (*conventional)(struct store_options *options, char *why); /* and what else is to be set for it; NULL: nothing */
};

/* clang-format off */
#define STORE_SETTINGS_BEGIN(export_expected, export_help) \
	{"disk", "NAME=SPEC", store_set_disk, "NAME=TYPE:ADDRESS[,key=value...]", "open a disk (see below); may be given often", \
	 .many = true}, \
	{"export", "SPEC", store_set_export, export_expected, export_help, .many = true}
/* Of a daemon that has nothing beside disks and exports to be taken over. */
#define STORE_SETTING_TAKEOVER \
	SETTING_TAKEOVER("daemon", "its disks, its exports with their sessions and\n" \
			 "rings, its control socket. Those of these settings are not looked at")
#define STORE_SETTINGS_END \
	SETTING_CONTROL, \
	SETTING_CONTROL_GROUP, \
	SETTING_WORKERS("requests"), \
	SETTING_LOG_LEVEL, \
	SETTING_BENEATH, \
	SETTING_NO_SANDBOX, \
	{"socket-path", "PATH", store_set_socket_path, "the path of a UNIX socket", \
	 "QEMU's conventions: one disk at this vhost-user socket"}, \
	{"fd", "FDNUM", store_set_fd, "the number of an open socket, from 3 on", "the same, at a socket that was handed over"}, \
	{"blk-file", "PATH", store_set_blk_file, "the path of a file or a block device", "the disk of --socket-path or --fd"}, \
	{"read-only", NULL, store_set_read_only, NULL, "and it is not written to"}, \
	{"print-capabilities", NULL, store_set_print_capabilities, NULL, "print what of QEMU's conventions is carried out"}
/* clang-format on */

bool store_set_disk(void *options, const char *value, char *why);
bool store_set_export(void *options, const char *value, char *why);
bool store_set_socket_path(void *options, const char *value, char *why);
bool store_set_fd(void *options, const char *value, char *why);
bool store_set_blk_file(void *options, const char *value, char *why);
bool store_set_read_only(void *options, const char *value, char *why);
bool store_set_print_capabilities(void *options, const char *value, char *why);

const char *store_problem(const void *options); /* of the settings' table: do QEMU's conventions go together? */

/*
 * Messages go to `err`, --help and --version to `out`. *options is zero but for defaults of the daemon's own. To be freed with
 * store_options_free() after SETTINGS_RUN; before that it has been freed.
 */
enum settings_verdict store_options_parse(const struct store_settings *settings, int argc, char *const *argv, FILE *out, FILE *err,
					  struct store_options *options);
void store_options_free(struct store_options *options);

/* Were we started as QEMU's conventions say? There is no control socket then, unless one is asked for. */
static inline bool store_options_conventional(const struct store_options *options)
{
	return options->socket_path || options->fd;
}

/* For setters. Notes in which line of the file number `index` stands; false, and why: no memory. */
bool store_line_note(unsigned **lines, unsigned index, const struct store_options *options, char *why);
bool store_out_of_memory(char *why); /* false */

#endif
