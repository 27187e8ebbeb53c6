/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/given.h"
#include "base/nearest.h"
#include "ctl/line.h"
#include "show.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, double min, double max, double *ret)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || isnan(n) || n < min || n > max)
		return false;
	*ret = n;
	return true;
}

/* A part of its socket's path: letters, digits, '-'. */
static bool daemon_set(struct invocation *inv, const char *name)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

	if (!*name || strspn(name, set) != strlen(name))
		return false;
	inv->daemon = name;
	if (strcmp(name, "switchd") != 0)
		inv->program = name;
	return true;
}

static const struct option longs[] = {
	{"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
	{"watch", no_argument, NULL, 'w'},	  {"interval", required_argument, NULL, 'i'},
	{"count", required_argument, NULL, 'n'},  {"version", no_argument, NULL, 'v'},
	{"root", required_argument, NULL, 'r'},	  {"help", no_argument, NULL, 'h'},
	{"timeout", required_argument, NULL, 't'}, {"daemon", required_argument, NULL, 'd'},
	{"to", required_argument, NULL, 'o'},	  {"filter", required_argument, NULL, 'f'},
	{"program", required_argument, NULL, 'p'}, {"snaplen", required_argument, NULL, 'l'},
	{"listen", required_argument, NULL, 'k'}, {"hosts", required_argument, NULL, 'm'},
	{"id", required_argument, NULL, 'e'},	  {"way", required_argument, NULL, 'y'},
	{NULL, 0, NULL, 0},
};

const char *const named_options[NAMED_COUNT] = {"to", "filter", "program", "snaplen", "listen", "hosts", "id", "way"};
static const char named_letters[NAMED_COUNT] = {'o', 'f', 'p', 'l', 'k', 'm', 'e', 'y'};

static bool named_set(int opt, struct invocation *inv)
{
	for (unsigned i = 0; i < NAMED_COUNT; i++) {
		if (named_letters[i] != opt)
			continue;
		inv->named[i] = optarg;
		return true;
	}
	return false;
}

static int unknown(int opt, const char *culprit)
{
	const char *name = culprit + (!strncmp(culprit, "--", 2) ? 2 : 0);
	struct nearest nearest = nearest_to(name, strcspn(name, "="));
	char hint[NEAREST_HINT_BYTES];

	for (unsigned i = 0; longs[i].name && opt != ':'; i++)
		nearest_offer(&nearest, longs[i].name);
	line_print(stderr, "vireoctl: '%.80s': expected %s%s see vireoctl --help", culprit,
		   opt == ':' ? "a value after it" : "an option that exists",
		   *nearest_hint(&nearest, hint, "--") ? hint : ";");
	return 3;
}

/* Each is given once at most. */
static int twice(int opt)
{
	unsigned i = 0;

	while (longs[i].val != opt)
		i++;
	line_print(stderr, "vireoctl: --%s " GIVEN_TWICE, longs[i].name);
	return 3;
}

/* 0, or the exit code + 1 when everything has been said. */
static int parse_option(int opt, struct invocation *inv, char *const *argv)
{
	double n;

	if (named_set(opt, inv))
		return 0;
	switch (opt) {
	case 's':
		inv->socket = optarg;
		return 0;
	case 'd':
		if (daemon_set(inv, optarg))
			return 0;
		line_print(stderr, "vireoctl: --daemon '%s': expected a daemon's name, switchd for example", optarg);
		return 3;
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
		show_usage(stdout, inv->daemon, inv->commands, inv->command_count);
		return 1;
	default:
		return unknown(opt, argv[optind - 1]);
	}
}

/* They may stand anywhere: getopt moves them to the front. */
int parse_options(int argc, char **argv, struct invocation *inv)
{
	uint64_t given = 0; /* by letter */
	int opt, ret = 0;

	opterr = 0;
	while (!ret && (opt = getopt_long(argc, argv, ":s:d:h", longs, NULL)) != -1)
		ret = opt >= 'a' && !given_first(&given, (unsigned)(opt - 'a')) ? twice(opt) : parse_option(opt, inv, argv);
	return ret;
}
