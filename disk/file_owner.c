/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has locked a file. The kernel names the process of a POSIX lock, as F_OFD_GETLK does, but none for one of an open file (OFD), which may
 * be several processes'. So we look for a process that has such a file open: /proc/PID/fdinfo/FD lists the locks. What may not be read there,
 * another user's, stays unnamed. Nothing here asks the file system that the file is on, which may not answer.
 */
#include "disk/file.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:01:395 0 EOF", a line for each. */
static bool line_names(const char *line, uint64_t inode, bool writers_only)
{
	char kind[8], type[8];
	uint64_t number;

	if (sscanf(line, "lock: %*u: %7s %*s %7s %*d %*x:%*x:%" SCNu64, kind, type, &number) != 3)
		return false;
	return number == inode && !strcmp(kind, "OFDLCK") && (!writers_only || !strcmp(type, "WRITE"));
}

static bool fd_has_lock(const char *path, uint64_t inode, bool writers_only)
{
	FILE *in = fopen(path, "re");
	char line[160];
	bool found = false;

	if (!in)
		return false;
	while (!found && fgets(line, sizeof(line), in))
		found = line_names(line, inode, writers_only);
	fclose(in);
	return found;
}

static bool process_has_lock(const char *pid, uint64_t inode, bool writers_only)
{
	char path[64];
	struct dirent *entry;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo", pid);
	fds = opendir(path);
	if (!fds)
		return false;
	while (!found && (entry = readdir(fds))) {
		snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, entry->d_name);
		found = entry->d_name[0] != '.' && fd_has_lock(path, inode, writers_only);
	}
	closedir(fds);
	return found;
}

static pid_t process_find(uint64_t inode, bool writers_only)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	pid_t pid = 0;

	if (!processes)
		return 0;
	while (!pid && (entry = readdir(processes))) {
		bool number = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';

		if (number && process_has_lock(entry->d_name, inode, writers_only))
			pid = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(processes);
	return pid;
}

static void process_name(pid_t pid, char name[32])
{
	char path[32];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	in = fopen(path, "re");
	if (!in || !fgets(name, 32, in))
		snprintf(name, 32, "?");
	if (in)
		fclose(in);
	name[strcspn(name, "\n")] = '\0';
}

void file_owner(int fd, const struct flock *refused, char text[FILE_OWNER_BYTES])
{
	struct flock owner = *refused;
	struct stat st;
	char name[32];
	pid_t pid = 0;

	if (!fcntl(fd, F_OFD_GETLK, &owner) && owner.l_type != F_UNLCK && owner.l_pid > 0)
		pid = owner.l_pid;
	else if (!fstat(fd, &st))
		pid = process_find(st.st_ino, refused->l_type == F_RDLCK);
	if (!pid) {
		snprintf(text, FILE_OWNER_BYTES, "somebody else");
		return;
	}
	process_name(pid, name);
	snprintf(text, FILE_OWNER_BYTES, "process %d (%.31s)", (int)pid, name);
}
