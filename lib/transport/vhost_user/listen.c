/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/vhost_user/session_internal.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * UNIX sockets by path. A listening socket appears under its path with mode and owner already right: they are
 * set between bind and listen, and before listen nobody can connect.
 */

#define BACKLOG 16

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* AF_UNIX connects at once or not at all: -EAGAIN tells of a full backlog, not of a connection under way. */
int unix_connect(const char *path, struct drop *drop, int *ret_fd)
{
	struct sockaddr_un addr;
	socklen_t addr_bytes;
	int dir_fd, fd;
	int r = fd_unix_address(path, &addr, &addr_bytes, &dir_fd);

	if (r)
		return r;
	fd = unix_socket();
	if (fd < 0)
		r = fd;
	else if (connect(fd, (struct sockaddr *)&addr, addr_bytes))
		r = -errno;
	fd_close(&dir_fd);
	if (r)
		drop_fd(drop, &fd);
	else
		*ret_fd = fd;
	return r;
}

/*
 * Somebody's socket is in the way. 0: it was stale, and is gone; -EADDRINUSE: it is not, as far as we can
 * tell.
 */
static int socket_take_over(const char *path, struct drop *drop)
{
	struct stat before, after;
	int fd, r;

	if (lstat(path, &before))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(before.st_mode))
		return -EADDRINUSE;
	r = unix_connect(path, drop, &fd);
	if (!r)
		drop_socket(drop, &fd);
	if (r == -ENOENT)
		return 0;
	if (r != -ECONNREFUSED)
		return -EADDRINUSE;
	if (lstat(path, &after) || after.st_ino != before.st_ino || after.st_dev != before.st_dev)
		return -EADDRINUSE; /* replaced meanwhile */
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static int socket_bind(int fd, const char *path, const struct sockaddr_un *addr, socklen_t addr_bytes, struct drop *drop)
{
	int r;

	if (!bind(fd, (const struct sockaddr *)addr, addr_bytes))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	r = socket_take_over(path, drop);
	if (r)
		return r;
	return bind(fd, (const struct sockaddr *)addr, addr_bytes) ? -errno : 0;
}

static int socket_permit(int inode_fd, const struct vireo_endpoint_config *config)
{
	mode_t mode = config->mode ? config->mode : 0660;
	char path[32];

	if (config->set_owner && fchownat(inode_fd, "", config->uid, config->gid, AT_EMPTY_PATH))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode_fd);
	if (config->mode != (mode_t)-1 && chmod(path, mode))
		return -errno;
	return 0;
}

/*
 * The socket is bound: from here on the path is to be taken down if something fails. Whoever may write to the
 * folder may have put something else there by now: what gets another owner and mode is a socket, in any case.
 */
static int listener_start(struct listener *listener, const char *name,
			  const struct vireo_endpoint_config *config)
{
	int inode_fd = open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC), r = 0;
	struct stat st = { 0 };

	if (inode_fd < 0 || fstat(inode_fd, &st))
		r = -errno;
	else if (!S_ISSOCK(st.st_mode))
		r = -EADDRINUSE;
	if (!r) {
		listener->device = st.st_dev;
		listener->inode = st.st_ino;
		r = socket_permit(inode_fd, config);
	}
	fd_close(&inode_fd);
	if (r)
		return r;
	return listen(listener->fd, BACKLOG) ? -errno : 0;
}

/* fchmod() before bind narrows what umask leaves: the inode is made with no more than the mode asked for. */
static int listener_bind(struct listener *listener, const struct vireo_endpoint_config *config, struct drop *drop)
{
	struct sockaddr_un addr;
	socklen_t addr_bytes;
	int dir_fd;
	int r = fd_unix_address(listener->path, &addr, &addr_bytes, &dir_fd);

	if (r)
		return r;
	if (config->mode != (mode_t)-1)
		fchmod(listener->fd, config->mode ? config->mode : 0660);
	r = socket_bind(listener->fd, listener->path, &addr, addr_bytes, drop);
	if (!r)
		r = listener_start(listener, addr.sun_path, config);
	fd_close(&dir_fd);
	return r;
}

int listener_open(const char *path, const struct vireo_endpoint_config *config, struct drop *drop,
		  struct listener *ret_listener)
{
	struct listener listener = { .fd = unix_socket() };
	int r;

	if (listener.fd < 0)
		return listener.fd;
	listener.path = strdup(path);
	r = listener.path ? listener_bind(&listener, config, drop) : -ENOMEM;
	if (r) {
		listener_close(&listener, drop);
		return r; /* NOLINT(clang-analyzer-unix.Malloc): the path is freed by listener_close() */
	}
	*ret_listener = listener;
	return 0;
}

void listener_close(struct listener *listener, struct drop *drop)
{
	struct stat st;

	if (listener->fd < 0)
		return;
	if (listener->inode && !lstat(listener->path, &st) && st.st_ino == listener->inode &&
	    st.st_dev == listener->device)
		unlink(listener->path);
	drop_socket(drop, &listener->fd); /* and refuses whoever comes from now on */
	free(listener->path);
	listener->path = NULL;
}

int listener_accept(const struct listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}
