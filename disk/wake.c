/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/wake.h"
#include "base/fd.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#define NS_PER_S 1000000000u

/* Nobody takes events out of this epoll: whoever waits for its fd hears of each new one. */
static int watch(const struct wake *wake, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	return epoll_ctl(wake->fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int wake_init(struct wake *wake, int below_fd)
{
	int err;

	wake->fd = epoll_create1(EPOLL_CLOEXEC);
	wake->timer_fd = wake->fd < 0 ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	err = wake->timer_fd < 0 ? -errno : watch(wake, wake->timer_fd);
	if (!err && below_fd >= 0)
		err = watch(wake, below_fd);
	if (err)
		wake_fini(wake);
	return err;
}

void wake_fini(struct wake *wake)
{
	fd_close(&wake->timer_fd);
	fd_close(&wake->fd);
}

void wake_at(const struct wake *wake, uint64_t at_ns)
{
	uint64_t at = at_ns ? at_ns : 1; /* 0 would be never */
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)}};

	timerfd_settime(wake->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}
