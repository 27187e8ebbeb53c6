/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To be preloaded: preadv2(2), pwritev2(2) and ftruncate(2) do not return while the file that HANG names is there, as on a file system whose
 * server does not answer.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef ssize_t call(int fd, const struct iovec *iov, int count, off_t offset, int flags);

static void hang(void)
{
	const char *path = getenv("HANG");
	struct timespec nap = {0, 10000000};

	while (path && !access(path, F_OK))
		nanosleep(&nap, NULL);
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
