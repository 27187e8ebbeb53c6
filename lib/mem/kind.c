/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * fstatfs(2) would tell the file system, but FUSE passes it on to its server, who may never answer, and overlayfs to
 * whatever lies below. So nothing is asked that leaves this kernel:
 *
 *	seals		only files of shared memory and of huge pages have them (memfd, tmpfs, /dev/shm, hugetlbfs), in
 *			whatever mount namespace they lie; every other file has none to tell, an overlay's upon tmpfs too
 *	statx(2)	of what is known already: the type, and the number of the mount
 *	mountinfo	which file system that mount is of; a mount of another namespace is not in there
 *
 * The list is of what is known to be good. A file system that is missing from it is a line more here; one that is
 * missing from a list of bad ones would be a guest's way to let everybody wait.
 */
#include "mem/kind.h"
#include "base/fd.h"
#include "base/util.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const disks[] = { "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "xfs", "zfs" };

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS", see proc(5). Blanks are escaped in it. */
static bool line_type(char *line, uint64_t mount, const char **ret_type)
{
	char *type = strstr(line, " - "), *end;

	if (strtoull(line, &end, 10) != mount || *end != ' ' || !type)
		return false;
	type += 3;
	end = strchr(type, ' ');
	if (!end)
		return false;
	*end = '\0';
	*ret_type = type;
	return true;
}

static enum file_kind type_kind(const char *type)
{
	if (!strcmp(type, "ramfs"))
		return FILE_MEMORY; /* has no seals */
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
		if (!strcmp(type, disks[i]))
			return FILE_DISK;
	return FILE_FOREIGN;
}

static enum file_kind mount_kind(uint64_t mount)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	enum file_kind kind = FILE_FOREIGN;
	const char *type;
	char *line = NULL;
	size_t room = 0;

	if (!mounts)
		return kind;
	while (getline(&line, &room, mounts) > 0) {
		if (!line_type(line, mount, &type))
			continue;
		kind = type_kind(type);
		break;
	}
	free(line);
	fclose(mounts);
	return kind;
}

enum file_kind file_kind(int fd)
{
	struct fd_file file;

	if (fcntl(fd, F_GET_SEALS) >= 0)
		return FILE_MEMORY;
	if (fd_look(fd, &file))
		return FILE_NONE;
	if (!file.type)
		return FILE_KERNELS;
	if (!S_ISREG(file.type))
		return FILE_NONE;
	return file.mounted ? mount_kind(file.mount) : FILE_FOREIGN;
}
