/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/listen.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static bool in_group(int fd, gid_t group)
{
	gid_t groups[1024];
	socklen_t bytes = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes))
		return false;
	for (size_t i = 0; i < bytes / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

bool ctl_peer_allowed(int fd, bool set_group, gid_t group)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) || bytes != sizeof(cred))
		return false;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	return set_group && (cred.gid == group || in_group(fd, group));
}

/*
 * Probing, removing and binding is no single step, so daemons that start at the same time take turns by a
 * lock on the folder. Others may hold that lock for reasons of their own: it is not waited for longer than a
 * moment.
 */
static int folder_lock(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	char *copy = strdup(path);
	int fd;

	if (!copy)
		return -1;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	for (int try = 0; fd >= 0 && try < 10 && flock(fd, LOCK_EX | LOCK_NB); try++)
		nanosleep(&pause, NULL);
	return fd;
}

/* Removes a socket that nobody serves any more. 0: the path is free now. */
static int take_over(const char *path, const struct sockaddr_un *addr, socklen_t addr_len)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog is an answer, too; and of somebody else's socket we cannot tell whether it is
	 * served. */
	if (!connect(fd, (const struct sockaddr *)addr, addr_len) || errno == EAGAIN || errno == EACCES ||
	    errno == EPERM || errno == EPROTOTYPE)
		err = -EADDRINUSE;
	else if (errno != ECONNREFUSED && errno != ENOENT)
		err = -errno;
	fd_close(&fd);
	if (!err && unlink(path) && errno != ENOENT)
		err = -errno;
	return err;
}

static int bind_at(const char *path, const struct sockaddr_un *addr, socklen_t addr_len, bool set_group,
		   gid_t group, struct ctl_listener *l)
{
	struct stat st;

	/* The mode of the socket's inode becomes the file's at bind: at no moment can others connect. */
	if (fchmod(l->fd, 0600) || bind(l->fd, (const struct sockaddr *)addr, addr_len))
		return -errno;
	if (lstat(path, &st))
		return -errno;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->path = strdup(path);
	if (!l->path)
		return -ENOMEM;
	if (set_group && (lchown(path, (uid_t)-1, group) || chmod(path, 0660)))
		return -errno;
	return listen(l->fd, 64) ? -errno : 0;
}

int ctl_listen(const char *path, bool set_group, gid_t group, struct ctl_listener *ret_listener)
{
	struct ctl_listener l = {.fd = -1};
	struct sockaddr_un addr;
	socklen_t addr_len;
	int dir_fd, lock_fd, err;

	err = fd_unix_address(path, &addr, &addr_len, &dir_fd);
	if (err)
		return err;
	lock_fd = folder_lock(path);
	err = take_over(path, &addr, addr_len);
	if (!err) {
		l.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		err = l.fd < 0 ? -errno : bind_at(path, &addr, addr_len, set_group, group, &l);
	}
	fd_close(&lock_fd);
	fd_close(&dir_fd);
	if (err)
		ctl_unlisten(&l);
	else
		*ret_listener = l;
	return err;
}

void ctl_unlisten(struct ctl_listener *listener)
{
	struct stat st;

	fd_close(&listener->fd);
	if (listener->path && !lstat(listener->path, &st) && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		unlink(listener->path);
	free(listener->path);
	listener->path = NULL;
}
