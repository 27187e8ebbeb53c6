/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The fds that wake a worker: its own, and those of its sources, each of which has a slot. Control thread, but for a source that
 * has died.
 */

#include "base/fd.h"
#include "work/worker.h"
#include "work/worker_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define WAKE_SLOT UINT32_MAX

int worker_watch_wakes(struct worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = WAKE_SLOT};
	int err;

	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0)
		return -errno;
	err = fd_event_new(&worker->wake_fd);
	if (!err && epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
		err = -errno;
	return err;
}

static int slot_find(struct worker *worker, unsigned *ret_slot)
{
	unsigned slot = 0, count = worker->slot_count ? worker->slot_count * 2 : 8;
	struct source **slots;

	while (slot < worker->slot_count && worker->slots[slot])
		slot++;
	if (slot == worker->slot_count) {
		slots = realloc(worker->slots, count * sizeof(struct source *));
		if (!slots)
			return -ENOMEM;
		memset(slots + slot, 0, (count - slot) * sizeof(struct source *));
		worker->slots = slots;
		worker->slot_count = count;
	}
	*ret_slot = slot;
	return 0;
}

/*
 * Two sources may share one fd, which an epoll takes but once: the second watches a duplicate. What cannot be watched
 * at all is asked.
 */
static int fd_watch(struct source *source, struct source_fd *at)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = source->slot};
	int err, epoll_fd = source->worker->epoll_fd;

	if (at->fd < 0 || !epoll_ctl(epoll_fd, EPOLL_CTL_ADD, at->fd, &event))
		return 0;
	if (errno == EPERM) {
		at->fd = -1;
		source->unarmed = true;
		return 0;
	}
	if (errno != EEXIST)
		return -errno;
	at->own = fcntl(at->fd, F_DUPFD_CLOEXEC, 0);
	if (at->own < 0)
		return -errno;
	at->fd = at->own;
	if (!epoll_ctl(epoll_fd, EPOLL_CTL_ADD, at->fd, &event))
		return 0;
	err = -errno;
	fd_close(&at->own);
	at->fd = -1;
	return err;
}

/* Not watched: another source of the worker may have one of them, too. */
static void fds_forget(struct source *source, unsigned first)
{
	for (unsigned i = first; i < SOURCE_FDS; i++)
		source->fds[i].fd = -1;
}

/*
 * The peer may hold an fd's file open: closing alone would not end the watch. Once: by the time that a dead source is disowned,
 * the fd may be watched for another one that shares it.
 */
void source_unwatch(struct source *source)
{
	for (unsigned i = 0; i < SOURCE_FDS; i++)
		if (source->fds[i].fd >= 0)
			epoll_ctl(source->worker->epoll_fd, EPOLL_CTL_DEL, source->fds[i].fd, NULL);
	fds_forget(source, 0);
}

static void fds_close(struct source *source)
{
	for (unsigned i = 0; i < SOURCE_FDS; i++)
		fd_close(&source->fds[i].own);
}

int worker_adopt(struct worker *worker, struct source *source)
{
	int err = slot_find(worker, &source->slot);

	if (err)
		return err;
	source->worker = worker;
	source->unarmed = source->fds[0].fd < 0;
	for (unsigned i = 0; !err && i < SOURCE_FDS; i++) {
		err = fd_watch(source, &source->fds[i]);
		if (err)
			fds_forget(source, i);
	}
	if (err) {
		source_unwatch(source);
		fds_close(source);
		return err;
	}
	worker->slots[source->slot] = source;
	worker->source_count++;
	return 0;
}

/* A dead source has ended its watch already. */
void worker_disown(struct source *source)
{
	source_unwatch(source);
	fds_close(source);
	source->worker->slots[source->slot] = NULL;
	source->worker->source_count--;
}
