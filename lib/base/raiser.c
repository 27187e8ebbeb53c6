/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A raiser is what raises an eventfd where the kernel has no asynchronous I/O for us. Its thread sleeps on an eventfd that
 * nobody shares, and writes to the peer's when it has been woken.
 *
 *	IDLE -> WRITING -> IDLE    by the thread, around each write(2)
 *	IDLE -> ENDED              by the control thread: there will be no write any more
 *	WRITING -> ENDING          by the control thread: the thread may wait in there for as long as the peer likes
 *	ENDING -> ENDED            by the thread, when it has come out
 *
 * A thread that waits comes out when somebody reads the eventfd: the peer, or we, without waiting. A peer that fills it
 * again faster than a thread wakes can hold one for ever. So the bells count theirs (bell.c).
 */
#include "base/raiser.h"
#include "base/fd.h"
#include "base/notifier.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { IDLE, WRITING, ENDING, ENDED };

struct raiser {
	/* Constant. */
	struct vireo_notifier *notifier; /* a reference */
	int fd, wake_fd;
	bool socket;
	/* Atomic. */
	unsigned references; /* the thread's and the bell's */
	int state;
	bool pending;
	uint64_t cost_ns;
};

static void raiser_put(struct raiser *raiser)
{
	if (__atomic_sub_fetch(&raiser->references, 1, __ATOMIC_ACQ_REL))
		return;
	fd_close(&raiser->fd);
	fd_close(&raiser->wake_fd);
	notifier_put(raiser->notifier);
	free(raiser);
}

static bool state_change(struct raiser *raiser, int from, int to)
{
	return __atomic_compare_exchange_n(&raiser->state, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void raise_measured(struct raiser *raiser)
{
	uint64_t start_ns = cpu_ns();

	if (raiser->socket)
		fd_socket_raise(raiser->fd);
	else
		notifier_raise(raiser->notifier, raiser->fd);
	__atomic_store_n(&raiser->cost_ns, cpu_ns() - start_ns, __ATOMIC_RELAXED);
}

static void raiser_main(void *opaque)
{
	struct raiser *raiser = opaque;
	uint64_t count;

	for (;;) {
		if (read(raiser->wake_fd, &count, sizeof(count)) < 0 && errno != EINTR)
			break;
		if (!__atomic_exchange_n(&raiser->pending, false, __ATOMIC_SEQ_CST))
			; /* interrupted, or ended */
		else if (state_change(raiser, IDLE, WRITING))
			raise_measured(raiser);
		if (!state_change(raiser, WRITING, IDLE) &&
		    __atomic_load_n(&raiser->state, __ATOMIC_SEQ_CST) != IDLE)
			break;
	}
	__atomic_store_n(&raiser->state, ENDED, __ATOMIC_SEQ_CST);
	raiser_put(raiser);
}

int raiser_new(struct vireo_notifier *notifier, int fd, bool socket, struct raiser **ret_raiser)
{
	struct raiser *raiser = calloc(1, sizeof(*raiser));
	int err = 0;

	if (!raiser)
		return -ENOMEM;
	raiser->references = 2;
	raiser->socket = socket;
	raiser->notifier = notifier_get(notifier);
	raiser->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	raiser->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (raiser->fd < 0 || raiser->wake_fd < 0)
		err = -errno;
	if (!err)
		err = notifier_run_aside(notifier, raiser_main, raiser);
	if (err) {
		raiser->references = 1;
		raiser_put(raiser);
		return err;
	}
	*ret_raiser = raiser;
	return 0;
}

static void raiser_wake(struct raiser *raiser)
{
	fd_event_raise(raiser->wake_fd); /* nobody else has it: there is room */
}

uint64_t raiser_cost_take_ns(struct raiser *raiser)
{
	return __atomic_exchange_n(&raiser->cost_ns, 0, __ATOMIC_RELAXED);
}

void raiser_raise(struct raiser *raiser)
{
	if (!__atomic_exchange_n(&raiser->pending, true, __ATOMIC_SEQ_CST))
		raiser_wake(raiser);
}

bool raiser_end(struct raiser *raiser)
{
	while (__atomic_load_n(&raiser->state, __ATOMIC_SEQ_CST) != ENDED) {
		if (state_change(raiser, WRITING, ENDING))
			return raiser_out(raiser);
		if (state_change(raiser, IDLE, ENDED))
			raiser_wake(raiser);
	}
	raiser_put(raiser);
	return true;
}

bool raiser_out(struct raiser *raiser)
{
	if (__atomic_load_n(&raiser->state, __ATOMIC_SEQ_CST) != ENDED) {
		fd_event_clear(raiser->fd);
		return false;
	}
	raiser_put(raiser);
	return true;
}

void raiser_leave(struct raiser *raiser)
{
	fd_event_clear(raiser->fd);
	raiser_wake(raiser);
	raiser_put(raiser);
}
