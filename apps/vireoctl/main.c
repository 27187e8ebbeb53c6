/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vireoctl: finds the command's row, calls its method, shows the answer. Exit codes: 0, 1 it failed, 2 bad
 * usage.
 */
#include "ctl/client.h"
#include "ctl/line.h"
#include "ctl/rpc.h"
#include "ctl/switchd_commands.h"
#include "foreign.h"
#include "local.h"
#include "screen.h"
#include "show.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_command commands[] = {CTL_SWITCHD_COMMANDS(CTL_ROW_SHOW)};

struct invocation {
	const char *socket, *root;
	char default_socket[PATH_MAX];
	bool json, watch;
	double interval_s, timeout_s;
	unsigned long count; /* 0: for ever */
	const struct ctl_command *command;
	int argc;
	char *const *argv; /* what follows the command's words */
};

static bool parse_number(const char *text, double min, double max, double *ret)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || isnan(n) || n < min || n > max)
		return false;
	*ret = n;
	return true;
}

/* 0, or the exit code + 1 when everything has been said. */
static int parse_option(int opt, struct invocation *inv, char *const *argv)
{
	double n;

	switch (opt) {
	case 's':
		inv->socket = optarg;
		return 0;
	case 'j':
		inv->json = true;
		return 0;
	case 'w':
		inv->watch = true;
		return 0;
	case 'i':
		if (parse_number(optarg, 0.1, 3600, &inv->interval_s))
			return 0;
		line_print(stderr, "vireoctl: --interval '%s': expected seconds from 0.1 to 3600", optarg);
		return 3;
	case 't':
		if (parse_number(optarg, 0.1, 3600, &inv->timeout_s))
			return 0;
		line_print(stderr, "vireoctl: --timeout '%s': expected seconds from 0.1 to 3600", optarg);
		return 3;
	case 'n':
		if (parse_number(optarg, 1, 1e9, &n) && n == floor(n)) {
			inv->count = (unsigned long)n;
			return 0;
		}
		line_print(stderr, "vireoctl: --count '%s': expected a whole number from 1 on", optarg);
		return 3;
	case 'r':
		inv->root = optarg;
		return 0;
	case 'v':
		printf("vireoctl %s\n", VIREO_VERSION);
		return 1;
	case 'h':
		show_usage(stdout, commands, ARRAY_SIZE(commands));
		return 1;
	default:
		line_print(stderr, "vireoctl: '%s': expected %s; see vireoctl --help", argv[optind - 1],
			   opt == ':' ? "a value after it" : "an option that exists");
		return 3;
	}
}

/* Options may stand anywhere: getopt moves them to the front. */
static int parse_options(int argc, char **argv, struct invocation *inv)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
		{"watch", no_argument, NULL, 'w'},	  {"interval", required_argument, NULL, 'i'},
		{"count", required_argument, NULL, 'n'},  {"version", no_argument, NULL, 'v'},
		{"root", required_argument, NULL, 'r'},	  {"help", no_argument, NULL, 'h'},
		{"timeout", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
	};
	int opt, ret = 0;

	opterr = 0;
	while (!ret && (opt = getopt_long(argc, argv, ":s:h", longs, NULL)) != -1)
		ret = parse_option(opt, inv, argv);
	return ret;
}

static bool parse_command(struct invocation *inv, int argc, char *const *argv)
{
	char name[CTL_PARAM_NAME_BYTES];
	int words = 0, min = 0, max = 0;
	bool required;

	inv->command = ctl_command_by_words(commands, ARRAY_SIZE(commands), argc, argv, &words);
	if (!inv->command) {
		line_print(stderr, "vireoctl: '%s%s%s': expected a command; see vireoctl help",
			   argc ? argv[0] : "", argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
		return false;
	}
	inv->argc = argc - words;
	inv->argv = argv + words;
	for (; ctl_command_param(inv->command, (unsigned)max, name, &required); max++)
		min += required;
	if (inv->argc < min || inv->argc > max) {
		line_print(stderr, "vireoctl: %s: expected %s after it; see vireoctl help",
			   inv->command->words, max ? inv->command->params : "nothing");
		return false;
	}
	if (inv->watch && !(inv->command->flags & (CTL_WATCH | CTL_REPEAT))) {
		line_print(stderr, "vireoctl: %s: expected no --watch", inv->command->words);
		return false;
	}
	inv->watch |= (inv->command->flags & CTL_REPEAT) != 0;
	return true;
}

/* The daemon has a working directory of its own: a relative socket path means ours. (fd:N is none.) */
static json_t *spec_value(const char *spec)
{
	static const char type[] = "vhost-user:";
	char cwd[PATH_MAX];

	const char *path = spec + sizeof(type) - 1;

	if (strncmp(spec, type, sizeof(type) - 1) != 0 || !*path || *path == '/' || !strncmp(path, "fd:", 3) ||
	    !getcwd(cwd, sizeof(cwd)))
		return json_string(spec);
	return json_sprintf("%s%s/%s", type, cwd, path);
}

/* NULL: a word is no UTF-8. */
static json_t *params_of(const struct invocation *inv)
{
	json_t *params = json_object();
	char name[CTL_PARAM_NAME_BYTES];
	bool required;

	for (int i = 0; i < inv->argc && ctl_command_param(inv->command, (unsigned)i, name, &required); i++) {
		json_t *value = strcmp(name, "spec") ? json_string(inv->argv[i]) : spec_value(inv->argv[i]);

		if (!json_object_set_new(params, name, value))
			continue;
		json_decref(params);
		return NULL;
	}
	return params;
}

/* JSON has no words for other bytes. */
static bool check_words(const struct invocation *inv)
{
	json_t *params = params_of(inv);

	json_decref(params);
	if (!params)
		line_print(stderr, "vireoctl: %s '%s': expected bytes that are UTF-8, the working directory's name included",
			   inv->command->words, inv->argv[0]);
	return params;
}

static int explain_connect(const struct invocation *inv, int err)
{
	if (err == -ENOENT || err == -ECONNREFUSED)
		line_print(
			stderr,
			"vireoctl: vireo-switchd is not running: nobody answers on %s (-s SOCK names another "
			"socket)",
			inv->socket);
	else
		line_print(stderr, "vireoctl: cannot connect to %s: %s", inv->socket, strerror(-err));
	return 1;
}

static int explain_call(const struct invocation *inv, int err, const struct ctl_failure *failure)
{
	if (err == -EREMOTEIO) {
		line_print(stderr, "vireoctl: %s", failure->message);
		return failure->code == RPC_INVALID_PARAMS ? 2 : 1;
	}
	if (err == -ECONNRESET)
		line_print(stderr, "vireoctl: vireo-switchd on %s has gone", inv->socket);
	else if (err == -ETIMEDOUT)
		line_print(stderr, "vireoctl: no whole answer from %s within %g s (--timeout S waits longer)", inv->socket,
			   inv->timeout_s);
	else if (err == -EMSGSIZE)
		line_print(stderr,
			   "vireoctl: the answer on %s is longer than %u MiB, and none of vireo-switchd's is: give --socket the path of its socket",
			   inv->socket, CTL_ANSWER_MAX_BYTES >> 20);
	else if (err == -EPROTO)
		line_print(stderr, "vireoctl: who answers on %s is no vireo-switchd", inv->socket);
	else
		line_print(stderr, "vireoctl: %s: %s", inv->socket, strerror(-err));
	return 1;
}

/* NULL, and the result is gone: memory is short. What is to be shown in tables is made visible here, once for all tables. */
static json_t *presentable(const struct invocation *inv, json_t *result)
{
	json_t *shown = inv->json ? json_incref(result) : foreign_visible(result);

	json_decref(result);
	return shown;
}

static void print_result(const struct invocation *inv, FILE *out, const json_t *result,
			 const json_t *previous)
{
	struct show show = {out, commands, ARRAY_SIZE(commands), result, previous};

	if (inv->json) { /* one line each when repeated, so that programs can take them apart */
		foreign_dump(result, out, inv->watch ? JSON_COMPACT : JSON_INDENT(2));
		fputc('\n', out);
	} else {
		inv->command->show(&show);
	}
}

static int call(const struct invocation *inv, struct ctl_client *client, json_t **ret_result,
		struct ctl_failure *failure)
{
	json_t *result;
	int err = ctl_client_call(client, inv->command->method, params_of(inv), &result, failure);

	if (err)
		return err;
	*ret_result = presentable(inv, result);
	return *ret_result ? 0 : -ENOMEM;
}

static int run_once(const struct invocation *inv, struct ctl_client *client)
{
	struct ctl_failure failure;
	json_t *result;
	int err = call(inv, client, &result, &failure);

	if (err)
		return explain_call(inv, err, &failure);
	print_result(inv, stdout, result, NULL);
	json_decref(result);
	return 0;
}

static int run_watch(const struct invocation *inv, struct ctl_client *client)
{
	json_t *previous = NULL, *result;
	struct ctl_failure failure;
	struct screen screen;
	int err = 0;

	screen_begin(&screen, inv->json);
	for (unsigned long n = 1;; n++) {
		FILE *out;

		err = call(inv, client, &result, &failure);
		if (err)
			break;
		out = screen_draw(&screen);
		if (out)
			print_result(inv, out, result, previous);
		if (out && !inv->json && !screen.terminal)
			fputc('\n', out);
		screen_show(&screen);
		json_decref(previous);
		previous = result;
		if (n == inv->count || ferror(stdout) || !screen_wait(&screen, inv->interval_s))
			break;
	}
	screen_end(&screen);
	json_decref(previous);
	return err ? explain_call(inv, err, &failure) : 0;
}

static int run_local(const struct invocation *inv)
{
	json_t *result = NULL;
	int err = local_call(inv->command->words, inv->root, inv->argc, inv->argv, &result);

	if (err)
		return err == -EINVAL ? 2 : 1;
	if (result)
		result = presentable(inv, result);
	print_result(result ? inv : &(struct invocation){.command = inv->command}, stdout, result, NULL);
	json_decref(result);
	return 0;
}

static int run(struct invocation *inv)
{
	struct ctl_client *client;
	int err, ret;

	if (!inv->command->method)
		return run_local(inv);
	if (!inv->socket && ctl_default_path("switchd", inv->default_socket, sizeof(inv->default_socket))) {
		line_print(stderr,
			   "vireoctl: where is the control socket? set XDG_RUNTIME_DIR, or give -s SOCK");
		return 1;
	}
	if (!inv->socket)
		inv->socket = inv->default_socket;
	err = ctl_client_new(inv->socket, (unsigned)(inv->timeout_s * 1000), &client);
	if (err)
		return explain_connect(inv, err);
	ret = inv->watch ? run_watch(inv, client) : run_once(inv, client);
	ctl_client_free(client);
	return ret;
}

int main(int argc, char **argv)
{
	struct invocation inv = {.interval_s = 1, .timeout_s = CTL_CLIENT_TIMEOUT_MS / 1000.0};
	int ret = parse_options(argc, argv, &inv);

	if (ret)
		return ret - 1;
	if (!parse_command(&inv, argc - optind, argv + optind) || !check_words(&inv))
		return 2;
	ret = run(&inv);
	if (fflush(stdout) || ferror(stdout))
		ret = ret ? ret : 1;
	return ret;
}
