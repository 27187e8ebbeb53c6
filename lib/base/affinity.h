/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_AFFINITY_H
#define BASE_AFFINITY_H

/* A thread that runs on given CPUs from its first instruction. Inline: the libraries begin no threads. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

#if VIREO_HAS_PTHREAD_ATTR_SETAFFINITY_NP
static inline int affinity_start_pinned(pthread_t *ret_thread, const cpu_set_t *cpus, void *(*run)(void *opaque), void *opaque)
{
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	err = pthread_attr_setaffinity_np(&attr, sizeof(*cpus), cpus);
	if (!err)
		err = pthread_create(ret_thread, &attr, run, opaque);
	pthread_attr_destroy(&attr);
	return -err;
}
#else
/* A thread inherits the CPUs of whoever starts it. */
static inline int affinity_start_pinned(pthread_t *ret_thread, const cpu_set_t *cpus, void *(*run)(void *opaque), void *opaque)
{
	cpu_set_t own;
	int err;

	if (sched_getaffinity(0, sizeof(own), &own) || sched_setaffinity(0, sizeof(*cpus), cpus))
		return -errno;
	err = pthread_create(ret_thread, NULL, run, opaque);
	sched_setaffinity(0, sizeof(own), &own);
	return -err;
}
#endif

/* cpus: NULL, wherever the caller may run. 0 or -errno: -EINVAL when none of the CPUs is here. */
static inline int affinity_start(pthread_t *ret_thread, const cpu_set_t *cpus, void *(*run)(void *opaque), void *opaque)
{
	return cpus ? affinity_start_pinned(ret_thread, cpus, run, opaque) : -pthread_create(ret_thread, NULL, run, opaque);
}

#endif
