/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_PLACES_H
#define WORK_PLACES_H

/* Where workers may run: CPUs that go away from the process, and come back. Control thread. */

#include <sched.h>
#include <stdbool.h>

struct worker;

enum place {
	PLACE_OWN,   /* the thread runs on its CPU, and nowhere else */
	PLACE_GONE,  /* its CPU is not there, and the kernel has not said yet where it runs instead */
	PLACE_WIDER, /* the kernel has let it run wherever the process may: its CPU was gone, and may be there again */
	PLACE_OTHER, /* somebody else has said where it runs */
};

/* Of a thread that was pinned to `cpu`, may run on `thread`, and whose process may run on `process`: as sched_getaffinity(2) has them. */
enum place place_of(int cpu, const cpu_set_t *thread, const cpu_set_t *process);

/*
 * Has a pinned worker its CPU? One that the kernel has taken off it, since the CPU was gone, is pinned to it anew when it is back. Always
 * true of one whose affinity somebody else has changed, and of one that is not pinned. The worker has been started.
 */
bool worker_has_cpu(const struct worker *worker);

unsigned places_count(void); /* CPUs that the process may run on; 1 or more */

#endif
