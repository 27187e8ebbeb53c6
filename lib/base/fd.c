/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
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

void fd_event_raise(int fd)
{
	int saved_errno = errno;
	uint64_t one = 1;

	/* EAGAIN: the counter or pipe is full, so its reader is awake anyway. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

void fd_event_clear(int fd)
{
	int saved_errno = errno;
	uint64_t buffer[16]; /* an eventfd takes 8 bytes of it; a pipe's remainder keeps it readable */

	while (read(fd, buffer, sizeof(buffer)) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

/* All anonymous inodes look alike to fstat(); only the link under /proc tells an eventfd. */
static bool is_eventfd(int fd)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(expected)];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target));
	return len == sizeof(expected) - 1 && !memcmp(target, expected, sizeof(expected) - 1);
}

/*
 * A pipe whose reader has gone raises SIGPIPE on the next write: programs that serve strangers
 * ignore that signal, as every program with sockets does.
 */
int fd_check_notifier(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -EINVAL;
	if (!S_ISFIFO(st.st_mode) && !is_eventfd(fd))
		return -EINVAL;
	return fd_nonblocking(fd) < 0 ? -EINVAL : 0;
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
