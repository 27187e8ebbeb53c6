/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * The ranges that are late are in a list, under a mutex which is held for system calls that wait for no page: to register
 * and to unregister take the lock of the address space, which nobody holds who sleeps in a fault. The peer holds a copy of the
 * fd for as long as it likes, and a range that stays registered would go on making threads wait for it: so each is
 * unregistered, when its mapping goes or when all end, and not left to the last close.
 *
 * A mapping has one userfaultfd at a time. What the budget would watch (mem/budget.h) is not watched while it is late: its
 * pages are the peer's to bring, and nothing is made here.
 */
#include "mem/late.h"
#include "base/fd.h"
#include "mem/budget.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

struct late {
	unsigned refs; /* atomic */
	pthread_mutex_t lock; /* of all below */
	int fd; /* -1: it has ended */
	struct late_range *first;
};

/* From the device file, by whoever may open it (Linux 6.1). */
static int open_by_file(void)
{
	int file = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (file < 0)
		return -errno;
	fd = ioctl(file, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = -errno;
	close(file);
	return fd;
}

static int open_by_call(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	return fd < 0 ? -errno : fd;
}

/* One that waits for pages that the kernel touches on our behalf, too, if we may have it. Without it such a system call fails: EFAULT. */
static int open_any(void)
{
	int fd = open_by_call(0);

	if (fd == -EPERM)
		fd = open_by_file();
	if (fd < 0)
		fd = open_by_call(UFFD_USER_MODE_ONLY);
	return fd;
}

static int open_ready(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS };
	int fd = open_any(), err;

	if (fd < 0 || !ioctl(fd, UFFDIO_API, &api))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int late_new(struct late **ret_late)
{
	struct late *late = calloc(1, sizeof(*late));
	int fd;

	if (!late)
		return -ENOMEM;
	fd = open_ready();
	if (fd < 0) {
		free(late);
		return fd;
	}
	late->refs = 1;
	late->fd = fd;
	pthread_mutex_init(&late->lock, NULL);
	*ret_late = late;
	return 0;
}

struct late *late_ref(struct late *late)
{
	if (late)
		__atomic_fetch_add(&late->refs, 1, __ATOMIC_RELAXED);
	return late;
}

void late_unref(struct late *late)
{
	if (!late || __atomic_fetch_sub(&late->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	fd_close(&late->fd);
	pthread_mutex_destroy(&late->lock);
	free(late);
}

int late_fd_dup(const struct late *late)
{
	int fd = fcntl(late->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* The lock is held, as it is for all three. */
static int range_register(const struct late *late, const struct late_range *range)
{
	struct uffdio_register area = {
		.range = { .start = (uintptr_t)range->start, .len = range->bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(late->fd, UFFDIO_REGISTER, &area) ? -errno : 0;
}

static void range_unlink(struct late_range *range)
{
	assert(range->link); /* it is in the list */
	*range->link = range->next;
	if (range->next)
		range->next->link = range->link;
	range->link = NULL;
}

/*
 * The kernel wakes who sleeps there before it disarms the mapping: who is just falling asleep in between (per-VMA locks) would not wake any
 * more. Who has seen it armed is asleep when it is disarmed, so it is woken once more then. What the kernel refuses to unregister is gone
 * from it already.
 */
static void range_end(const struct late *late, struct late_range *range)
{
	struct uffdio_range area = { .start = (uintptr_t)range->start, .len = range->bytes };

	ioctl(late->fd, UFFDIO_UNREGISTER, &area);
	ioctl(late->fd, UFFDIO_WAKE, &area);
	range_unlink(range);
}

int late_begin(struct late *late, struct late_range *range)
{
	int err;

	pthread_mutex_lock(&late->lock);
	err = late->fd < 0 ? -ENODEV : range_register(late, range);
	if (!err) {
		range->next = late->first;
		range->link = &late->first;
		if (range->next)
			range->next->link = &range->next;
		late->first = range;
	}
	pthread_mutex_unlock(&late->lock);
	return err;
}

void late_leave(struct late *late, struct late_range *range)
{
	pthread_mutex_lock(&late->lock);
	if (range->link)
		range_end(late, range);
	pthread_mutex_unlock(&late->lock);
}

void late_end(struct late *late)
{
	pthread_mutex_lock(&late->lock);
	while (late->first) {
		struct late_range *range = late->first;

		range_end(late, range);
		mem_account_watch(range->account, range->start, range->bytes);
	}
	fd_close(&late->fd);
	pthread_mutex_unlock(&late->lock);
}
