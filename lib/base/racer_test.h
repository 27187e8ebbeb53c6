/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_RACER_TEST_H
#define BASE_RACER_TEST_H

/*
 * A peer that shares a blocking eventfd and races whoever raises it. It leaves room for a few raises and takes it away
 * while the other raises: between a look and a write. Then it waits for the other to go on. Who waits in a write by then
 * waits for ever.
 */

#include "base/fd.h"
#include "base/notifier.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define RACER_ROOM 8u

struct racer {
	int fd; /* a duplicate */
	pthread_t thread;
	struct vireo_notifier *notifier; /* with kernel AIO: it must not be caught itself */
	const unsigned *raised; /* atomic: how far the other has come */
	unsigned rounds; /* atomic: how often it has raced */
	bool stop; /* atomic */
};

static void *racer_main(void *opaque)
{
	struct racer *racer = opaque;
	const uint64_t most = UINT64_MAX - 1 - RACER_ROOM;

	while (!__atomic_load_n(&racer->stop, __ATOMIC_RELAXED)) {
		unsigned seen;

		fcntl(racer->fd, F_SETFL, O_RDWR | O_NONBLOCK);
		fd_event_clear(racer->fd);
		(void)!write(racer->fd, &most, sizeof(most));
		fcntl(racer->fd, F_SETFL, O_RDWR);
		for (unsigned i = 0; i < RACER_ROOM; i++)
			notifier_raise_aio(racer->notifier, racer->fd);
		seen = __atomic_load_n(racer->raised, __ATOMIC_RELAXED);
		while (__atomic_load_n(racer->raised, __ATOMIC_RELAXED) == seen &&
		       !__atomic_load_n(&racer->stop, __ATOMIC_RELAXED))
			sched_yield();
		__atomic_fetch_add(&racer->rounds, 1, __ATOMIC_RELAXED);
	}
	fd_event_clear(racer->fd); /* lets everybody go */
	return NULL;
}

static inline void racer_start(struct racer *racer, struct vireo_notifier *notifier, int fd, const unsigned *raised)
{
	*racer = (struct racer){ .fd = dup(fd), .notifier = notifier, .raised = raised };
	pthread_create(&racer->thread, NULL, racer_main, racer);
}

static inline void racer_stop(struct racer *racer)
{
	__atomic_store_n(&racer->stop, true, __ATOMIC_RELAXED);
	pthread_join(racer->thread, NULL);
	fd_close(&racer->fd);
}

#endif
