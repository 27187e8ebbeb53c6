/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

/*
 * What a row of a command table is. The table of a daemon (switchd_commands.h) is written once; the daemon
 * fills in `serve`, vireoctl fills in `show`, and both leave the other column empty.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct rpc_call;
struct show;

typedef void ctl_serve_fn(struct rpc_call *call, void *opaque);
typedef void ctl_show_fn(struct show *show);

#define CTL_WATCH (1u << 0)  /* takes --watch */
#define CTL_REPEAT (1u << 1) /* is repeated without being asked, redrawing a terminal in place */

#define CTL_OWN_PARAMS (1u << 2) /* they are vireoctl's own, and not the method's; it has more to do with the answer than to print it */

struct ctl_command {
	const char *words;  /* on vireoctl's command line: "port add" */
	const char *method; /* in JSON-RPC: "port.add"; NULL: vireoctl answers alone */
	/* "SPEC", "[PORT]" or, as an option of vireoctl's, "[--to=WHERE]", separated by blanks; in JSON-RPC in lower case; all are strings */
	const char *params;
	unsigned flags;
	const char *help;
	ctl_serve_fn *serve;
	ctl_show_fn *show;
};

#define CTL_ROW_SERVE(words, method, params, flags, help, serve, show) \
	{words, method, params, flags, help, serve, NULL},
#define CTL_ROW_SHOW(words, method, params, flags, help, serve, show) \
	{words, method, params, flags, help, NULL, show},
#define CTL_ROW_TEXT(words, method, params, flags, help, serve, show) \
	{words, method, params, flags, help, NULL, NULL},

#define CTL_FD (1u << 3) /* a file descriptor may come with the call; see rpc_call_fd_take() */

#define CTL_JUDGED (1u << 4) /* vireoctl looks for what is wrong in the answer, and shows that */

#define CTL_SERVES (1u << 5) /* vireoctl shows the answer to others, again and again; the parameters are its own */

#define CTL_FOLLOWED (1u << 6) /* vireoctl calls again and again, each time for what has come since; see apps/vireoctl/trace.h */

#define CTL_PARAM_NAME_BYTES 16u

/* Parameter `index` of a row: its name in lower case. False: there are not so many. */
bool ctl_command_param(const struct ctl_command *command, unsigned index, char name[CTL_PARAM_NAME_BYTES],
		       bool *ret_required);

/* Parameter `index` of a row is an option on the command line: those come last. */
bool ctl_command_param_is_option(const struct ctl_command *command, unsigned index);

/* NULL: there is none. */
const struct ctl_command *ctl_command_by_method(const struct ctl_command *commands, size_t count,
						const char *method);

/* The row whose words begin argv; *ret_words of them. NULL: none. */
const struct ctl_command *ctl_command_by_words(const struct ctl_command *commands, size_t count, int argc,
					       char *const *argv, int *ret_words);

/*
 * The socket that daemon and vireoctl agree on: /run/vireo/NAME.sock for root, else under $XDG_RUNTIME_DIR.
 * -ENOENT, -ENAMETOOLONG.
 */
int ctl_default_path(const char *name, char *path, size_t path_bytes);

#endif
