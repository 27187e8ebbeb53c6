/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_PLACES_H
#define WORK_PLACES_H

/* Where workers may run: CPUs that go away from the process, and come back. Control thread. */

#include <sched.h>
#include <stdbool.h>

struct worker;

enum place {
	PLACE_OWN,   /* the thread runs on its CPU, and nowhere else */
	PLACE_GONE,  /* its CPU is not there, or not for the process: it runs wherever the process may, or the kernel has not said yet where */
	PLACE_WIDER, /* it may run on its CPU, and wherever else the process may: that was gone before, or somebody has said so */
	PLACE_OTHER, /* somebody has said where it runs */
};

/* Of a thread that was pinned to `cpu`, may run on `thread`, and whose process may run on `process`: as sched_getaffinity(2) has them. */
enum place place_of(int cpu, const cpu_set_t *thread, const cpu_set_t *process);

/*
 * Has a pinned worker its CPU? `had`: so it was at the look before. One whose CPU was gone then is pinned to it anew when it is back. Always
 * true of one that somebody else has put on other CPUs of the process, and of one that is not pinned. The worker has been started.
 */
bool worker_has_cpu(const struct worker *worker, bool had);

unsigned places_count(void); /* CPUs that the calling thread may run on; 1 or more */
/* Adds those that the worker may run on, which need not be the control thread's: who narrows one thread does not narrow the others. */
void worker_places_add(const struct worker *worker, cpu_set_t *set);

#endif
