/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

/*
 * The command line and the configuration file of a daemon, from one table: the setting --fdb-age 60 on the command line is
 * "fdb-age 60" in the file. What the command line says holds over the file; of what may be given often, both are taken.
 * --config, --check, --print-sandbox, --version and --help are every daemon's and stand in no table.
 */

#include "base/given.h"
#include "daemon/parse.h"
#include "vireo/base.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define SETTINGS_MAX GIVEN_MAX /* rows of a table */

struct setting {
	const char *name;
	const char *arg; /* what the help calls its value; NULL: it takes none, and `set` gets "" */
	/*
	 * Puts the value into the daemon's options. False if the value is bad; `why` (PARSE_WHY_BYTES, empty) is set if there
	 * is more to say than `expected`.
	 */
	bool (*set)(void *options, const char *value, char *why);
	const char *expected;
	const char *help;
	bool many;	   /* may be given often; else a second one is an error, not the one that counts */
	bool once;	   /* what is done at the start, on the command line: not what is, and not in a file */
	const char *rival; /* the setting that contradicts it; NULL: there is none */
};

struct settings {
	const char *program; /* "vireo-switchd": its lines begin with it */
	const char *usage;   /* what the help says first */
	const struct setting *rows;
	unsigned count;
	/* Of all that was given together: NULL: it fits, or what was expected. May be NULL. */
	const char *(*problem)(const void *options);
	void (*help_more)(FILE *out); /* below the options; NULL: nothing */
	const struct calls *const *rooms; /* what --print-sandbox prints, and daemon_open() keeps: daemon/sandbox.h */
};

enum settings_verdict {
	SETTINGS_RUN,
	SETTINGS_DONE, /* --help, --version or --print-sandbox has been printed: exit 0 */
	SETTINGS_BAD,  /* one line has been printed: exit 2 */
	SETTINGS_LOST, /* that could not be printed, which one line says: exit 1 */
};

/* Fills in `options`, which holds the defaults. Messages go to `err`, --help and --version to `out`. */
enum settings_verdict settings_parse(const struct settings *settings, void *options, int argc, char *const *argv, FILE *out,
				     FILE *err);

/* ---- settings that every daemon has: its options begin with them ---- */

struct calls;
struct setting_given;

struct daemon_options {
	char *control; /* NULL: the default path */
	bool set_control_group;
	gid_t control_group;
	enum vireo_log_level log_level;
	bool no_sandbox;
	char *beneath; /* daemon/landlock.h; NULL: all files */
	bool takeover;	/* from the process that serves `control` */
	bool upgrade;	/* and as daemon/upgrade.h does it; `takeover` is set, too */
	int upgrade_fd; /* daemon/upgrade.h's: to the process that waits; 0: none does */
	const struct calls *const *rooms; /* as in struct settings */
	/* So that what fails later is told by its line, too: */
	char *config;	       /* the file; NULL: none */
	bool check;	       /* all that is wrong with it is to be told, and nothing done */
	unsigned config_line;  /* that is being read; 0: of none, but on the command line */
	const char *config_text; /* that line, maybe cut up, ... */
	size_t config_at;	 /* ... and what of it is looked at; who sets a value and finds a fault within it moves it on */
	unsigned control_line; /* where `control` stands; 0: not in the file */
	struct setting_given *given; /* what holds of what was given, but for what may be given often */
	unsigned given_count;
};

#define SETTINGS_WHERE_BYTES 512u

/* "FILE:LINE:COLUMN: " of what is being read, in characters from 1 on; "--" on the command line. Returns `where`. */
const char *settings_here(const struct daemon_options *options, char where[SETTINGS_WHERE_BYTES]);
/* "FILE:LINE: ", to be put before what is said of something that stands there; "" of 0. Returns `where`. */
const char *settings_where(const struct daemon_options *options, unsigned line, char where[SETTINGS_WHERE_BYTES]);

/*
 * Writes the settings that were given, as lines of a file, but for those that may be given often: whoever has taken these knows what has
 * become of them. The log's level is the one that holds now.
 */
void settings_write(const struct daemon_options *options, FILE *out);
/* One line. A value that cannot stand in a file as it is (blanks at its ends, a # behind one) becomes a remark. */
void settings_write_line(FILE *out, const char *name, const char *value);

/* Rows for the daemon's table. */
#define SETTING_CONTROL \
	{"control", "SOCK", settings_set_control, "the path of a UNIX socket", "control socket for vireoctl"}
#define SETTING_CONTROL_GROUP \
	{"control-group", "GROUP", settings_set_control_group, "a group's name or number", \
	 "members of GROUP may control, too"}
#define SETTING_LOG_LEVEL \
	{"log-level", "LEVEL", settings_set_log_level, "error, warning, info or debug", "what goes to stderr (info)"}

#define SETTING_NO_SANDBOX \
	{"no-sandbox", NULL, settings_set_no_sandbox, NULL, "keep all capabilities and system calls, to find a fault"}
#define SETTING_BENEATH \
	{"beneath", "PATHS", settings_set_beneath, "absolute paths, with ':' in between", \
	 "open files beneath PATHS only, and where any daemon has to (Landlock)"}

/* Of a daemon that hands over: `what` it is, and what of it ("its ports, ..."). */
#define SETTING_TAKEOVER(what, rest) \
	{"takeover", NULL, settings_set_takeover, NULL, "take over from the " what " that runs: " rest, .once = true}, \
	{"upgrade", NULL, settings_set_upgrade, NULL, \
	 "the same in the background, unless this program is the one that runs; exit code 0:\n" \
	 "it is from now on. What ExecReload= of a service says", .once = true}

bool settings_set_control(void *options, const char *value, char *why);
bool settings_set_control_group(void *options, const char *value, char *why);
bool settings_set_log_level(void *options, const char *value, char *why);
bool settings_set_beneath(void *options, const char *value, char *why);
bool settings_set_no_sandbox(void *options, const char *value, char *why);
bool settings_set_takeover(void *options, const char *value, char *why);
bool settings_set_upgrade(void *options, const char *value, char *why);

/* The defaults. */
void daemon_options_init(struct daemon_options *options);
void daemon_options_free(struct daemon_options *options);

/* ---- settings.c, config_file.c: between the two ---- */

const struct setting *settings_find(const struct settings *settings, const char *name);
/* `given`: the rows that this source has given so far. In a file, `value` lies `value_at` bytes behind the line's beginning. */
bool settings_apply(const struct settings *settings, void *options, const struct setting *setting, const char *value,
		    size_t value_at, uint64_t *given, FILE *err);
/* What may have been meant by a name that settings_find() does not know: nearest_hint(). */
const char *settings_hint(const struct settings *settings, const char *name, size_t bytes, const char *before, char *hint);
/* Reads a file; false: a line has been printed. */
bool config_file_read(const struct settings *settings, void *options, const char *path, FILE *err);

#endif
