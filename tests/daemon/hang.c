/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To be preloaded: preadv2(2), pwritev2(2) and ftruncate(2) do not return while the file that HANG names is there, and the locks of
 * fcntl(2) and flock(2) while the one that HANG_LOCKS names is, as on a file system whose server does not answer.
 */
#define _GNU_SOURCE
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef ssize_t call(int fd, const struct iovec *iov, int count, off_t offset, int flags);

static void hang_by(const char *name)
{
	const char *path = getenv(name);
	struct timespec nap = {0, 10000000};

	while (path && !access(path, F_OK))
		nanosleep(&nap, NULL);
}

static void hang(void)
{
	hang_by("HANG");
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	call *next = (call *)dlsym(RTLD_NEXT, "preadv2");

	hang();
	return next(fd, iov, count, offset, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	call *next = (call *)dlsym(RTLD_NEXT, "pwritev2");

	hang();
	return next(fd, iov, count, offset, flags);
}

int ftruncate(int fd, off_t bytes)
{
	int (*next)(int fd, off_t bytes) = (int (*)(int fd, off_t bytes))dlsym(RTLD_NEXT, "ftruncate");

	hang();
	return next(fd, bytes);
}

/* Of files alone: folders of sockets are locked, too. */
int flock(int fd, int operation)
{
	int (*next)(int fd, int operation) = (int (*)(int fd, int operation))dlsym(RTLD_NEXT, "flock");
	struct stat found;

	if (!fstat(fd, &found) && S_ISREG(found.st_mode))
		hang_by("HANG_LOCKS");
	return next(fd, operation);
}

/* As who is built with large file offsets calls it. */
int fcntl(int fd, int command, ...)
{
	int (*next)(int fd, int command, ...) = (int (*)(int fd, int command, ...))dlsym(RTLD_NEXT, "fcntl64");
	void *argument;
	va_list list;

	va_start(list, command);
	argument = va_arg(list, void *);
	va_end(list);
	if (command == F_OFD_SETLK)
		hang_by("HANG_LOCKS");
	return next(fd, command, argument);
}
