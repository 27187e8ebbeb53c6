/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_THREAD_H
#define SWITCHD_PORT_THREAD_H

/*
 * A thread of a port's own, for what may wait: a file is read, or written. It says what it has to say in the port's counters and log, and sleeps
 * in poll(2) with wake_fd among what it waits for. Workers wake it by that, and so does who wants it to end.
 */

#include <pthread.h>
#include <stdbool.h>

struct loop;
struct loop_watch;

struct port_thread {
	int wake_fd; /* readable: look again. Cleared by the thread */
	/* The rest is port_thread.c's. */
	int end_fd;
	bool runs; /* control thread: it has been started, and not been joined */
	bool stop; /* atomic */
	pthread_t thread;
	struct loop_watch *watch;
	void (*main)(void *opaque);
	void (*ended)(void *opaque);
	void *opaque;
};

/* Control thread, all of it but port_thread_stopping(). */

/*
 * main(opaque) is the thread; ended(opaque) is called from the loop when it has returned, by itself or after port_thread_stop(). A negative
 * errno: neither is called.
 */
int port_thread_start(struct port_thread *thread, struct loop *loop, const char *name, void (*main)(void *opaque), void (*ended)(void *opaque),
		      void *opaque);
/* False: it does not run, and `ended` is not called again. */
bool port_thread_stop(struct port_thread *thread);
bool port_thread_stopping(const struct port_thread *thread); /* any thread */
void port_thread_init(struct port_thread *thread);
void port_thread_fini(struct port_thread *thread); /* it does not run */

#endif
