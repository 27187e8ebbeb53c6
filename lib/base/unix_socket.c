/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To look whether a socket is served, to remove it, to bind another and to listen on that are four steps, and between bind
 * and listen a socket looks like one that nobody serves. So all of them are taken under a lock, and whoever replaces
 * sockets, or makes them, has it: flock(2) on the folder, which leaves no file behind, holds between containers that
 * share the folder, and goes with its process. A stranger who may read the folder may hold that lock: it is waited
 * for, but not for long, and without it nothing is done.
 *
 * At the end the path goes first, while the socket still answers: nobody takes it over then, so what is unlinked is ours.
 */
#include "base/unix_socket.h"
#include "base/drop.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_MS 1000u
#define LOCK_PAUSE_MS 5u

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

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

/* ---- the lock ---- */

static int folder_open(const char *path)
{
	char *copy = strdup(path);
	int fd;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	return fd < 0 ? -errno : fd;
}

/* An fd to be closed, which is the end of the lock, or a negative errno. */
static int folder_lock(const char *path)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
	int fd = folder_open(path), err = 0;

	for (unsigned waited_ms = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); waited_ms += LOCK_PAUSE_MS) {
		err = errno != EWOULDBLOCK ? -errno : waited_ms >= LOCK_WAIT_MS ? -EBUSY : 0;
		if (err) {
			fd_close(&fd);
			return err;
		}
		nanosleep(&pause, NULL);
	}
	return fd;
}

bool unix_listen_waits(const char *path)
{
	int fd = folder_open(path);
	bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;

	fd_close(&fd);
	return held;
}

/* ---- under the lock ---- */

/* Does somebody answer? Of somebody else's socket we cannot tell, and a full backlog is an answer, too. */
static int socket_probe(const char *path, struct drop *drop)
{
	int fd, r = unix_connect(path, drop, &fd);

	if (!r)
		drop_socket(drop, &fd);
	if (!r || r == -EAGAIN || r == -EACCES || r == -EPERM || r == -EPROTOTYPE)
		return -EADDRINUSE;
	return r == -ECONNREFUSED || r == -ENOENT ? 0 : r;
}

/* Removes what a dead process has left. 0: the path is free now. */
static int path_clear(const char *path, struct drop *drop)
{
	struct stat st;
	int r;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	r = socket_probe(path, drop);
	if (r)
		return r;
	if (unlink(path) && errno != ENOENT)
		return errno == EPERM ? -EACCES : -errno; /* another user's, in a sticky folder */
	return 0;
}

static int inode_permit(int inode_fd, const struct unix_listen_config *config)
{
	char path[32];

	if ((config->uid != (uid_t)-1 || config->gid != (gid_t)-1) &&
	    fchownat(inode_fd, "", config->uid, config->gid, AT_EMPTY_PATH))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode_fd);
	if (config->mode != (mode_t)-1 && chmod(path, config->mode))
		return -errno;
	return 0;
}

/*
 * The socket is bound: from here on the path is to be taken down if something fails. Whoever may write to the
 * folder may have put something else there by now: what gets another owner and mode is a socket, in any case.
 */
static int listener_permit(struct unix_listener *listener, const char *name, const struct unix_listen_config *config)
{
	int inode_fd = open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC), r = 0;
	struct stat st = { 0 };

	if (inode_fd < 0 || fstat(inode_fd, &st))
		r = -errno;
	else if (!S_ISSOCK(st.st_mode))
		r = -EEXIST;
	if (!r) {
		listener->device = st.st_dev;
		listener->inode = st.st_ino;
		r = inode_permit(inode_fd, config);
	}
	fd_close(&inode_fd);
	return r;
}

/* fchmod() before bind narrows what the umask leaves: the inode is made with no more than the mode asked for. */
static int listener_bind(struct unix_listener *listener, const struct unix_listen_config *config)
{
	struct sockaddr_un addr;
	socklen_t addr_bytes;
	int dir_fd;
	int r = fd_unix_address(config->path, &addr, &addr_bytes, &dir_fd);

	if (r)
		return r;
	if (config->mode != (mode_t)-1)
		fchmod(listener->fd, config->mode);
	r = path_clear(config->path, config->drop);
	if (!r && bind(listener->fd, (const struct sockaddr *)&addr, addr_bytes))
		r = -errno;
	if (!r)
		r = listener_permit(listener, addr.sun_path, config);
	if (!r && listen(listener->fd, config->backlog))
		r = -errno;
	fd_close(&dir_fd);
	return r;
}

int unix_listen(const struct unix_listen_config *config, struct unix_listener *ret_listener)
{
	struct unix_listener listener = { .fd = -1 };
	int lock_fd = folder_lock(config->path), r = 0;

	if (lock_fd < 0)
		return lock_fd;
	listener.fd = unix_socket();
	if (listener.fd < 0)
		r = listener.fd;
	else if (!(listener.path = strdup(config->path)))
		r = -ENOMEM;
	else
		r = listener_bind(&listener, config);
	if (r)
		unix_unlisten(&listener, config->drop);
	else
		*ret_listener = listener;
	fd_close(&lock_fd);
	return r;
}

void unix_unlisten(struct unix_listener *listener, struct drop *drop)
{
	struct stat st;

	if (listener->fd < 0)
		return;
	if (listener->inode && !lstat(listener->path, &st) && st.st_ino == listener->inode &&
	    st.st_dev == listener->device)
		unlink(listener->path);
	drop_socket(drop, &listener->fd);
	free(listener->path);
	listener->path = NULL;
}
