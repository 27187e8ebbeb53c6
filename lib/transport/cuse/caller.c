/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/caller.h"
#include "base/fd.h"
#include "base/system.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Whom a number means. A request names its thread, which waits for the answer in the kernel, so its number is
 * not given to anybody else meanwhile. That may be any thread: fds and memory are those of its group. The
 * group's pidfd and folder are opened before the number is looked at once more: if it still leads to the same
 * group, they are those of the caller, and stay his whatever becomes of the number (a folder of a process
 * that has died is empty).
 */

#define STATUS_BYTES 4096u

struct caller {
	pid_t process;
	int pidfd;
	int folder_fd; /* /proc/PROCESS */
};

const char caller_no_ptrace[] =
	"no permission to look into the caller: run as its user, or with CAP_SYS_PTRACE";

int caller_out_of_fds(int r, const char **why)
{
	if (r == -EMFILE)
		*why = "this process is out of file descriptors: raise its limit (ulimit -n, LimitNOFILE=)";
	else if (r == -ENFILE)
		*why = "this machine is out of open files: raise fs.file-max (sysctl)";
	return r;
}

/* ---- identity ---- */

/* Its number, or a negative errno. */
static int group_of(pid_t thread)
{
	char path[32], status[STATUS_BYTES];
	int fd, group;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : -ESRCH;
	got = read(fd, status, sizeof(status) - 1);
	fd_close(&fd);
	status[got > 0 ? got : 0] = '\0';
	group = maps_tgid(status);
	return group ? group : -ESRCH;
}

static int caller_open(struct caller *caller, pid_t thread, const char **why)
{
	char path[32];
	int group = group_of(thread);

	*why = "the caller's process cannot be found";
	if (group < 0)
		return caller_out_of_fds(group, why);
	caller->process = group;
	caller->pidfd = system_pidfd_open(caller->process);
	if (caller->pidfd < 0)
		return caller_out_of_fds(-errno, why);
	snprintf(path, sizeof(path), "/proc/%d", (int)caller->process);
	caller->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (caller->folder_fd < 0)
		return caller_out_of_fds(-errno, why);
	return caller_has_thread(caller, thread) ? 0 : -ESRCH;
}

int caller_new(pid_t pid, struct caller **ret_caller, const char **why)
{
	struct caller *caller;
	int r;

	if (pid <= 0) {
		*why = "the caller lives in another pid namespace: run in its namespace, or in one above it";
		return -ESRCH;
	}
	caller = malloc(sizeof(*caller));
	*why = "out of memory";
	if (!caller)
		return -ENOMEM;
	*caller = (struct caller){ .pidfd = -1, .folder_fd = -1 };
	r = caller_open(caller, pid, why);
	if (r) {
		caller_free(caller);
		return r;
	}
	*ret_caller = caller;
	return 0;
}

void caller_free(struct caller *caller)
{
	if (!caller)
		return;
	fd_close(&caller->pidfd);
	fd_close(&caller->folder_fd);
	free(caller);
}

pid_t caller_process(const struct caller *caller)
{
	return caller->process;
}

int caller_folder(const struct caller *caller)
{
	return caller->folder_fd;
}

/* A pidfd is readable when the last thread of its process has gone. */
bool caller_alive(const struct caller *caller)
{
	struct pollfd poll_fd = { .fd = caller->pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 0;
}

/* It is asked of every request, and needs no fd. */
bool caller_has_thread(const struct caller *caller, pid_t pid)
{
	char task[24];

	snprintf(task, sizeof(task), "task/%d", (int)pid);
	return pid > 0 && (pid == caller->process || !faccessat(caller->folder_fd, task, F_OK, 0)) && caller_alive(caller);
}

/* ---- its fds ---- */

static int fd_refuse(const struct caller *caller, int r, const char **why)
{
	if (!caller_alive(caller))
		r = -ESRCH;
	switch (-r) {
	case ENOENT:
	case EBADF:
		*why = "the caller has no such file descriptor";
		return -EBADF;
	case EACCES:
	case EPERM:
		*why = caller_no_ptrace;
		return -EPERM;
	default:
		*why = "the caller's file descriptor cannot be taken";
		return caller_out_of_fds(r, why);
	}
}

/* What the link of an fd in /proc says, cut to what there is room for. The file itself is not asked. */
static int fd_link(const struct caller *caller, int fd, char *link, size_t room, const char **why)
{
	ssize_t bytes;
	char name[32];

	snprintf(name, sizeof(name), "fd/%d", fd);
	bytes = fd < 0 ? -1 : readlinkat(caller->folder_fd, name, link, room - 1);
	if (bytes < 0)
		return fd_refuse(caller, fd < 0 ? -EBADF : -errno, why);
	link[bytes] = '\0';
	return 0;
}

int caller_has_fd(const struct caller *caller, int fd, const char **why)
{
	char link[8];

	return fd_link(caller, fd, link, sizeof(link), why);
}

int caller_eventfd(const struct caller *caller, int fd, int *ret_fd, const char **why)
{
	char link[32];
	int r = fd_link(caller, fd, link, sizeof(link), why), own;

	if (r)
		return r;
	*why = "not an eventfd";
	if (strcmp(link, "anon_inode:[eventfd]") != 0)
		return -EINVAL;
	own = system_pidfd_getfd(caller->pidfd, fd);
	if (own < 0)
		return fd_refuse(caller, -errno, why);
	*ret_fd = own;
	return 0;
}
