/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/ending.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/aside.h"
#include "store/disks.h"
#include <poll.h>
#include <stdlib.h>

struct disks_end {
	unsigned users; /* who waits, and each disk that is not closed (atomic): the last one frees it */
	int fd;		/* raised with each that is */
};

struct closing {
	struct disks_end *end;
	struct store_disk *disk;
};

struct disks_end *disks_end_new(void)
{
	struct disks_end *end = malloc(sizeof(*end));

	if (!end)
		return NULL;
	*end = (struct disks_end){.users = 1};
	if (fd_event_new(&end->fd)) {
		free(end);
		return NULL;
	}
	return end;
}

static void end_put(struct disks_end *end)
{
	if (__atomic_sub_fetch(&end->users, 1, __ATOMIC_ACQ_REL))
		return;
	fd_close(&end->fd);
	free(end);
}

static void close_disk(void *argument)
{
	struct closing *closing = argument;
	struct disks_end *end = closing->end;

	store_disk_free(closing->disk);
	free(closing);
	fd_event_raise(end->fd); /* who is woken looks again soon, in case it is faster than the next line */
	end_put(end);
}

void disks_end_close(struct disks_end *end, struct store_disk *disk)
{
	struct closing *closing = end ? malloc(sizeof(*closing)) : NULL;

	if (closing) {
		*closing = (struct closing){end, disk};
		__atomic_fetch_add(&end->users, 1, __ATOMIC_RELAXED);
		if (!aside_run(NULL, close_disk, closing))
			return;
		__atomic_fetch_sub(&end->users, 1, __ATOMIC_RELAXED);
		free(closing);
	}
	store_disk_free(disk); /* there is no thread: then here */
}

bool disks_end_wait(struct disks_end *end, unsigned patience_ms)
{
	uint64_t end_ms = clock_now_ms() + patience_ms, now;
	bool closed;

	if (!end)
		return true;
	while (!(closed = __atomic_load_n(&end->users, __ATOMIC_ACQUIRE) == 1) && (now = clock_now_ms()) < end_ms) {
		struct pollfd pollfd = {.fd = end->fd, .events = POLLIN};

		poll(&pollfd, 1, (int)min_u64(end_ms - now, ASIDE_LOOK_MS));
		fd_event_clear(end->fd);
	}
	end_put(end);
	return closed;
}
