/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A dispatch fetches a batch of events, whose data are pointers to watches, and runs their callbacks one
 * by one. Any callback may remove any watch, so a watch with an event later in the batch may be gone
 * before its turn. Hence while a dispatch is on (depth > 0), a removed watch is only taken out of the epoll
 * set, marked dead and put on the grave list: its memory stays until the outermost dispatch has ended, its
 * callback is never run again. Outside a dispatch it is freed at once. The loop itself is treated the same
 * way, since the owner of a nested loop may go away inside one of that loop's callbacks.
 *
 * The fd of a removed watch may be closed at once: it has left the epoll set by then, and events that were
 * fetched before name the watch, not the fd.
 */
#include "base/loop.h"
#include "base/fd.h"
#include "base/util.h"
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 64

struct loop {
	int epoll_fd;
	unsigned depth; /* dispatches that are on */
	unsigned watches; /* alive */
	bool doomed; /* loop_free() was called inside a dispatch */
	struct loop_watch *graves;
};

struct loop_watch {
	struct loop *loop;
	int fd; /* borrowed */
	uint32_t events;
	bool dead;
	loop_fn *fn;
	void *opaque;
	struct loop_watch *next_grave;
};

struct loop_timer {
	int fd;
	void (*fn)(void *opaque);
	void *opaque;
	struct loop_watch *watch;
};

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		err = -errno;
		free(loop);
		return err;
	}
	*ret_loop = loop;
	return 0;
}

static void bury(struct loop *loop)
{
	while (loop->graves) {
		struct loop_watch *watch = loop->graves;

		loop->graves = watch->next_grave;
		free(watch);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!loop->watches);
	if (loop->depth) {
		loop->doomed = true;
		return;
	}
	bury(loop);
	fd_close(&loop->epoll_fd);
	free(loop);
}

int loop_fd(const struct loop *loop)
{
	return loop->epoll_fd;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *opaque,
	     struct loop_watch **ret_watch)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));
	struct epoll_event event = { .events = events, .data.ptr = watch };
	int err;

	if (!watch)
		return -ENOMEM;
	*watch = (struct loop_watch){ .loop = loop, .fd = fd, .events = events, .fn = fn, .opaque = opaque };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		err = -errno;
		free(watch);
		return err;
	}
	loop->watches++;
	*ret_watch = watch;
	return 0;
}

void loop_change(struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	int failed;

	assert(!watch->dead);
	watch->events = events;
	failed = epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
	assert(!failed); /* the fd outlives the watch */
	(void)failed;
}

void loop_remove(struct loop_watch **watch)
{
	struct loop_watch *w = *watch;
	struct loop *loop;
	int failed;

	if (!w)
		return;
	*watch = NULL;
	loop = w->loop;
	failed = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	assert(!failed);
	(void)failed;
	loop->watches--;
	if (!loop->depth) {
		free(w);
		return;
	}
	w->dead = true;
	w->next_grave = loop->graves;
	loop->graves = w;
}

/* Whether the callback ran. The watch may have changed its mind since the event was fetched. */
static bool deliver(struct loop_watch *watch, uint32_t events)
{
	if (watch->dead)
		return false;
	events &= watch->events | EPOLLERR | EPOLLHUP;
	if (!events)
		return false;
	watch->fn(watch->opaque, events);
	return true;
}

int loop_dispatch(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[BATCH];
	int count, ran = 0;

	count = epoll_wait(loop->epoll_fd, events, BATCH, timeout_ms);
	if (count < 0) /* a signal: let the caller look at what its handler left */
		return errno == EINTR ? 0 : -errno;
	loop->depth++;
	for (int i = 0; i < count; i++)
		ran += deliver(events[i].data.ptr, events[i].events);
	if (--loop->depth)
		return ran;
	bury(loop);
	if (loop->doomed)
		loop_free(loop);
	return ran;
}

static void timer_expired(void *opaque, uint32_t events)
{
	struct loop_timer *timer = opaque;
	uint64_t expirations;

	/* Nothing to read: stopped or restarted after this event was fetched. */
	if (read(timer->fd, &expirations, sizeof(expirations)) != sizeof(expirations))
		return;
	timer->fn(timer->opaque); /* may free the timer */
}

int loop_timer_new(struct loop *loop, void (*fn)(void *opaque), void *opaque, struct loop_timer **ret_timer)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));
	int err;

	if (!timer)
		return -ENOMEM;
	timer->fn = fn;
	timer->opaque = opaque;
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	err = timer->fd < 0 ? -errno
			    : loop_add(loop, timer->fd, EPOLLIN, timer_expired, timer, &timer->watch);
	if (err) {
		fd_close(&timer->fd);
		free(timer);
		return err;
	}
	*ret_timer = timer;
	return 0;
}

static void timer_set(struct loop_timer *timer, struct timespec value)
{
	const struct itimerspec spec = { .it_value = value };
	int failed = timerfd_settime(timer->fd, 0, &spec, NULL);

	assert(!failed);
	(void)failed;
}

void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms)
{
	const uint64_t delay_max_ms = UINT64_C(1000) * INT32_MAX; /* fits time_t everywhere: 68 years */
	uint64_t delay = min_u64(delay_ms, delay_max_ms);
	struct timespec value = {
		.tv_sec = (time_t)(delay / 1000),
		.tv_nsec = (long)(delay % 1000) * 1000000,
	};

	if (!delay)
		value.tv_nsec = 1; /* zero would stop it */
	timer_set(timer, value);
}

void loop_timer_stop(struct loop_timer *timer)
{
	timer_set(timer, (struct timespec){ 0 });
}

void loop_timer_free(struct loop_timer **timer)
{
	struct loop_timer *t = *timer;

	if (!t)
		return;
	*timer = NULL;
	loop_remove(&t->watch);
	fd_close(&t->fd);
	free(t);
}
