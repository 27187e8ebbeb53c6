/* SPDX-License-Identifier: BSD-3-Clause */
#include "work/places.h"
#include "work/worker.h"
#include <errno.h>
#include <pthread.h>

/*
 * When a CPU goes off-line, or out of the process's cpuset, the kernel does not stop the threads that are pinned to it: they may run on any CPU of
 * the process from then on, and stay so when it is back (older kernels). A thread that sleeps all the while is told nothing, and has no CPU.
 *
 * Somebody may let a worker run elsewhere, too (taskset), and is left alone. That looks the same once the CPU is back: so a worker is pinned again
 * only if its CPU was seen to be gone. The control thread, whom nobody pins, stands for the process.
 */
enum place place_of(int cpu, const cpu_set_t *thread, const cpu_set_t *process)
{
	int count = CPU_COUNT(thread);
	cpu_set_t both;

	if (!count)
		return PLACE_GONE;
	if (count == 1 && CPU_ISSET(cpu, thread))
		return PLACE_OWN;
	CPU_AND(&both, thread, process);
	if (!CPU_EQUAL(&both, process))
		return PLACE_OTHER;
	return CPU_ISSET(cpu, thread) ? PLACE_WIDER : PLACE_GONE;
}

/* False: the CPU is not there. */
static bool pin(pthread_t thread, int cpu)
{
	cpu_set_t own;

	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	return pthread_setaffinity_np(thread, sizeof(own), &own) != EINVAL;
}

bool worker_has_cpu(const struct worker *worker, bool had)
{
	cpu_set_t thread, process;

	if (worker->cpu < 0 || pthread_getaffinity_np(worker->thread, sizeof(thread), &thread) || sched_getaffinity(0, sizeof(process), &process))
		return true;
	switch (place_of(worker->cpu, &thread, &process)) {
	case PLACE_GONE:
		return false;
	case PLACE_WIDER:
		return had || pin(worker->thread, worker->cpu);
	case PLACE_OWN:
	case PLACE_OTHER:
		break;
	}
	return true;
}

unsigned places_count(void)
{
	cpu_set_t process;
	int count = sched_getaffinity(0, sizeof(process), &process) ? 1 : CPU_COUNT(&process);

	return count > 0 ? (unsigned)count : 1;
}

void worker_places_add(const struct worker *worker, cpu_set_t *set)
{
	cpu_set_t own;

	if (!pthread_getaffinity_np(worker->thread, sizeof(own), &own))
		CPU_OR(set, set, &own);
}
