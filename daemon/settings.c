/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/settings.h"
#include "daemon/landlock.h"
#include "base/nearest.h"
#include "base/visible.h"
#include "ctl/line.h"
#include "daemon/logger.h"
#include "daemon/sandbox.h"
#include <assert.h>
#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long() returns for a setting is its row + 1, and for these: */
enum { OPT_CONFIG = SETTINGS_MAX + 1, OPT_CHECK, OPT_PRINT_SANDBOX, OPT_VERSION, OPT_HELP };

#define LONGS_MAX (SETTINGS_MAX + 6) /* the five, and the end */

struct setting_given {
	const struct setting *setting;
	char *value;
};

/* ---- every daemon's own settings ---- */

void daemon_options_init(struct daemon_options *options)
{
	*options = (struct daemon_options){.log_level = VIREO_LOG_INFO};
}

void daemon_options_free(struct daemon_options *options)
{
	free(options->control);
	options->control = NULL;
	free(options->config);
	options->config = NULL;
	free(options->beneath);
	options->beneath = NULL;
	for (unsigned i = 0; i < options->given_count; i++)
		free(options->given[i].value);
	free(options->given);
	options->given = NULL;
	options->given_count = 0;
}

const char *settings_where(const struct daemon_options *options, unsigned line, char where[SETTINGS_WHERE_BYTES])
{
	*where = '\0';
	if (line)
		snprintf(where, SETTINGS_WHERE_BYTES, "%.480s:%u: ", options->config, line);
	return where;
}

/* What a UTF-8 sequence goes on with makes no character of its own. */
static unsigned column_of(const char *text, size_t at)
{
	unsigned column = 1;

	for (size_t i = 0; i < at; i++)
		column += ((unsigned char)text[i] & 0xc0) != 0x80;
	return column;
}

const char *settings_here(const struct daemon_options *options, char where[SETTINGS_WHERE_BYTES])
{
	if (options->config_line)
		snprintf(where, SETTINGS_WHERE_BYTES, "%.480s:%u:%u: ", options->config, options->config_line,
			 column_of(options->config_text, options->config_at));
	else
		snprintf(where, SETTINGS_WHERE_BYTES, "--");
	return where;
}

bool settings_set_control(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;
	char *copy = *value ? strdup(value) : NULL;

	if (!copy)
		return false;
	free(o->control);
	o->control = copy;
	o->control_line = o->config_line;
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

bool settings_set_beneath(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;
	char *copy = landlock_paths_valid(value) ? strdup(value) : NULL;

	if (!copy)
		return false;
	free(o->beneath);
	o->beneath = copy;
	return true;
}

bool settings_set_no_sandbox(void *options, const char *value, char *why)
{
	((struct daemon_options *)options)->no_sandbox = true;
	return true;
}

bool settings_set_takeover(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;

	if (o->config_line)
		snprintf(why, PARSE_WHY_BYTES, "expected on the command line only");
	o->takeover = !o->config_line;
	return o->takeover;
}

bool settings_set_upgrade(void *options, const char *value, char *why)
{
	struct daemon_options *o = options;

	o->upgrade = settings_set_takeover(options, value, why);
	return o->upgrade;
}

/* ---- the table ---- */

const struct setting *settings_find(const struct settings *settings, const char *name)
{
	for (unsigned i = 0; i < settings->count; i++)
		if (!strcmp(settings->rows[i].name, name))
			return &settings->rows[i];
	return NULL;
}

const char *settings_hint(const struct settings *settings, const char *name, size_t bytes, const char *before, char *hint)
{
	struct nearest nearest = nearest_to(name, bytes);

	for (unsigned i = 0; i < settings->count; i++)
		nearest_offer(&nearest, settings->rows[i].name);
	return nearest_hint(&nearest, hint, before);
}

/* Of one source. That the command line holds over the file is no contradiction. */
static bool fits_what_is_given(const struct settings *settings, const struct setting *setting, const char *where,
			       uint64_t *given, FILE *err)
{
	const struct setting *rival = setting->rival ? settings_find(settings, setting->rival) : NULL;

	if (!given_first(given, (unsigned)(setting - settings->rows)) && !setting->many) {
		line_print(err, "%s: %s%s " GIVEN_TWICE, settings->program, where, setting->name);
		return false;
	}
	if (!rival || !given_has(*given, (unsigned)(rival - settings->rows)))
		return true;
	line_print(err, "%s: %s%s contradicts %s, which is given, too: leave one out", settings->program, where, setting->name,
		   rival->name);
	return false;
}

/* What is said later, on the command line, holds over what was said before, and over what contradicts it. */
static bool given_note(struct daemon_options *options, const struct setting *setting, const char *value)
{
	struct setting_given *more;
	unsigned kept = 0;

	if (setting->many)
		return true;
	for (unsigned i = 0; i < options->given_count; i++) {
		struct setting_given *g = &options->given[i];

		if (g->setting == setting || (setting->rival && !strcmp(g->setting->name, setting->rival)))
			free(g->value);
		else
			options->given[kept++] = *g;
	}
	options->given_count = kept;
	more = realloc(options->given, (kept + 1) * sizeof(*more));
	if (!more)
		return false;
	options->given = more;
	more[kept] = (struct setting_given){setting, strdup(value)};
	options->given_count += !!more[kept].value;
	return more[kept].value;
}

void settings_write_line(FILE *out, const char *name, const char *value)
{
	const char *hash = strchr(value, '#');
	size_t len = strlen(value);
	bool fits = !len || (!isblank((unsigned char)value[0]) && !isblank((unsigned char)value[len - 1]));

	for (; hash; hash = strchr(hash + 1, '#'))
		fits &= hash > value && !isblank((unsigned char)hash[-1]);
	fprintf(out, "%s%s%s%s\n", fits ? "" : "# cannot be written in a file: ", name, len ? " " : "", value);
}

void settings_write(const struct daemon_options *options, FILE *out)
{
	bool level = false;

	for (unsigned i = 0; i < options->given_count; i++) {
		const struct setting_given *g = &options->given[i];
		bool is_level = g->setting->set == settings_set_log_level;

		if (g->setting->once)
			continue;
		level |= is_level;
		settings_write_line(out, g->setting->name, is_level ? logger_level_name(logger_level()) : g->value);
	}
	if (!level && logger_level() != options->log_level)
		settings_write_line(out, "log-level", logger_level_name(logger_level()));
}

bool settings_apply(const struct settings *settings, void *options, const struct setting *setting, const char *value,
		    size_t value_at, uint64_t *given, FILE *err)
{
	struct daemon_options *daemon_options = options;
	char why[PARSE_WHY_BYTES] = "", where[SETTINGS_WHERE_BYTES];

	if (!fits_what_is_given(settings, setting, settings_here(options, where), given, err))
		return false;
	daemon_options->config_at = value_at;
	if (!visible_is(value))
		snprintf(why, sizeof(why), "expected no control characters, and bytes that are UTF-8");
	else if (setting->set(options, value, why))
		return given_note(options, setting, value) ||
		       (line_print(err, "%s: %s%s: out of memory", settings->program, where, setting->name), false);
	settings_here(options, where);
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
	fprintf(out, "  --%-24s %s\n", "check FILE", "say what is wrong with such a file, each line of it, and do nothing else");
	for (unsigned i = 0; i < settings->count; i++) {
		const struct setting *setting = &settings->rows[i];
		char text[48];

		snprintf(text, sizeof(text), "%s%s%s", setting->name, setting->arg ? " " : "", setting->arg ? setting->arg : "");
		fprintf(out, "  --%-24s %s\n", text, setting->help);
	}
	if (settings->rooms)
		fprintf(out, "  --%-24s %s\n", "print-sandbox", "print what it keeps of capabilities and system calls, and why");
	fprintf(out, "  --%-24s %s\n  --%-24s %s\n", "version", "print the version", "help, -h", "print this");
	if (settings->help_more)
		settings->help_more(out);
}

static void unknown(const struct settings *settings, int argc, char *const *argv, int opt, FILE *err)
{
	const char *culprit = optind >= 1 && optind <= argc ? argv[optind - 1] : "";
	const char *name = culprit + (!strncmp(culprit, "--", 2) ? 2 : 0);
	char hint[NEAREST_HINT_BYTES];

	settings_hint(settings, name, strcspn(name, "="), "--", hint);
	if (opt == ':')
		line_print(err, "%s: %s: expected a value after it; see --help", settings->program, culprit);
	else if (optopt && !strncmp(culprit, "--", 2) && strchr(culprit, '='))
		line_print(err, "%s: %.80s: expected no value; see --help", settings->program, culprit);
	else
		line_print(err, "%s: %.80s: expected an option that exists and is not ambiguous%s see --help",
			   settings->program, culprit, *hint ? hint : ";");
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
	longs[n + 1] = (struct option){"check", required_argument, NULL, OPT_CHECK};
	longs[n + 2] = (struct option){"print-sandbox", no_argument, NULL, OPT_PRINT_SANDBOX};
	longs[n + 3] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	longs[n + 4] = (struct option){"help", no_argument, NULL, OPT_HELP};
}

static bool all_fits(const struct settings *settings, const void *options, FILE *err)
{
	const char *problem = settings->problem ? settings->problem(options) : NULL;

	if (problem)
		line_print(err, "%s: %s", settings->program, problem);
	return !problem;
}

/* Nothing is opened, nothing made: what a start would find in the environment is not looked at. */
static enum settings_verdict check(const struct settings *settings, void *options, const char *path, FILE *out, FILE *err)
{
	struct daemon_options *o = options;

	free(o->config);
	o->config = NULL;
	o->check = true;
	if (!config_file_read(settings, options, path, err) || !all_fits(settings, options, err))
		return SETTINGS_BAD;
	fprintf(out, "%s: %s: nothing is wrong with it\n", settings->program, path);
	return SETTINGS_DONE;
}

static enum settings_verdict option_apply(const struct settings *settings, void *options, int opt, bool config_pass,
					  uint64_t *given, FILE *out, FILE *err)
{
	bool ok = true;

	if (opt == OPT_HELP || opt == 'h') {
		help(settings, out);
		return SETTINGS_DONE;
	}
	if (opt == OPT_VERSION) {
		fprintf(out, "%s %s\n", settings->program, VIREO_VERSION);
		return SETTINGS_DONE;
	}
	if (opt == OPT_PRINT_SANDBOX && settings->rooms) {
		sandbox_print(settings->rooms, out);
		return SETTINGS_DONE;
	}
	if (opt == OPT_CHECK)
		return check(settings, options, optarg, out, err);
	if (opt == OPT_CONFIG && config_pass)
		ok = config_file_read(settings, options, optarg, err);
	else if (opt != OPT_CONFIG && !config_pass)
		ok = settings_apply(settings, options, &settings->rows[opt - 1], optarg ? optarg : "", 0, given, err);
	return ok ? SETTINGS_RUN : SETTINGS_BAD;
}

/* Two passes: the file first, so that the command line holds over it wherever --config stands. */
static enum settings_verdict pass(const struct settings *settings, void *options, int argc, char *const *argv, bool config_pass,
				  FILE *out, FILE *err)
{
	struct option longs[LONGS_MAX];
	enum settings_verdict verdict = SETTINGS_RUN;
	bool config_given = false;
	uint64_t given = 0;
	int opt;

	long_options(settings, longs);
	optind = 0;
	opterr = 0;
	while (verdict == SETTINGS_RUN && (opt = getopt_long(argc, argv, "+:h", longs, NULL)) != -1) {
		if (opt == '?' || opt == ':') {
			unknown(settings, argc, argv, opt, err);
			return SETTINGS_BAD;
		}
		if (opt == OPT_CONFIG && config_given) {
			line_print(err, "%s: --config " GIVEN_TWICE, settings->program);
			return SETTINGS_BAD;
		}
		config_given |= opt == OPT_CONFIG;
		verdict = option_apply(settings, options, opt, config_pass, &given, out, err);
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
	enum settings_verdict verdict;

	((struct daemon_options *)options)->rooms = settings->rooms;
	verdict = pass(settings, options, argc, argv, true, out, err);
	if (verdict == SETTINGS_RUN)
		verdict = pass(settings, options, argc, argv, false, out, err);
	if (verdict == SETTINGS_RUN && !all_fits(settings, options, err))
		verdict = SETTINGS_BAD;
	return verdict == SETTINGS_DONE && !line_output_arrived(out, err, settings->program) ? SETTINGS_LOST : verdict;
}
