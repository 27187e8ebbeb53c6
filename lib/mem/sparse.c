/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/sparse.h"
#include "base/system.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define TRIES 16u /* of a page that its owner may be taking away meanwhile */

/* Faults of the kernel's own are not asked for, and so no privilege is needed (Linux 5.11). */
int sparse_open(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY), err;

	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int sparse_watch(int watcher, void *start, size_t bytes)
{
	struct uffdio_register area = {
		.range = {.start = (uintptr_t)start, .len = bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(watcher, UFFDIO_REGISTER, &area) ? -errno : 0;
}

/*
 * Can a page that is there be read? It may have been made meanwhile; or its memory has failed, or the swap that it lies in, which
 * is told as EFAULT (as ENOMEM by older kernels). So is one that its owner has taken away again: that is made on another try.
 * Before Linux 5.14 nobody tells.
 */
static enum sparse there(void *page, size_t page_bytes)
{
	if (!madvise(page, page_bytes, MADV_POPULATE_READ))
		return SPARSE_THERE;
	if (errno == EFAULT || errno == ENOMEM || errno == EHWPOISON)
		return SPARSE_GONE;
	return SPARSE_THERE;
}

static enum sparse try_make(int watcher, void *page, size_t page_bytes)
{
	struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)page, .len = page_bytes}};

	if (!ioctl(watcher, UFFDIO_ZEROPAGE, &zero))
		return SPARSE_MADE;
	switch (errno) {
	case EEXIST:
		return there(page, page_bytes);
	case EAGAIN: /* its thread will come again */
		return SPARSE_THERE;
	case ENOMEM:
	case ENOSPC:
		return SPARSE_FULL;
	default:
		return SPARSE_GONE;
	}
}

/* Who gets SPARSE_THERE touches it again: it is not said of a page that never can be read. */
enum sparse sparse_make(int watcher, void *page, size_t page_bytes)
{
	enum sparse made = SPARSE_GONE;

	for (unsigned i = 0; i < TRIES && made == SPARSE_GONE; i++)
		made = try_make(watcher, page, page_bytes);
	return made;
}
