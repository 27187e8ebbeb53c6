/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_thread.h"
#include "base/fd.h"
#include "base/loop.h"
#include "work/thread.h"
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

static void *thread_main(void *opaque)
{
	struct port_thread *thread = opaque;

	thread->main(thread->opaque);
	fd_event_raise(thread->end_fd);
	return NULL;
}

static void on_end(void *opaque, uint32_t events)
{
	struct port_thread *thread = opaque;

	loop_remove(&thread->watch);
	pthread_join(thread->thread, NULL); /* it has nothing left to do */
	thread->runs = false;
	thread->ended(thread->opaque);
}

void port_thread_init(struct port_thread *thread)
{
	memset(thread, 0, sizeof(*thread));
	thread->wake_fd = thread->end_fd = -1;
}

int port_thread_start(struct port_thread *thread, struct loop *loop, const char *name, void (*main)(void *opaque), void (*ended)(void *opaque),
		      void *opaque)
{
	int err = fd_event_new(&thread->wake_fd);

	thread->main = main;
	thread->ended = ended;
	thread->opaque = opaque;
	if (!err)
		err = fd_event_new(&thread->end_fd);
	if (!err)
		err = loop_add(loop, thread->end_fd, EPOLLIN, on_end, thread, &thread->watch);
	if (!err)
		err = thread_start(&thread->thread, name, -1, thread_main, thread);
	thread->runs = !err;
	return err;
}

bool port_thread_stop(struct port_thread *thread)
{
	if (!thread->runs)
		return false;
	__atomic_store_n(&thread->stop, true, __ATOMIC_RELEASE); /* pairs with port_thread_stopping() */
	fd_event_raise(thread->wake_fd);
	return true;
}

bool port_thread_stopping(const struct port_thread *thread)
{
	return __atomic_load_n(&thread->stop, __ATOMIC_ACQUIRE);
}

void port_thread_fini(struct port_thread *thread)
{
	loop_remove(&thread->watch);
	fd_close(&thread->wake_fd);
	fd_close(&thread->end_fd);
}
