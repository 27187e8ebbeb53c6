/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a signal may cost
 *
 * To raise a peer's eventfd the kernel walks those who wait for it, with interrupts off, in the worker's system call. A peer
 * may let as many wait as it likes (dup(2) and epoll are enough), and so make each signal as slow as it likes: 150 ms were
 * seen. An eventfd behind an ioctl (VDUSE) is no different.
 *
 * So the time of each signal is looked at. One that takes long may have been preempted, which is nobody's fault: after it the
 * queue's next ones are measured in the thread's own CPU time, until one is quick. Those that are slow by that add up, and
 * their sum accuses the device. What is slow depends on the machine: twenty times what our own eventfd costs, which wakes
 * a thread as well.
 *
 * An accusation is checked, because there are machines on which CPU time is not our own: an emulator, or a hypervisor that does not
 * tell of stolen time, runs the CPU on which the peer wakes up, and ours stands still meanwhile. So the eventfd is raised again,
 * some times at once: a long queue is walked each time, while a peer that is awake by now is not woken again. If one of
 * these is quick, or our own eventfd is as slow once, the device is acquitted. It takes three accusations with no quick signal
 * between them, and a fifth of the time in which they came.
 *
 * A front end that comes again with the same eventfd would get as much again. So the device's signals pause for a hundred
 * times of what they have cost: a queue that would signal meanwhile breaks the device, at no cost. All of them together
 * take one percent of a CPU in the long run.
 */
#include "base/fd.h"
#include "device/device_internal.h"
#include <stdio.h>
#include <time.h>

#define SUSPECT_NS UINT64_C(50000) /* on the clock; honest ones take 1000 to 20,000 */
#define SLOW_NS UINT64_C(100000) /* of CPU */
#define SLOW_TIMES 20u /* of our own */
#define SUM_NS UINT64_C(5000000) /* of slow ones in a row */
#define PROBES 4u
#define ERROR_PROBES 2u /* the control thread makes them */
#define ACCUSATIONS 3u
#define SHARE 5u /* slow signals take a fifth of the time at least */
#define PAUSE_TIMES 100u

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void signals_pause(struct vireo_device *device, uint64_t cost_ns)
{
	__atomic_store_n(&device->signals_paused_until_ns, now_ns(CLOCK_MONOTONIC) + PAUSE_TIMES * cost_ns,
			 __ATOMIC_RELAXED);
}

/* How long from now on; 0: they do not. */
static uint64_t signals_paused_ns(struct vireo_device *device)
{
	uint64_t until = __atomic_load_n(&device->signals_paused_until_ns, __ATOMIC_RELAXED), now;

	if (likely(!until))
		return 0;
	now = now_ns(CLOCK_MONOTONIC);
	if (now < until)
		return until - now;
	__atomic_store_n(&device->signals_paused_until_ns, 0, __ATOMIC_RELAXED);
	return 0;
}

/* The most that the device's own eventfd takes of some, which wakes the control thread for nothing. */
static uint64_t own_cost_ns(const struct vireo_device *device)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);

		fd_event_raise(device->event_fd);
		most = max_u64(most, now_ns(CLOCK_THREAD_CPUTIME_ID) - start);
	}
	return most;
}

/* Returns what it has taken by that clock. */
static uint64_t signal_raise(struct vireo_queue *queue, clockid_t clock)
{
	struct vireo_device *device = queue->device;
	uint64_t start = now_ns(clock);

	if (queue->call.fd >= 0)
		bell_raise(&queue->call);
	else
		device->transport->signal(device->transport_opaque, queue->index);
	return max_u64(now_ns(clock) - start, bell_cost_ns(&queue->call));
}

/* The least that one takes of some. */
static uint64_t signal_probe(struct vireo_queue *queue)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < PROBES && least >= SLOW_NS; i++)
		least = min_u64(least, signal_raise(queue, CLOCK_THREAD_CPUTIME_ID));
	return least;
}

static void signals_too_slow(struct vireo_queue *queue)
{
	struct signal_cost *cost = &queue->signal_cost;
	uint64_t each = signal_probe(queue);
	char why[128];

	if (each < SLOW_NS || each < SLOW_TIMES * own_cost_ns(queue->device)) { /* the machine is slow, not its peer */
		*cost = (struct signal_cost){ 0 };
		return;
	}
	if (!cost->confirmed)
		cost->since_ns = now_ns(CLOCK_MONOTONIC) - cost->sum_ns - PROBES * each;
	cost->total_ns += cost->sum_ns + PROBES * each;
	cost->sum_ns = 0;
	if (++cost->confirmed < ACCUSATIONS)
		return;
	if (cost->total_ns < (now_ns(CLOCK_MONOTONIC) - cost->since_ns) / SHARE) { /* who signals so rarely may take so long */
		*cost = (struct signal_cost){ 0 };
		return;
	}
	signals_pause(queue->device, cost->total_ns);
	snprintf(why, sizeof(why), "each signal takes %llu us of CPU: too many wait for its call eventfd",
		 (unsigned long long)each / 1000);
	*cost = (struct signal_cost){ 0 };
	device_break_raise(queue->device, queue, why);
}

static __cold void signal_suspect(struct vireo_queue *queue, uint64_t took_ns)
{
	struct signal_cost *cost = &queue->signal_cost;

	if (!cost->close_look) {
		*cost = (struct signal_cost){ .close_look = true };
		return;
	}
	if (took_ns < SLOW_NS) {
		*cost = (struct signal_cost){ 0 };
		return;
	}
	cost->sum_ns += took_ns;
	if (cost->sum_ns >= SUM_NS)
		signals_too_slow(queue);
}

static __cold void signal_while_paused(struct vireo_queue *queue, uint64_t left_ns)
{
	char why[128];

	snprintf(why, sizeof(why), "its signals took too much CPU: there are none for another %llu ms",
		 (unsigned long long)left_ns / 1000000 + 1);
	device_break_raise(queue->device, queue, why);
}

void queue_signal(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;
	clockid_t clock = unlikely(queue->signal_cost.close_look) ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
	uint64_t took, paused = signals_paused_ns(device);

	if (queue->call.fd < 0 && !device->transport->signal)
		return;
	if (unlikely(paused)) {
		signal_while_paused(queue, paused);
		return;
	}
	counter_add(&queue->signals, 1);
	took = signal_raise(queue, clock);
	if (unlikely(took >= SUSPECT_NS || queue->signal_cost.close_look))
		signal_suspect(queue, took);
}

/* Returns what it has taken, of CPU time. */
static uint64_t error_raise(const struct vireo_queue *queue)
{
	uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);

	bell_raise(&queue->error);
	return max_u64(now_ns(CLOCK_THREAD_CPUTIME_ID) - start, bell_cost_ns(&queue->error));
}

/* Control thread. There is one for a queue that lies, and no sum of them: one that is slow is made again at once, for the same reason as others. */
void queue_error_signal(struct vireo_queue *queue)
{
	uint64_t took, sum = 0;

	if (queue->error.fd < 0 || signals_paused_ns(queue->device))
		return;
	for (unsigned i = 0; i < ERROR_PROBES; i++) {
		took = error_raise(queue);
		if (took < SLOW_NS)
			return;
		sum += took;
	}
	if (took >= SLOW_TIMES * own_cost_ns(queue->device))
		signals_pause(queue->device, sum);
}
