/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_THREAD_H
#define SWITCH_THREAD_H

#include <pthread.h>

/*
 * Starts a named thread, pinned to `cpu` unless that is -1. Signals that are sent to the process go to other
 * threads; those that a thread causes itself (SIGBUS and the like) stay deliverable. 0 or -errno;
 * -EINVAL: there is no such CPU for us.
 */
int thread_start(pthread_t *ret_thread, const char *name, int cpu, void *(*main)(void *opaque), void *opaque);

#endif
