/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vireoctl: finds the command's row, calls its method, shows the answer. The rows of vireo-switchd are known here, each with how
 * its answer is shown; another daemon (--daemon) is asked for its rows (ctl/catalogue.h), and all its answers are shown
 * alike. Exit codes: 0, 1 it failed, 2 bad usage.
 */
#include "base/nearest.h"
#include "ctl/catalogue.h"
#include "ctl/client.h"
#include "ctl/line.h"
#include "ctl/rpc.h"
#include "complete.h"
#include "doctor.h"
#include "ctl/switchd_commands.h"
#include "foreign.h"
#include "local.h"
#include "mirror.h"
#include "options.h"
#include "screen.h"
#include "serve/serve.h"
#include "show.h"
#include "trace.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_command switchd_commands[] = {CTL_SWITCHD_COMMANDS(CTL_ROW_SHOW)};
/* Beside the commands of a daemon whose table it tells. */
static const struct ctl_command own_commands[] = {
	{"metrics", "stats", "", 0, "print all counters as OpenMetrics text, for Prometheus", NULL, show_metrics},
	{"serve", "stats", "[--listen=WHERE] [--hosts=NAMES]", CTL_SERVES | CTL_OWN_PARAMS,
	 "show a live page and metrics over HTTP, at 127.0.0.1:9871 or ADDRESS:PORT or unix:PATH", NULL, show_nothing},
	{"help", NULL, "", 0, "show this list", NULL, show_help},
};

/* Of its first two words, or else of the first alone. */
static const char *command_hint(const struct invocation *inv, int argc, char *const *argv, char *hint)
{
	char typed[2 * NEAREST_BYTES];
	struct nearest nearest;

	for (int words = argc < 2 ? argc : 2; words > 0; words--) {
		snprintf(typed, sizeof(typed), "%s%s%s", argv[0], words > 1 ? " " : "", words > 1 ? argv[1] : "");
		nearest = nearest_to(typed, strlen(typed));
		for (size_t i = 0; i < inv->command_count; i++)
			nearest_offer(&nearest, inv->commands[i].words);
		if (*nearest_hint(&nearest, hint, ""))
			return hint;
	}
	return ";";
}

/* Is it a parameter of the command? */
static bool named_belongs(const struct ctl_command *command, const char *option)
{
	char name[CTL_PARAM_NAME_BYTES];
	bool required;

	for (unsigned i = 0; ctl_command_param(command, i, name, &required); i++)
		if (ctl_command_param_is_option(command, i) && !strcmp(name, option))
			return true;
	return false;
}

static bool named_belong(const struct invocation *inv)
{
	for (unsigned i = 0; i < NAMED_COUNT; i++) {
		if (!inv->named[i] || named_belongs(inv->command, named_options[i]))
			continue;
		line_print(stderr, "vireoctl: %s: expected no --%s", inv->command->words, named_options[i]);
		return false;
	}
	return true;
}

static bool parse_command(struct invocation *inv, int argc, char *const *argv)
{
	char name[CTL_PARAM_NAME_BYTES], hint[NEAREST_HINT_BYTES];
	int words = 0, min = 0, max = 0;
	bool required;

	inv->command = ctl_command_by_words(inv->commands, inv->command_count, argc, argv, &words);
	if (!inv->command) {
		line_print(stderr, "vireoctl: '%.80s%s%.80s': expected a command%s see vireoctl help", argc ? argv[0] : "",
			   argc > 1 ? " " : "", argc > 1 ? argv[1] : "", command_hint(inv, argc, argv, hint));
		return false;
	}
	inv->argc = argc - words;
	inv->argv = argv + words;
	for (; ctl_command_param(inv->command, (unsigned)max, name, &required) && !ctl_command_param_is_option(inv->command, (unsigned)max); max++)
		min += required;
	if (inv->argc < min || inv->argc > max) {
		line_print(stderr, "vireoctl: %s: expected %s after it; see vireoctl help",
			   inv->command->words, max ? inv->command->params : "nothing");
		return false;
	}
	if (!named_belong(inv))
		return false;
	if (inv->watch && !(inv->command->flags & (CTL_WATCH | CTL_REPEAT))) {
		line_print(stderr, "vireoctl: %s: expected no --watch", inv->command->words);
		return false;
	}
	inv->watch |= (inv->command->flags & (CTL_REPEAT | CTL_FOLLOWED)) != 0;
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

	for (int i = 0; !(inv->command->flags & CTL_OWN_PARAMS) && i < inv->argc && ctl_command_param(inv->command, (unsigned)i, name, &required); i++) {
		json_t *value = strcmp(name, "spec") ? json_string(inv->argv[i]) : spec_value(inv->argv[i]);

		if (!json_object_set_new(params, name, value))
			continue;
		json_decref(params);
		return NULL;
	}
	for (unsigned i = 0; i < NAMED_COUNT; i++) {
		if (!inv->named[i] || !json_object_set_new(params, named_options[i], json_string(inv->named[i])))
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
		line_print(stderr, "vireoctl: %s is not running: nobody answers on %s (-s SOCK names another socket)",
			   inv->program, inv->socket);
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
		line_print(stderr, "vireoctl: %s on %s has gone", inv->program, inv->socket);
	else if (err == -ETIMEDOUT)
		line_print(stderr, "vireoctl: no whole answer from %s within %g s (--timeout S waits longer)", inv->socket,
			   inv->timeout_s);
	else if (err == -EMSGSIZE)
		line_print(stderr,
			   "vireoctl: the answer on %s is longer than %u MiB, and none of %s's is: give --socket the path of its socket",
			   inv->socket, CTL_ANSWER_MAX_BYTES >> 20, inv->program);
	else if (err == -EPROTO)
		line_print(stderr, "vireoctl: who answers on %s is no %s", inv->socket, inv->program);
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

/* `screen`: where it is drawn; NULL: nowhere. False: what was to be done with it has failed, and stderr says why. */
static bool print_result(const struct invocation *inv, FILE *out, const json_t *result, const json_t *previous,
			 struct screen *screen)
{
	struct show show = {.out = out,
			    .commands = inv->commands,
			    .command_count = inv->command_count,
			    .daemon = inv->daemon,
			    .result = result,
			    .previous = previous,
			    .word = inv->argc ? inv->argv[0] : NULL,
			    .columns = screen ? screen_columns(screen) : 0};

	if (inv->json && !(inv->command->flags & CTL_OWN_PARAMS)) { /* one line each when repeated, so that programs can take them apart */
		foreign_dump(result, out, inv->watch ? JSON_COMPACT : JSON_INDENT(2));
		fputc('\n', out);
	} else {
		inv->command->show(&show);
		if (screen)
			screen->fixed_lines = show.fixed_lines;
	}
	return !show.failed;
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
	bool done;

	if (err)
		return explain_call(inv, err, &failure);
	done = print_result(inv, stdout, result, NULL, NULL);
	json_decref(result);
	return !done;
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
			print_result(inv, out, result, previous, &screen);
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

static int call_trace(const struct invocation *inv, struct ctl_client *client, const json_t *previous, json_t **ret_result,
		      struct ctl_failure *failure)
{
	int err = ctl_client_call(client, inv->command->method, trace_params(inv, previous), ret_result, failure);

	if (!err)
		*ret_result = presentable(inv, *ret_result);
	return err || *ret_result ? err : -ENOMEM;
}

/* Until as many frames have come as are wanted, or the port has gone. */
static int run_trace(const struct invocation *inv, struct ctl_client *client)
{
	json_t *previous = NULL, *result;
	struct ctl_failure failure;
	bool goes_on = true, done = false;
	int err = 0;

	while (goes_on) {
		err = call_trace(inv, client, previous, &result, &failure);
		if (err)
			break;
		if (trace_news(result, previous))
			print_result(inv, stdout, result, previous, NULL);
		goes_on = !fflush(stdout) && trace_goes_on(result);
		done = trace_done(result);
		if (goes_on)
			trace_rest(result);
		json_decref(previous);
		previous = result;
	}
	json_decref(previous);
	if (!err && !goes_on && !done && !ferror(stdout))
		line_print(stderr, "vireoctl: trace: port '%s' has gone", inv->argv[0]);
	return err ? explain_call(inv, err, &failure) : !done;
}

/* What it writes goes to us, and through us to standard output: nothing else is printed there. */
static int run_mirror(struct invocation *inv, struct ctl_client *client)
{
	struct mirror_way way;
	struct ctl_failure failure;
	json_t *result;
	int ret = mirror_way_open(inv, &way), err;

	if (ret)
		return ret;
	ctl_client_fd_give(client, way.fd);
	err = call(inv, client, &result, &failure);
	mirror_way_given(&way);
	if (err)
		ret = explain_call(inv, err, &failure);
	else if (!way.streams)
		ret = !print_result(inv, stdout, result, NULL, NULL);
	else
		ret = mirror_way_follow(&way);
	if (!err)
		json_decref(result);
	mirror_way_close(&way);
	return ret;
}

/* Takes `stats` over; *ret_result is what is to be shown. */
static int judge(const struct invocation *inv, struct ctl_client *client, json_t *stats, json_t **ret_result, struct ctl_failure *failure)
{
	json_t *version = NULL;
	int err = ctl_client_call(client, "version", json_object(), &version, failure);

	if (!err)
		*ret_result = doctor_findings(inv->root, stats, (long)json_integer_value(json_object_get(version, "pid")));
	json_decref(version);
	json_decref(stats);
	return err ? err : *ret_result ? 0 : -ENOMEM;
}

/* 1, too, when something is wrong. */
static int run_doctor(const struct invocation *inv, struct ctl_client *client)
{
	struct ctl_failure failure;
	json_t *stats, *result = NULL;
	int err = ctl_client_call(client, inv->command->method, params_of(inv), &stats, &failure);
	bool healthy;

	if (!err)
		err = judge(inv, client, stats, &result, &failure);
	if (err)
		return explain_call(inv, err, &failure);
	healthy = doctor_healthy(result);
	result = presentable(inv, result);
	if (!result)
		return explain_call(inv, -ENOMEM, &failure);
	print_result(inv, stdout, result, NULL, NULL);
	json_decref(result);
	return !healthy;
}

static int run_local(const struct invocation *inv)
{
	struct invocation text = *inv; /* what has no result is no JSON either */
	json_t *result = NULL;
	int err = local_call(inv->command->words, inv->root, inv->argc, inv->argv, &result);

	if (err)
		return err == -EINVAL ? 2 : 1;
	if (result)
		result = presentable(inv, result);
	text.json &= result != NULL;
	print_result(&text, stdout, result, NULL, NULL);
	json_decref(result);
	return 0;
}

/* 0, or the exit code: where the daemon is to be found. */
static int find_socket(struct invocation *inv)
{
	int err = 0;

	if (inv->socket)
		return 0;
	err = ctl_default_path(inv->daemon, inv->default_socket, sizeof(inv->default_socket));
	if (err == -ENAMETOOLONG)
		line_print(stderr, "vireoctl: --daemon '%s': its socket's path would be too long", inv->daemon);
	else if (err)
		line_print(stderr, "vireoctl: where is the control socket? set XDG_RUNTIME_DIR, or give -s SOCK");
	inv->socket = inv->default_socket;
	return err ? 1 : 0;
}

static int connect_to(struct invocation *inv, struct ctl_client **ret_client)
{
	int ret = find_socket(inv), err;

	if (ret)
		return ret;
	err = ctl_client_new(inv->socket, (unsigned)(inv->timeout_s * 1000), ret_client);
	return err ? explain_connect(inv, err) : 0;
}

/* What the daemon serves; its words are made visible, for tables and messages. */
static int ask_for_commands(struct invocation *inv, struct ctl_client *client, struct ctl_catalogue **ret_catalogue)
{
	json_t *answer, *visible;
	struct ctl_failure failure;
	int err = ctl_client_call(client, CTL_CATALOGUE_METHOD, json_object(), &answer, &failure);

	if (err == -EREMOTEIO && failure.code == RPC_METHOD_NOT_FOUND) {
		line_print(stderr, "vireoctl: %s on %s does not tell its commands: use the vireoctl that came with it",
			   inv->program, inv->socket);
		return 1;
	}
	if (err)
		return explain_call(inv, err, &failure);
	visible = foreign_visible(answer);
	json_decref(answer);
	err = visible ? ctl_catalogue_new(visible, show_any, own_commands, ARRAY_SIZE(own_commands), ret_catalogue) : -ENOMEM;
	json_decref(visible);
	if (err)
		return explain_call(inv, err, &failure);
	inv->commands = ctl_catalogue_rows(*ret_catalogue, &inv->command_count);
	return 0;
}

/* The daemon need not be there yet. */
static int run_serve(struct invocation *inv)
{
	int ret = find_socket(inv);

	return ret ? ret : serve_run(inv);
}

/* 0: it is a command, to be carried out. */
static int understand(struct invocation *inv, int argc, char *const *argv)
{
	return parse_command(inv, argc, argv) && check_words(inv) ? 0 : 2;
}

static int carry_out(struct invocation *inv, struct ctl_client *client)
{
	if (inv->command->flags & CTL_FD)
		return run_mirror(inv, client);
	if (inv->command->flags & CTL_JUDGED)
		return run_doctor(inv, client);
	if (inv->command->flags & CTL_FOLLOWED)
		return run_trace(inv, client);
	return inv->watch ? run_watch(inv, client) : run_once(inv, client);
}

/* A daemon whose table is known here. */
static int run_known(struct invocation *inv, int argc, char *const *argv)
{
	struct ctl_client *client;
	int ret = understand(inv, argc, argv);

	if (ret)
		return ret;
	if (!inv->command->method)
		return run_local(inv);
	if (inv->command->flags & CTL_SERVES)
		return run_serve(inv);
	ret = connect_to(inv, &client);
	if (ret)
		return ret;
	ret = carry_out(inv, client);
	ctl_client_free(client);
	return ret;
}

/* Its table is not asked for, since the daemon need not be there. */
static bool serves(const struct invocation *inv, int argc, char *const *argv)
{
	int words;
	const struct ctl_command *command = ctl_command_by_words(own_commands, ARRAY_SIZE(own_commands), argc, argv, &words);

	return command && command->flags & CTL_SERVES;
}

static int run_told_serve(struct invocation *inv, int argc, char *const *argv)
{
	int ret;

	inv->commands = own_commands;
	inv->command_count = ARRAY_SIZE(own_commands);
	ret = understand(inv, argc, argv);
	return ret ? ret : run_serve(inv);
}

/* Any other tells its table first. */
static int run_told(struct invocation *inv, int argc, char *const *argv)
{
	struct ctl_catalogue *catalogue = NULL;
	struct ctl_client *client;
	int ret;

	if (serves(inv, argc, argv))
		return run_told_serve(inv, argc, argv);
	ret = connect_to(inv, &client);
	if (ret)
		return ret;
	ret = ask_for_commands(inv, client, &catalogue);
	if (!ret)
		ret = understand(inv, argc, argv);
	if (!ret)
		ret = inv->command->method ? carry_out(inv, client) : run_local(inv);
	ctl_catalogue_free(catalogue);
	ctl_client_free(client);
	return ret;
}

int main(int argc, char **argv)
{
	struct invocation inv = {.interval_s = 1, .timeout_s = CTL_CLIENT_TIMEOUT_MS / 1000.0, .daemon = "switchd",
				 .program = "vireo-switchd", .commands = switchd_commands,
				 .command_count = ARRAY_SIZE(switchd_commands)};
	int ret;

	if (argc > 1 && !strcmp(argv[1], "--complete")) {
		complete(&inv, argc - 2, argv + 2);
		return fflush(stdout) ? 1 : 0;
	}
	ret = parse_options(argc, argv, &inv);
	if (ret)
		ret--;
	else if (!strcmp(inv.daemon, "switchd"))
		ret = run_known(&inv, argc - optind, argv + optind);
	else
		ret = run_told(&inv, argc - optind, argv + optind);
	return line_output_arrived(stdout, stderr, "vireoctl") || ret ? ret : 1;
}
