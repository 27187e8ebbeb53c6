/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "base/util.h"
#include "base/visible.h"
#include "daemon/cpus.h"
#include "daemon/logger.h"
#include "ctl/line.h"
#include "switch/switch.h"
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/*
 * ---- one function per setting: false if the value is bad; `why` is set if there is more to say than
 * `expected` ----
 */

static bool set_control(struct options *o, const char *value, char *why)
{
	char *copy = *value ? strdup(value) : NULL;

	if (!copy)
		return false;
	free(o->control);
	o->control = copy;
	return true;
}

static bool set_control_group(struct options *o, const char *value, char *why)
{
	o->set_control_group = true;
	return spec_group(value, &o->control_group);
}

static bool set_workers(struct options *o, const char *value, char *why)
{
	unsigned long n;
	int count;

	if (spec_number(value, 1, OPTIONS_WORKERS_MAX, &n)) {
		o->workers = (unsigned)n;
		o->pinned = false;
		return true;
	}
	count = strpbrk(value, "-,") ? cpus_parse(value, o->cpus, OPTIONS_WORKERS_MAX) : -EINVAL;
	if (count == -ENODEV)
		snprintf(why, SPEC_WHY_BYTES, "expected CPUs that this process may run on");
	if (count <= 0)
		return false;
	o->workers = (unsigned)count;
	o->pinned = true;
	return true;
}

static bool set_poll(struct options *o, const char *value, char *why)
{
	o->poll = true;
	return true;
}

static bool set_adaptive(struct options *o, const char *value, char *why)
{
	o->poll = false;
	return true;
}

static bool set_spin_us(struct options *o, const char *value, char *why)
{
	unsigned long n;

	if (!spec_number(value, 0, 1000000, &n))
		return false;
	o->spin_us = n ? (unsigned)n : SW_SPIN_NEVER;
	return true;
}

static bool set_spin_percent(struct options *o, const char *value, char *why)
{
	unsigned long n;

	if (!spec_number(value, 0, 100, &n))
		return false;
	o->spin_percent = n ? (unsigned)n : SW_SPIN_NEVER;
	return true;
}

static bool set_fdb_entries(struct options *o, const char *value, char *why)
{
	unsigned long n;

	if (!spec_number(value, 16, 1u << 20, &n))
		return false;
	o->fdb_entries = (unsigned)n;
	return true;
}

static bool set_fdb_age(struct options *o, const char *value, char *why)
{
	unsigned long n;

	if (!spec_number(value, 1, 1000000, &n))
		return false;
	o->fdb_age_s = (unsigned)n;
	return true;
}

static bool set_log_level(struct options *o, const char *value, char *why)
{
	return logger_level_parse(value, &o->log_level);
}

static bool port_given(const struct options *o, const char *name)
{
	for (unsigned i = 0; i < o->port_count; i++)
		if (o->ports[i].name_given && !strcmp(o->ports[i].name, name))
			return true;
	return false;
}

static bool set_port(struct options *o, const char *value, char *why)
{
	struct spec *ports = realloc(o->ports, (o->port_count + 1) * sizeof(*ports));

	if (!ports) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return false;
	}
	o->ports = ports;
	if (spec_parse(value, &ports[o->port_count], why))
		return false;
	if (ports[o->port_count].name_given && port_given(o, ports[o->port_count].name)) {
		snprintf(why, SPEC_WHY_BYTES, "expected another name: there is a port '%s' already",
			 ports[o->port_count].name);
		return false;
	}
	o->port_count++;
	return true;
}

static const struct setting {
	const char *name;
	const char *arg; /* NULL: none */
	bool (*set)(struct options *o, const char *value, char *why);
	const char *expected;
	const char *help;
} settings[] = {
	{"port", "SPEC", set_port, "TYPE:ADDRESS[,key=value...]",
	 "add a port (see below); may be given often"},
	{"control", "SOCK", set_control, "the path of a UNIX socket", "control socket for vireoctl"},
	{"control-group", "GROUP", set_control_group, "a group's name or number",
	 "members of GROUP may control, too"},
	{"workers", "N|CPU-LIST", set_workers,
	 "a number from 1 to 128, or a list of CPUs such as 0-1,4 or 3,",
	 "so many workers, or one pinned to each CPU (1)"},
	{"poll", NULL, set_poll, NULL, "workers never sleep"},
	{"adaptive", NULL, set_adaptive, NULL, "workers sleep when there is nothing to do (default)"},
	{"spin-us", "US", set_spin_us, "0 to 1000000",
	 "adaptive: wait awake for frames that usually come within US (as a sleep costs)"},
	{"spin-percent", "P", set_spin_percent, "0 to 100", "adaptive: and for P percent of the time at most (10)"},
	{"fdb-entries", "N", set_fdb_entries, "16 to 1048576", "room in the forwarding database (65536)"},
	{"fdb-age", "S", set_fdb_age, "1 to 1000000", "forget an address after S seconds of silence (300)"},
	{"log-level", "LEVEL", set_log_level, "error, warning, info or debug", "what goes to stderr (info)"},
};

#define OPT_CONFIG (int)(ARRAY_SIZE(settings) + 1)
#define OPT_VERSION (int)(ARRAY_SIZE(settings) + 2)
#define OPT_HELP (int)(ARRAY_SIZE(settings) + 3)

/* `where` is "--" or "FILE:LINE: ". */
static bool apply(struct options *o, const struct setting *s, const char *value, const char *where, FILE *err)
{
	char why[SPEC_WHY_BYTES] = "";

	if (!visible_is(value))
		snprintf(why, sizeof(why), "expected no control characters, and bytes that are UTF-8");
	else if (s->set(o, value, why))
		return true;
	if (*why)
		line_print(err, "vireo-switchd: %s%s '%.80s': %s", where, s->name, value, why);
	else
		line_print(err, "vireo-switchd: %s%s '%.80s': expected %s", where, s->name, value,
			   s->expected);
	return false;
}

static const struct setting *setting_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(settings[i].name, name))
			return &settings[i];
	return NULL;
}

/* A comment begins with a # that stands at the beginning or after a blank: paths may hold one. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	for (len = 0; text[len] && text[len] != '\n'; len++)
		if (text[len] == '#' && (len == 0 || isblank((unsigned char)text[len - 1])))
			break;
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

static void setting_names(char *list, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(settings) && n < bytes; i++)
		n += (size_t)snprintf(list + n, bytes - n, " %s", settings[i].name);
}

static bool config_line(struct options *o, char *line, const char *where, FILE *err)
{
	const struct setting *s;
	char *word = trim(line), *value, names[256];

	if (!*word)
		return true;
	value = word + strcspn(word, " \t");
	if (*value)
		*value++ = '\0';
	value = trim(value);
	s = setting_named(word);
	if (!s) {
		setting_names(names, sizeof(names));
		line_print(err, "vireo-switchd: %s'%.40s': expected one of:%s", where, word, names);
		return false;
	}
	if (!s->arg && *value) {
		line_print(err, "vireo-switchd: %s%s '%.40s': expected nothing after '%s'", where, word,
			   value, word);
		return false;
	}
	return apply(o, s, value, where, err);
}

#define CONFIG_LINE_BYTES 65536u

/* 1: a line, 0: there are no more; -EILSEQ, -EMSGSIZE: none of ours; or what reading says. */
static int line_read(FILE *file, char line[CONFIG_LINE_BYTES + 1])
{
	size_t bytes = 0;
	int c;

	errno = 0;
	while ((c = getc(file)) != EOF && c != '\n') {
		if (!c)
			return -EILSEQ;
		if (bytes == CONFIG_LINE_BYTES)
			return -EMSGSIZE;
		line[bytes++] = (char)c;
	}
	if (c == EOF && ferror(file))
		return errno ? -errno : -EIO;
	line[bytes] = '\0';
	return bytes || c != EOF;
}

static void config_unreadable(const char *path, unsigned number, int error, FILE *err)
{
	if (error == -EILSEQ)
		line_print(err, "vireo-switchd: %.480s:%u: expected text, there is a NUL byte", path, number);
	else if (error == -EMSGSIZE)
		line_print(err, "vireo-switchd: %.480s:%u: expected a line of at most %u bytes", path, number,
			   CONFIG_LINE_BYTES);
	else
		line_print(err, "vireo-switchd: --config '%.480s': expected a readable file: %s", path, strerror(-error));
}

static bool config_lines(struct options *o, FILE *file, char *line, const char *path, FILE *err)
{
	char where[512];
	int more = 1;

	for (unsigned n = 1; more > 0; n++) {
		more = line_read(file, line);
		snprintf(where, sizeof(where), "%.480s:%u: ", path, n);
		if (more < 0)
			config_unreadable(path, n, more, err);
		else if (more && !config_line(o, line, where, err))
			return false;
	}
	return !more;
}

static bool config_file(struct options *o, const char *path, FILE *err)
{
	FILE *file = fopen(path, "re");
	char *line = file ? malloc(CONFIG_LINE_BYTES + 1) : NULL;
	bool ok = false;

	if (line)
		ok = config_lines(o, file, line, path, err);
	else
		config_unreadable(path, 0, -errno, err);
	if (file)
		fclose(file);
	free(line);
	return ok;
}

static void help(FILE *out)
{
	fprintf(out,
		"Usage: vireo-switchd [OPTION]... [--port SPEC]...\n"
		"A learning Ethernet switch for virtual machines.\n\n"
		"  --%-24s %s\n",
		"config FILE", "read settings from FILE: the options below without --, one a line");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char text[48];

		snprintf(text, sizeof(text), "%s%s%s", settings[i].name, settings[i].arg ? " " : "",
			 settings[i].arg ? settings[i].arg : "");
		fprintf(out, "  --%-24s %s\n", text, settings[i].help);
	}
	fprintf(out, "  --%-24s %s\n  --%-24s %s\n", "version", "print the version", "help", "print this");
	fprintf(out,
		"\nSPEC is one of\n"
		"  vhost-user:PATH[,name=,mode=server|client,queues=N,mtu=,mac=A[+B...],spoof=deny|allow,user=,group=,perm=0660,\n"
		"             files=memory|any,memory-max=SIZE,packed=on|off,event-idx=on|off,indirect=on|off,in-order=on|off]\n"
		"  vduse:NAME[,name=,queues=1,mtu=,mac=A[+B...],spoof=deny|allow,files=,\n"
		"             attach=virtio|vhost|none,queue-size=N,packed=,event-idx=,indirect=,in-order=,memory-max=]\n"
		"  cuse:NAME[,name=,queues=N,mtu=,mac=A[+B...],user=,group=,perm=,files=,memory-max=,\n"
		"             packed=,event-idx=,indirect=,in-order=]\n"
		"  tap:INTERFACE[,name=,queues=N,mtu=]\n"
		"  virtio-pci:ADDRESS[,name=,queues=N,mtu=]\n"
		"  null:NAME\n");
}

static void unknown(int argc, char *const *argv, int opt, FILE *err)
{
	const char *culprit = optind >= 1 && optind <= argc ? argv[optind - 1] : "";

	if (opt == ':')
		line_print(err, "vireo-switchd: %s: expected a value after it; see --help", culprit);
	else if (optopt && !strncmp(culprit, "--", 2) && strchr(culprit, '='))
		line_print(err, "vireo-switchd: %.80s: expected no value; see --help", culprit);
	else
		line_print(err,
			   "vireo-switchd: %.80s: expected an option that exists and is not ambiguous; see "
			   "--help",
			   culprit);
}

static void long_options(struct option *longs)
{
	memset(longs, 0, (ARRAY_SIZE(settings) + 4) * sizeof(*longs));
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		longs[i].name = settings[i].name;
		longs[i].has_arg = settings[i].arg ? required_argument : no_argument;
		longs[i].val = (int)i + 1;
	}
	longs[OPT_CONFIG - 1] = (struct option){"config", required_argument, NULL, OPT_CONFIG};
	longs[OPT_VERSION - 1] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	longs[OPT_HELP - 1] = (struct option){"help", no_argument, NULL, OPT_HELP};
}

static enum options_verdict option_apply(struct options *o, int opt, bool config_pass, FILE *out, FILE *err)
{
	if (opt == OPT_HELP) {
		help(out);
		return OPTIONS_DONE;
	}
	if (opt == OPT_VERSION) {
		fprintf(out, "vireo-switchd %s\n", VIREO_VERSION);
		return OPTIONS_DONE;
	}
	if (opt == OPT_CONFIG)
		return !config_pass || config_file(o, optarg, err) ? OPTIONS_RUN : OPTIONS_BAD;
	if (config_pass)
		return OPTIONS_RUN;
	return apply(o, &settings[opt - 1], optarg ? optarg : "", "--", err) ? OPTIONS_RUN : OPTIONS_BAD;
}

/* Two passes: the file first, so that the command line holds over it wherever --config stands. */
static enum options_verdict pass(int argc, char *const *argv, bool config_pass, FILE *out, FILE *err,
				 struct options *o)
{
	struct option longs[ARRAY_SIZE(settings) + 4];
	enum options_verdict verdict = OPTIONS_RUN;
	int opt;

	long_options(longs);
	optind = 0;
	opterr = 0;
	while (verdict == OPTIONS_RUN && (opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		if (opt == '?' || opt == ':') {
			unknown(argc, argv, opt, err);
			return OPTIONS_BAD;
		}
		verdict = option_apply(o, opt, config_pass, out, err);
	}
	if (verdict == OPTIONS_RUN && optind < argc) {
		line_print(err, "vireo-switchd: '%.80s': expected options only; see --help", argv[optind]);
		return OPTIONS_BAD;
	}
	return verdict;
}

enum options_verdict options_parse(int argc, char *const *argv, FILE *out, FILE *err, struct options *options)
{
	enum options_verdict verdict;

	memset(options, 0, sizeof(*options));
	options->workers = 1;
	options->fdb_entries = 65536;
	options->fdb_age_s = 300;
	options->log_level = VIREO_LOG_INFO;
	verdict = pass(argc, argv, true, out, err, options);
	if (verdict == OPTIONS_RUN)
		verdict = pass(argc, argv, false, out, err, options);
	if (verdict != OPTIONS_RUN)
		options_free(options);
	return verdict;
}

void options_free(struct options *options)
{
	free(options->control);
	free(options->ports);
	memset(options, 0, sizeof(*options));
}
