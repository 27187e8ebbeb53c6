/* SPDX-License-Identifier: BSD-3-Clause */
#include "holder.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKS_MAX 20000u
#define PATH_BYTES 128u

static bool process_has(const char *process, const char *path, unsigned *looks)
{
	char name[64], target[PATH_BYTES];
	const struct dirent *entry;
	bool has = false;
	DIR *folder;

	snprintf(name, sizeof(name), "/proc/%.20s/fd", process);
	folder = opendir(name);
	while (folder && !has && *looks && (entry = readdir(folder))) {
		ssize_t bytes = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

		--*looks;
		target[bytes > 0 ? bytes : 0] = '\0';
		has = !strcmp(target, path);
	}
	if (folder)
		closedir(folder);
	return has;
}

pid_t holder_of(const char *path)
{
	const struct dirent *entry;
	unsigned looks = LOOKS_MAX;
	pid_t found = 0;
	DIR *folder = opendir("/proc");

	while (folder && !found && looks && (entry = readdir(folder))) {
		pid_t process = (pid_t)strtol(entry->d_name, NULL, 10);

		if (process > 0 && process_has(entry->d_name, path, &looks))
			found = process;
	}
	if (folder)
		closedir(folder);
	return found;
}
