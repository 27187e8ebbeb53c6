/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/charge.h"
#include "base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAT_BYTES 8192u

/* Version 1 has a hierarchy for memory, version 2 one for everything. */
struct cgroup {
	bool v2;
	char path[PATH_MAX]; /* in the hierarchy, begins with '/' */
};

/* A line is NUMBER:CONTROLLERS:PATH. */
static bool line_parse(char *line, struct cgroup *ret)
{
	char *rest = line, *path;
	const char *controllers, *controller;
	bool memory = false;

	strsep(&rest, ":");
	controllers = rest;
	strsep(&rest, ":");
	path = rest;
	if (!controllers || !path || *path != '/')
		return false;
	path[strcspn(path, "\n")] = '\0';
	ret->v2 = !*controllers;
	for (char *list = (char *)(uintptr_t)controllers; (controller = strsep(&list, ","));)
		memory |= !strcmp(controller, "memory");
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	return memory || ret->v2;
}

/* Where version 1 has the controller, version 2 has not. */
static bool cgroup_find(struct cgroup *ret)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	struct cgroup *found = malloc(sizeof(*found));
	char *line = NULL;
	size_t room = 0;
	bool any = false;

	while (file && found && getline(&line, &room, file) > 0) {
		if (!line_parse(line, found) || (any && found->v2))
			continue;
		*ret = *found;
		any = true;
	}
	free(line);
	free(found);
	if (file)
		fclose(file);
	return any;
}

/* In a container the hierarchy may begin at our own cgroup, while its path is told from the machine's root on. */
static int cgroup_file(const struct cgroup *cgroup, const char *path, const char *name)
{
	static const char *const roots[2][2] = {{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"},
						 {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}};
	char *full;

	for (unsigned i = 0; i < 2; i++) {
		int fd = asprintf(&full, "%s%s/%s", roots[cgroup->v2][i], path, name) < 0 ? -1 : open(full, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 || errno != ENOENT) {
			free(full);
			return fd < 0 ? -errno : fd;
		}
		free(full);
	}
	return -ENOENT;
}

static uint64_t limit_of(const struct cgroup *cgroup, const char *path)
{
	int fd = cgroup_file(cgroup, path, cgroup->v2 ? "memory.max" : "memory.limit_in_bytes");
	unsigned long long limit;
	char text[32];
	ssize_t n;

	if (fd < 0)
		return UINT64_MAX;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	return sscanf(text, "%llu", &limit) == 1 ? limit : UINT64_MAX; /* or "max" */
}

uint64_t charge_limit(void)
{
	uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct cgroup *cgroup = malloc(sizeof(*cgroup));

	if (cgroup && cgroup_find(cgroup)) {
		for (char *end; (end = strrchr(cgroup->path, '/')); *end = '\0')
			limit = min_u64(limit, limit_of(cgroup, strcmp(cgroup->path, "/") ? cgroup->path : ""));
		limit = min_u64(limit, limit_of(cgroup, ""));
	}
	free(cgroup);
	return limit;
}

int charge_open(void)
{
	struct cgroup *cgroup = malloc(sizeof(*cgroup));
	int fd = -ENOENT;

	if (cgroup && cgroup_find(cgroup))
		fd = cgroup_file(cgroup, strcmp(cgroup->path, "/") ? cgroup->path : "", "memory.stat");
	free(cgroup);
	if (fd >= 0)
		return fd;
	fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- in a signal handler ---- */

/* The number behind `name` at the beginning of a line. */
static bool number_find(const char *text, const char *name, uint64_t *ret)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, name, len) != 0)
			continue;
		*ret = 0;
		for (line += len; *line == ' '; line++)
			;
		for (; *line >= '0' && *line <= '9'; line++)
			*ret = *ret * 10 + (uint64_t)(*line - '0');
		return true;
	}
	return false;
}

uint64_t charge_shared(int fd)
{
	char text[STAT_BYTES];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	uint64_t bytes;

	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	if (number_find(text, "total_shmem ", &bytes) || number_find(text, "shmem ", &bytes)) /* versions 1 and 2 */
		return bytes;
	return number_find(text, "Shmem:", &bytes) ? bytes << 10 : UINT64_MAX;
}
