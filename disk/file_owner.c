/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has locked a file. The kernel names the process of a POSIX lock, as F_OFD_GETLK does, but none for one of an open file (OFD), which may
 * be several processes'. So we look for a process that has such a file open: /proc/PID/fdinfo/FD lists the locks. Who may not be looked into,
 * another user's, stays unnamed, and may have it. Nothing here asks the file system that the file is on, which may not answer.
 */
#include "disk/file.h"
#include "base/visible.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* "lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:01:395 0 EOF", a line for each. */
bool file_owner_line(const char *line, const struct file_place *at, bool writers_only)
{
	char kind[8], type[8];
	struct file_place found;

	if (sscanf(line, "lock: %*u: %7s %*s %7s %*d %x:%x:%" SCNu64, kind, type, &found.major, &found.minor, &found.inode) != 5)
		return false;
	return found.inode == at->inode && found.major == at->major && found.minor == at->minor && !strcmp(kind, "OFDLCK") &&
	       (!writers_only || !strcmp(type, "WRITE"));
}

/* ---- where the file is ---- */

/* "36 35 98:0 ...": a mount of that id. */
static void mount_device(int mount_id, struct file_place *place)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t bytes = 0;
	unsigned major, minor;
	int id;

	if (!in)
		return;
	while (getline(&line, &bytes, in) > 0)
		if (sscanf(line, "%d %*d %u:%u", &id, &major, &minor) == 3 && id == mount_id) {
			place->major = major;
			place->minor = minor;
		}
	free(line);
	fclose(in);
}

/* As the kernel's lists of locks have it, which is not what stat(2) says of a file on btrfs or overlayfs. */
static bool place_find(int fd, struct file_place *ret_place)
{
	char path[64], line[160];
	struct stat st;
	int mount_id;
	FILE *in;

	if (fstat(fd, &st))
		return false;
	*ret_place = (struct file_place){major(st.st_dev), minor(st.st_dev), st.st_ino};
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in)) {
		sscanf(line, "ino: %" SCNu64, &ret_place->inode); /* Linux 5.14 */
		if (sscanf(line, "mnt_id: %d", &mount_id) == 1)
			mount_device(mount_id, ret_place);
	}
	if (in)
		fclose(in);
	return true;
}

/* ---- who has it ---- */

struct search {
	const char *path; /* who has it open is looked for; NULL: who has a lock, at */
	struct file_place at;
	bool writers_only;
	bool unseen; /* somebody is there who may not be looked into */
};

/* Of the process, or its file, which may have ended meanwhile. The first process is the system's, and has no disks. */
static bool not_opened(const char *pid, struct search *search)
{
	if (errno != ENOENT && errno != ESRCH && strcmp(pid, "1") != 0)
		search->unseen = true;
	return false;
}

static bool fd_has_lock(const char *pid, const char *fd, struct search *search)
{
	char path[64], line[160];
	bool found = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	in = fopen(path, "re");
	if (!in)
		return not_opened(pid, search);
	while (!found && fgets(line, sizeof(line), in))
		found = file_owner_line(line, &search->at, search->writers_only);
	fclose(in);
	return found;
}

static bool fd_is_path(const char *pid, const char *fd, struct search *search)
{
	char path[64], found[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, fd);
	length = readlink(path, found, sizeof(found) - 1);
	if (length < 0)
		return not_opened(pid, search);
	found[length] = '\0';
	return !strcmp(found, search->path);
}

static bool process_has(const char *pid, struct search *search)
{
	char path[64];
	struct dirent *entry;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo", pid);
	fds = opendir(path);
	if (!fds)
		return not_opened(pid, search);
	while (!found && (entry = readdir(fds)))
		found = entry->d_name[0] != '.' &&
			(search->path ? fd_is_path(pid, entry->d_name, search) : fd_has_lock(pid, entry->d_name, search));
	closedir(fds);
	return found;
}

static pid_t process_find(struct search *search)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	pid_t pid = 0;

	if (!processes) {
		search->unseen = true;
		return 0;
	}
	while (!pid && (entry = readdir(processes))) {
		bool number = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';

		if (number && process_has(entry->d_name, search))
			pid = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(processes);
	return pid;
}

/* A process calls itself what it likes. */
static void process_name(pid_t pid, char name[64])
{
	char path[32], comm[32];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	in = fopen(path, "re");
	if (!in || !fgets(comm, sizeof(comm), in))
		snprintf(comm, sizeof(comm), "?");
	if (in)
		fclose(in);
	comm[strcspn(comm, "\n")] = '\0';
	visible_copy(name, 64, comm);
}

enum file_owner file_owner(int fd, const struct flock *refused, char text[FILE_OWNER_BYTES])
{
	struct search search = {.writers_only = refused->l_type == F_RDLCK};
	struct flock owner = *refused;
	char name[64];
	pid_t pid = 0;

	if (!fcntl(fd, F_OFD_GETLK, &owner) && owner.l_type != F_UNLCK && owner.l_pid > 0)
		pid = owner.l_pid;
	else if (place_find(fd, &search.at))
		pid = process_find(&search);
	if (!pid) {
		snprintf(text, FILE_OWNER_BYTES, "somebody else");
		return search.unseen ? FILE_OWNER_UNSEEN : FILE_OWNER_NONE;
	}
	process_name(pid, name);
	snprintf(text, FILE_OWNER_BYTES, "process %d (%.63s)", (int)pid, name);
	return FILE_OWNER_FOUND;
}

enum file_owner file_opened(const char *path)
{
	char whole[PATH_MAX];
	struct search search = {.path = realpath(path, whole)};

	if (!search.path)
		return FILE_OWNER_UNSEEN;
	if (process_find(&search))
		return FILE_OWNER_FOUND;
	return search.unseen ? FILE_OWNER_UNSEEN : FILE_OWNER_NONE;
}
