/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/system.h"
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Every architecture with 64 bits but Alpha numbers new calls alike. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define NS_PER_MS 1000000u

/* strerror() is as safe for what a kernel returns: only for numbers that mean nothing some libraries need a buffer. */
const char *system_errno_text(int err)
{
#if VIREO_HAS_STRERRORDESC_NP
	const char *text = strerrordesc_np(err);

	return text ? text : "unknown error";
#else
	return strerror(err);
#endif
}

int system_epoll_wait_ns(int epoll_fd, struct epoll_event *events, int room, uint64_t timeout_ns)
{
	struct timespec timeout = { .tv_nsec = (long)timeout_ns };
	int count = (int)syscall(SYS_epoll_pwait2, epoll_fd, events, room, &timeout, NULL, 0);

	if (count >= 0 || errno == EINTR)
		return count;
	return epoll_wait(epoll_fd, events, room, (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS));
}

static ssize_t read_if_readable(int fd, void *buffer, size_t bytes)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (poll(&poll_fd, 1, 0) < 0)
		return -1;
	if (!poll_fd.revents) {
		errno = EAGAIN;
		return -1;
	}
	return read(fd, buffer, bytes);
}

ssize_t system_read_now(int fd, void *buffer, size_t bytes)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = bytes };
	ssize_t got = syscall(SYS_preadv2, fd, &iov, 1L, -1L, -1L, RWF_NOWAIT);

	if (got >= 0 || errno == EINTR || errno == EAGAIN)
		return got;
	return read_if_readable(fd, buffer, bytes);
}

_Static_assert(sizeof(struct system_statx) == 256, "what Linux fills in");
_Static_assert(offsetof(struct system_statx, ino) == 32 && offsetof(struct system_statx, dev_major) == 136 &&
		       offsetof(struct system_statx, mount) == 144,
	       "struct statx of linux/stat.h");

int system_statx(int folder_fd, const char *name, int flags, unsigned mask, struct system_statx *ret_statx)
{
	return (int)syscall(SYS_statx, folder_fd, name, flags, mask, ret_statx);
}

int system_pidfd_open(pid_t process)
{
	return (int)syscall(SYS_pidfd_open, process, 0);
}

int system_pidfd_getfd(int pidfd, int fd)
{
	return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}
