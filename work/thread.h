/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_THREAD_H
#define WORK_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct patience_system;

/*
 * Starts a named thread, pinned to `cpu` unless that is -1. Signals that are sent to the process go to other
 * threads; those that a thread causes itself (SIGBUS and the like) stay deliverable. 0 or -errno;
 * -EINVAL: there is no such CPU for us.
 */
int thread_start(pthread_t *ret_thread, const char *name, int cpu, void *(*main)(void *opaque), void *opaque);

/*
 * For the calling thread: timers end when they are to, not up to 50 us later, and what the system says about it can be
 * read. Returns an fd for that, which the caller closes; -1: there is no /proc.
 */
int thread_system_open(void);
/* What cannot be had is 0. */
void thread_system_read(int fd, struct patience_system *ret_system);
/* An fd that tells any thread how the calling one gets on; the caller closes it; -1: there is no /proc. */
int thread_state_open(void);
/* Does that one wait in the kernel, where nothing but what it waits for wakes it? So it is for a page, or a disk. */
bool thread_stands(int fd);
/* So long the calling thread has run, or waited for a CPU where that can be read. */
uint64_t thread_ready_ns(int fd);

#endif
