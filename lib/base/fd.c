/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/system.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

int fd_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_event_new(int *ret_fd)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/*
 * O_NONBLOCK is the file's and not the descriptor's: a peer that shares the file may have taken it away since it was
 * checked, and filled the file, so that a write would wait for ever. A peer that races may still do it between this
 * look and the write: what a peer shares is raised by notifier_raise().
 */
static bool has_room(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	int r;

	do
		r = poll(&poll_fd, 1, 0);
	while (r < 0 && errno == EINTR);
	return poll_fd.revents & POLLOUT; /* POLLERR alone: an eventfd that the kernel has raised beyond its most */
}

void fd_event_raise(int fd)
{
	int saved_errno = errno;
	uint64_t one = 1;

	/* No room, or EAGAIN: the counter is full, so its reader is awake anyway. */
	while (has_room(fd) && write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

void fd_event_clear(int fd)
{
	int saved_errno = errno;
	uint64_t buffer[16]; /* an eventfd takes 8 bytes of it */
	ssize_t n;

	/* A peer that shares the eventfd may have made it blocking. Pipes know RWF_NOWAIT since Linux 6.5 only. */
	do
		n = system_read_now(fd, buffer, sizeof(buffer));
	while (n < 0 && errno == EINTR);
	errno = saved_errno;
}

/* All anonymous inodes look alike to fstat(); only the link under /proc tells an eventfd. */
bool fd_is_eventfd(int fd)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(expected)];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target));
	return len == sizeof(expected) - 1 && !memcmp(target, expected, sizeof(expected) - 1);
}

int fd_look_at(int folder_fd, const char *name, int flags, struct fd_file *ret_file)
{
	struct system_statx stx;

	if (system_statx(folder_fd, name, flags | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID, &stx))
		return -errno;
	*ret_file = (struct fd_file){
		.type = stx.mode & S_IFMT,
		.dev = makedev(stx.dev_major, stx.dev_minor),
		.ino = stx.ino,
		.mounted = stx.mask & STATX_MNT_ID,
		.mount = stx.mount,
	};
	return 0;
}

int fd_look(int fd, struct fd_file *ret_file)
{
	return fd_look_at(fd, "", AT_EMPTY_PATH, ret_file);
}

bool fd_is_pipe(int fd)
{
	struct fd_file file = { 0 };

	return !fd_look(fd, &file) && S_ISFIFO(file.type);
}

int fd_notifier_borrow(int fd)
{
	return fd_is_eventfd(fd) ? 0 : -EINVAL;
}

int fd_notifier_take(int fd)
{
	int r = fd_notifier_borrow(fd);

	return r ? r : fd_nonblocking(fd);
}

static bool is_unix_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t bytes = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) && type == SOCK_STREAM;
}

/* Listening or not connected: recv() fails. */
int fd_socket_take(int fd)
{
	char byte;

	if (!is_unix_stream(fd) || shutdown(fd, SHUT_RD) || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
		return -EINVAL;
	return 0;
}

void fd_socket_raise(int fd)
{
	const uint64_t one = 1;
	int saved_errno = errno;

	while (send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

static int open_directory_of(const char *path, size_t dir_bytes, int *ret_fd)
{
	char *dir = dir_bytes ? strndup(path, dir_bytes) : strdup(".");
	int fd, err;

	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = -errno;
	free(dir);
	if (fd < 0)
		return err;
	*ret_fd = fd;
	return 0;
}

int fd_unix_address(const char *path, struct sockaddr_un *ret_addr, socklen_t *ret_len, int *ret_dir_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int dir_fd = -1, written, err;

	if (!len)
		return -EINVAL;
	if (len < sizeof(addr.sun_path)) {
		memcpy(addr.sun_path, path, len + 1);
	} else {
		const char *slash = strrchr(path, '/');
		const char *name = slash ? slash + 1 : path;

		err = open_directory_of(path, (size_t)(name - path), &dir_fd);
		if (err)
			return err;
		written = snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
		if (written < 0 || (size_t)written >= sizeof(addr.sun_path)) {
			fd_close(&dir_fd);
			return -ENAMETOOLONG;
		}
		len = (size_t)written;
	}
	*ret_addr = addr;
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	*ret_dir_fd = dir_fd;
	return 0;
}
