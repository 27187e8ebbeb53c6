/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this machine does with a block device, so that nobody may have it for himself alone. Processes that have one open in that way are not told
 * apart from others (file_owner.c).
 */
#include "disk/file.h"
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Where the kernel shows it: a part lies in the folder of its whole. */
static bool shown_at(dev_t dev, char place[PATH_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	return realpath(path, place);
}

static bool lies_in(const char *place, const char *folder)
{
	size_t length = strlen(folder);

	return !strncmp(place, folder, length) && (place[length] == '/' || !place[length]);
}

static bool is_or_has(dev_t one, dev_t other)
{
	char a[PATH_MAX], b[PATH_MAX];

	if (one == other)
		return true;
	return shown_at(one, a) && shown_at(other, b) && (lies_in(a, b) || lies_in(b, a));
}

static bool path_is(const char *path, dev_t dev)
{
	struct stat st;

	return !strncmp(path, "/dev/", strlen("/dev/")) && !stat(path, &st) && S_ISBLK(st.st_mode) && is_or_has(st.st_rdev, dev);
}

/* "36 35 98:0 / /mnt rw shared:1 - ext4 /dev/sda1 rw". Of btrfs the numbers are no device's, but its name is there. */
bool file_device_mounted(const char *line, dev_t dev)
{
	const char *more = strstr(line, " - ");
	char source[PATH_MAX];
	unsigned major, minor;

	if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
		return false;
	if (is_or_has(makedev(major, minor), dev))
		return true;
	return more && sscanf(more, " - %*s %4095s", source) == 1 && path_is(source, dev);
}

/* "/dev/sda2 partition 1048572 0 -2" */
static bool swapped_to(const char *line, dev_t dev)
{
	char path[PATH_MAX];

	return sscanf(line, "%4095s", path) == 1 && path_is(path, dev);
}

static bool any_line(const char *path, bool (*is)(const char *line, dev_t dev), dev_t dev)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t bytes = 0;
	bool found = false;

	while (in && !found && getline(&line, &bytes, in) > 0)
		found = is(line, dev);
	free(line);
	if (in)
		fclose(in);
	return found;
}

/* Of a mapper, a RAID. */
static bool has_holders(dev_t dev)
{
	const struct dirent *entry;
	char path[64];
	bool found = false;
	DIR *holders;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(dev), minor(dev));
	holders = opendir(path);
	while (holders && !found && (entry = readdir(holders)))
		found = entry->d_name[0] != '.';
	if (holders)
		closedir(holders);
	return found;
}

bool file_device_used(dev_t dev)
{
	return any_line("/proc/self/mountinfo", file_device_mounted, dev) || any_line("/proc/swaps", swapped_to, dev) || has_holders(dev);
}
