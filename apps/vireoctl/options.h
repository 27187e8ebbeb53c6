/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_OPTIONS_H
#define VIREOCTL_OPTIONS_H

#include "ctl/command.h"
#include <limits.h>

/* Options that are parameters of a command, which has them in its row as "[--to=WHERE]". */
enum { NAMED_TO, NAMED_FILTER, NAMED_PROGRAM, NAMED_SNAPLEN, NAMED_LISTEN, NAMED_HOSTS, NAMED_ID, NAMED_WAY, NAMED_COUNT };
extern const char *const named_options[NAMED_COUNT];

/* What vireoctl was called for. */
struct invocation {
	const char *daemon;  /* as in its socket's name: "switchd" */
	const char *program; /* as in messages */
	const char *socket, *root;
	char default_socket[PATH_MAX];
	bool json, watch;
	double interval_s, timeout_s;
	unsigned long count; /* 0: for ever */
	const char *named[NAMED_COUNT]; /* values of the options that are parameters, of named_options; NULL: not given */
	const struct ctl_command *commands; /* of the daemon */
	size_t command_count;
	const struct ctl_command *command;
	int argc;
	char *const *argv; /* what follows the command's words */
};

/* The options. 0, or the exit code + 1 when everything has been said. What follows begins at optind. */
int parse_options(int argc, char **argv, struct invocation *inv);

#endif
