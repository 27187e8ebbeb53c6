/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/command.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *param_at(const struct ctl_command *command, unsigned index)
{
	const char *at = command->params;

	while (index-- && *at)
		at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' ');
	return at;
}

bool ctl_command_param_is_option(const struct ctl_command *command, unsigned index)
{
	return !strncmp(param_at(command, index), "[--", 3);
}

bool ctl_command_param(const struct ctl_command *command, unsigned index, char name[CTL_PARAM_NAME_BYTES],
		       bool *ret_required)
{
	const char *at = param_at(command, index);
	size_t n = 0;

	if (!*at)
		return false;
	*ret_required = *at != '[';
	at += *at == '[';
	at += strncmp(at, "--", 2) ? 0 : 2;
	for (; n < CTL_PARAM_NAME_BYTES - 1 && at[n] && !strchr(" ]=", at[n]); n++)
		name[n] = (char)tolower((unsigned char)at[n]);
	name[n] = '\0';
	return true;
}

const struct ctl_command *ctl_command_by_method(const struct ctl_command *commands, size_t count,
						const char *method)
{
	for (size_t i = 0; i < count; i++)
		if (commands[i].method && !strcmp(commands[i].method, method))
			return &commands[i];
	return NULL;
}

static int words_match(const char *words, int argc, char *const *argv)
{
	int n = 0;

	while (*words) {
		size_t len = strcspn(words, " ");

		if (n == argc || strlen(argv[n]) != len || strncmp(argv[n], words, len) != 0)
			return 0;
		n++;
		words += len + (words[len] == ' ');
	}
	return n;
}

const struct ctl_command *ctl_command_by_words(const struct ctl_command *commands, size_t count, int argc,
					       char *const *argv, int *ret_words)
{
	for (size_t i = 0; i < count; i++) {
		int n = words_match(commands[i].words, argc, argv);

		if (n) {
			*ret_words = n;
			return &commands[i];
		}
	}
	return NULL;
}

int ctl_default_path(const char *name, char *path, size_t path_bytes)
{
	const char *dir = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	char text[4096];
	int n;

	if (!dir || *dir != '/')
		return -ENOENT;
	n = snprintf(text, sizeof(text), "%s/vireo/%s.sock", dir, name);
	if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n >= path_bytes)
		return -ENAMETOOLONG;
	memcpy(path, text, (size_t)n + 1);
	return 0;
}
