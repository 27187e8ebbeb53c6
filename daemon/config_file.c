/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: a setting a line. Each line is read whole, or the file is refused. */
#include "base/nearest.h"
#include "ctl/line.h"
#include "daemon/settings.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 65536u
#define ERRORS_MAX 20u /* of --check */

struct config_file {
	const struct settings *settings;
	void *options;
	const char *path;
	FILE *file, *err;
	uint64_t given;
	char line[LINE_BYTES + 1];
};

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

static void unknown(const struct config_file *config, const char *word)
{
	const struct settings *settings = config->settings;
	char names[512] = "", hint[NEAREST_HINT_BYTES], where[SETTINGS_WHERE_BYTES];
	size_t n = 0;

	for (unsigned i = 0; i < settings->count && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, " %s", settings->rows[i].name);
	line_print(config->err, "%s: %s'%.40s': expected one of:%s%s", settings->program, settings_here(config->options, where), word, names,
		   settings_hint(settings, word, strlen(word), "", hint));
}

static bool line_take(struct config_file *config)
{
	struct daemon_options *options = config->options;
	char *word = trim(config->line), *value, where[SETTINGS_WHERE_BYTES];
	const struct setting *setting;

	if (!*word)
		return true;
	options->config_at = (size_t)(word - config->line);
	value = word + strcspn(word, " \t");
	if (*value)
		*value++ = '\0';
	value = trim(value);
	setting = settings_find(config->settings, word);
	if (!setting) {
		unknown(config, word);
		return false;
	}
	if (setting->once) {
		line_print(config->err, "%s: %s%s: expected on the command line only", config->settings->program, settings_here(options, where), word);
		return false;
	}
	if (!setting->arg && *value) {
		options->config_at = (size_t)(value - config->line);
		line_print(config->err, "%s: %s%s '%.40s': expected nothing after '%s'", config->settings->program,
			   settings_here(options, where), word, value, word);
		return false;
	}
	return settings_apply(config->settings, config->options, setting, value, (size_t)(value - config->line), &config->given,
			      config->err);
}

/* 1: a line, 0: there are no more; -EILSEQ, -EMSGSIZE: none of ours; or what reading says. */
static int line_read(struct config_file *config)
{
	size_t bytes = 0;
	int c;

	errno = 0;
	while ((c = getc(config->file)) != EOF && c != '\n') {
		if (!c)
			return -EILSEQ;
		if (bytes == LINE_BYTES)
			return -EMSGSIZE;
		config->line[bytes++] = (char)c;
	}
	if (c == EOF && ferror(config->file))
		return errno ? -errno : -EIO;
	config->line[bytes] = '\0';
	return bytes || c != EOF;
}

static void unreadable(const struct settings *settings, const char *path, unsigned number, int error, FILE *err)
{
	if (error == -EILSEQ)
		line_print(err, "%s: %.480s:%u: expected text, there is a NUL byte", settings->program, path, number);
	else if (error == -EMSGSIZE)
		line_print(err, "%s: %.480s:%u: expected a line of at most %u bytes", settings->program, path, number,
			   LINE_BYTES);
	else
		line_print(err, "%s: --config '%.480s': expected a readable file: %s", settings->program, path,
			   strerror(-error));
}

static bool lines_take(struct config_file *config)
{
	struct daemon_options *options = config->options;
	unsigned errors = 0;
	int more = 1;

	options->config_text = config->line;
	for (unsigned n = 1; more > 0 && errors < ERRORS_MAX; n++) {
		options->config_line = n;
		more = line_read(config);
		if (more < 0)
			unreadable(config->settings, config->path, n, more, config->err);
		else if (more && !line_take(config) && (errors++, !options->check))
			return false;
	}
	options->config_line = 0;
	options->config_text = NULL;
	if (errors == ERRORS_MAX)
		line_print(config->err, "%s: %.480s: what comes after %u errors is not looked at", config->settings->program,
			   config->path, errors);
	return !more && !errors;
}

bool config_file_read(const struct settings *settings, void *options, const char *path, FILE *err)
{
	FILE *file = fopen(path, "re");
	struct config_file *config = file ? malloc(sizeof(*config)) : NULL;
	struct daemon_options *daemon_options = options;
	bool ok = false;

	if (config)
		daemon_options->config = strdup(path);
	if (config && daemon_options->config) {
		config->settings = settings;
		config->options = options;
		config->path = path;
		config->file = file;
		config->err = err;
		config->given = 0;
		ok = lines_take(config);
	} else {
		unreadable(settings, path, 0, errno ? -errno : -ENOMEM, err);
	}
	if (file)
		fclose(file);
	free(config);
	return ok;
}
