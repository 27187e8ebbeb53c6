/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/settings.h"
#include "base/visible.h"
#include "ctl/line.h"
#include "daemon/logger.h"
#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long() returns for a setting is its row + 1, and for these: */
enum { OPT_CONFIG = SETTINGS_MAX + 1, OPT_VERSION, OPT_HELP };

#define LONGS_MAX (SETTINGS_MAX + 4) /* the three, and the end */

/* ---- every daemon's own settings ---- */

void daemon_options_init(struct daemon_options *options)
{
	*options = (struct daemon_options){.log_level = VIREO_LOG_INFO};
}

void daemon_options_free(struct daemon_options *options)
{
	free(options->control);
	options->control = NULL;
}

bool settings_set_control(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;
	char *copy = *value ? strdup(value) : NULL;

	if (!copy)
		return false;
	free(o->control);
	o->control = copy;
	return true;
}

bool settings_set_control_group(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;

	o->set_control_group = true;
	return parse_group(value, &o->control_group);
}

bool settings_set_log_level(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;

	return logger_level_parse(value, &o->log_level);
}

/* ---- the table ---- */

const struct setting *settings_find(const struct settings *settings, const char *name)
{
	for (unsigned i = 0; i < settings->count; i++)
		if (!strcmp(settings->rows[i].name, name))
			return &settings->rows[i];
	return NULL;
}

bool settings_apply(const struct settings *settings, void *options, const struct setting *setting, const char *value,
		    const char *where, FILE *err)
{
	char why[PARSE_WHY_BYTES] = "";

	if (!visible_is(value))
		snprintf(why, sizeof(why), "expected no control characters, and bytes that are UTF-8");
	else if (setting->set(options, value, why))
		return true;
	if (*why)
		line_print(err, "%s: %s%s '%.80s': %s", settings->program, where, setting->name, value, why);
	else
		line_print(err, "%s: %s%s '%.80s': expected %s", settings->program, where, setting->name, value,
			   setting->expected);
	return false;
}

/* ---- the command line ---- */

static void help(const struct settings *settings, FILE *out)
{
	fprintf(out, "%s\n  --%-24s %s\n", settings->usage, "config FILE",
		"read settings from FILE: the options below without --, one a line");
	for (unsigned i = 0; i < settings->count; i++) {
		const struct setting *setting = &settings->rows[i];
		char text[48];

		snprintf(text, sizeof(text), "%s%s%s", setting->name, setting->arg ? " " : "", setting->arg ? setting->arg : "");
		fprintf(out, "  --%-24s %s\n", text, setting->help);
	}
	fprintf(out, "  --%-24s %s\n  --%-24s %s\n", "version", "print the version", "help", "print this");
	if (settings->help_more)
		settings->help_more(out);
}

static void unknown(const struct settings *settings, int argc, char *const *argv, int opt, FILE *err)
{
	const char *culprit = optind >= 1 && optind <= argc ? argv[optind - 1] : "";

	if (opt == ':')
		line_print(err, "%s: %s: expected a value after it; see --help", settings->program, culprit);
	else if (optopt && !strncmp(culprit, "--", 2) && strchr(culprit, '='))
		line_print(err, "%s: %.80s: expected no value; see --help", settings->program, culprit);
	else
		line_print(err, "%s: %.80s: expected an option that exists and is not ambiguous; see --help",
			   settings->program, culprit);
}

static void long_options(const struct settings *settings, struct option longs[LONGS_MAX])
{
	unsigned n = settings->count;

	assert(n <= SETTINGS_MAX);
	memset(longs, 0, LONGS_MAX * sizeof(*longs));
	for (unsigned i = 0; i < n; i++) {
		longs[i].name = settings->rows[i].name;
		longs[i].has_arg = settings->rows[i].arg ? required_argument : no_argument;
		longs[i].val = (int)i + 1;
	}
	longs[n] = (struct option){"config", required_argument, NULL, OPT_CONFIG};
	longs[n + 1] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	longs[n + 2] = (struct option){"help", no_argument, NULL, OPT_HELP};
}

static enum settings_verdict option_apply(const struct settings *settings, void *options, int opt, bool config_pass, FILE *out,
					  FILE *err)
{
	bool ok = true;

	if (opt == OPT_HELP) {
		help(settings, out);
		return SETTINGS_DONE;
	}
	if (opt == OPT_VERSION) {
		fprintf(out, "%s %s\n", settings->program, VIREO_VERSION);
		return SETTINGS_DONE;
	}
	if (opt == OPT_CONFIG && config_pass)
		ok = config_file_read(settings, options, optarg, err);
	else if (opt != OPT_CONFIG && !config_pass)
		ok = settings_apply(settings, options, &settings->rows[opt - 1], optarg ? optarg : "", "--", err);
	return ok ? SETTINGS_RUN : SETTINGS_BAD;
}

/* Two passes: the file first, so that the command line holds over it wherever --config stands. */
static enum settings_verdict pass(const struct settings *settings, void *options, int argc, char *const *argv, bool config_pass,
				  FILE *out, FILE *err)
{
	struct option longs[LONGS_MAX];
	enum settings_verdict verdict = SETTINGS_RUN;
	int opt;

	long_options(settings, longs);
	optind = 0;
	opterr = 0;
	while (verdict == SETTINGS_RUN && (opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		if (opt == '?' || opt == ':') {
			unknown(settings, argc, argv, opt, err);
			return SETTINGS_BAD;
		}
		verdict = option_apply(settings, options, opt, config_pass, out, err);
	}
	if (verdict == SETTINGS_RUN && optind < argc) {
		line_print(err, "%s: '%.80s': expected options only; see --help", settings->program, argv[optind]);
		return SETTINGS_BAD;
	}
	return verdict;
}

enum settings_verdict settings_parse(const struct settings *settings, void *options, int argc, char *const *argv, FILE *out,
				     FILE *err)
{
	enum settings_verdict verdict = pass(settings, options, argc, argv, true, out, err);

	return verdict == SETTINGS_RUN ? pass(settings, options, argc, argv, false, out, err) : verdict;
}
