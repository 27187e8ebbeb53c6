/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a signal may cost
 *
 * To raise a peer's eventfd the kernel walks those who wait for it, with interrupts off, in the worker's system call. A peer
 * may let as many wait as it likes (dup(2) and epoll are enough), and so make each signal as slow as it likes: 150 ms were
 * seen. An eventfd behind an ioctl (VDUSE) is no different.
 *
 * So the time of each signal is looked at. One that takes long may have been preempted, which is nobody's fault: after it the
 * queue's next ones are measured in the thread's own CPU time, until one is quick. Those that are slow by that add up.
 *
 * CPU time is not our own on every machine: an emulator, or a hypervisor that does not tell of stolen time, runs the CPU on
 * which the peer wakes up, and ours stands still meanwhile. No measure of ours tells that from a long queue for certain, so a
 * slow eventfd accuses nobody. It is raised where it holds nobody up, and seldom:
 *
 *	inline -> aside     the worker: one took HELD_UP_NS on the clock or HELD_UP_CPU_NS of CPU, or slow ones have added
 *	                    up to SUM_NS. It owes one more
 *	aside               the worker: owed = true, event_fd raised; the control thread: owed = false, then it signals
 *	aside -> inline     the control thread: one was quick
 *	aside -> rest       the control thread: RAISES of them at once were slow, and each far slower than our own eventfd at the
 *	                    same moment (a long queue is walked each time, while a peer that is awake by now is not woken again).
 *	                    No queue of the device is signalled for REST_TIMES as long, twice that if it comes to that again, and
 *	                    so on up to PAUSE_TIMES; when it has come to that TELL_RESTS times in a row, a line tells of it.
 *	                    Nothing is lost: what is owed is signalled when the rest is over
 *
 * A front end that comes again with the same eventfd would hold its worker up once more. So after such a rest all signals of
 * the device are made aside for PAUSE_TIMES as long as they have taken, all rests together. A row of rests ends when that time is over,
 * and not when one signal is quick: a peer may be slow and quick as it likes. So in the long run slow signals take one percent of the time,
 * of a worker's and of the control thread's.
 *
 * A queue that stops gets what it is owed before it is quiet, unless its device rests again and again: who stops and starts its
 * queues does not cut a rest short. It is signalled when it starts again, here or in another process (queue_run.c).
 *
 * A bell's own thread (bell.c) holds no worker up; what each of its raises has taken is told once, and judged by the next signal. A
 * bell that has one may be raised without it all the same, when kernel AIO has come.
 *
 * A rest outlives the session, but not the process: one that takes over measures anew.
 */
#include "base/fd.h"
#include "base/loop.h"
#include "device/device_internal.h"
#include <time.h>

#define SUSPECT_NS UINT64_C(50000) /* on the clock; honest ones take 1000 to 20,000 */
#define SLOW_NS UINT64_C(100000) /* of CPU */
#define SLOW_TIMES 20u /* of our own */
#define SUM_NS UINT64_C(5000000) /* of slow ones in a row */
#define PROBES 4u
#define ERROR_PROBES 2u /* the control thread makes them */
#define PAUSE_TIMES 100u
#define HELD_UP_NS UINT64_C(10000000)
#define HELD_UP_CPU_NS UINT64_C(2000000)
#define RAISES 2u /* at once */
#define REST_TIMES 10u
#define TELL_RESTS 4u

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t left_ns(uint64_t *until_ns)
{
	uint64_t until = __atomic_load_n(until_ns, __ATOMIC_RELAXED), now;

	if (likely(!until))
		return 0;
	now = now_ns(CLOCK_MONOTONIC);
	if (now < until)
		return until - now;
	__atomic_compare_exchange_n(until_ns, &until, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return 0;
}

static void until_set(uint64_t *until_ns, uint64_t ns)
{
	if (ns > __atomic_load_n(until_ns, __ATOMIC_RELAXED))
		__atomic_store_n(until_ns, ns, __ATOMIC_RELAXED);
}

/* `times` as long as they have taken there are none, and none inline for PAUSE_TIMES as long, behind the time for those before. */
static void signals_pause(struct vireo_device *device, uint64_t cost_ns, unsigned times)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC), aside_until = __atomic_load_n(&device->signals_aside_until_ns, __ATOMIC_RELAXED);

	until_set(&device->signals_paused_until_ns, now + times * cost_ns);
	until_set(&device->signals_aside_until_ns, max_u64(now, aside_until) + PAUSE_TIMES * cost_ns);
}

static unsigned rests_in_a_row(struct vireo_device *device)
{
	if (!left_ns(&device->signals_aside_until_ns))
		device->signal_rests = 0;
	return device->signal_rests;
}

/* The most that the device's own eventfd takes of some; the control thread looks at it for nothing. */
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

static bool is_slow(const struct vireo_device *device, uint64_t took_ns)
{
	return took_ns >= SLOW_NS && took_ns >= SLOW_TIMES * own_cost_ns(device);
}

static bool has_bell(const struct vireo_queue *queue)
{
	return queue->call.fd >= 0 || queue->device->transport->signal;
}

/* Returns what it has taken by that clock; where a thread of the bell's own does it (*ret_own), what its last one took. 0: none since. */
static uint64_t signal_raise(struct vireo_queue *queue, clockid_t clock, bool *ret_own)
{
	struct vireo_device *device = queue->device;
	uint64_t start = now_ns(clock);

	*ret_own = false;
	if (queue->call.fd >= 0)
		*ret_own = bell_raise(&queue->call);
	else
		device->transport->signal(device->transport_opaque, queue->index);
	return *ret_own ? bell_cost_take_ns(&queue->call) : now_ns(clock) - start;
}

/* ---- by the control thread ---- */

/* The worker's too. The release pairs with the acquire of who takes it: what the driver is told of has been written. */
static __cold void signal_owe(struct vireo_queue *queue)
{
	if (__atomic_exchange_n(&queue->signal_aside.owed, true, __ATOMIC_ACQ_REL))
		return;
	(void)__atomic_exchange_n(&queue->device->signals_owed, true, __ATOMIC_ACQ_REL); /* why an exchange: broken.c */
	fd_event_raise(queue->device->event_fd);
}

static void signals_rest(struct vireo_queue *queue, uint64_t took_ns, uint64_t each_ns)
{
	struct vireo_device *device = queue->device;
	unsigned times = REST_TIMES << min_u64(rests_in_a_row(device), TELL_RESTS);

	signals_pause(device, took_ns, times < PAUSE_TIMES ? times : PAUSE_TIMES);
	if (++device->signal_rests == TELL_RESTS)
		log_warning(&device->log,
			    "%s: queue %u: each signal takes %llu us of CPU: too many wait for its call eventfd, which is raised seldom from now on",
			    device->name, queue->index, (unsigned long long)each_ns / 1000);
}

static void signal_is_quick(struct vireo_queue *queue)
{
	queue->signal_aside.slow = 0;
	queue->signal_aside.sum_ns = 0;
	__atomic_store_n(&queue->signal_aside.on, false, __ATOMIC_RELAXED);
}

/* Where the bell has a thread of its own each signal tells of one before it. */
static void signal_make_aside(struct vireo_queue *queue)
{
	struct signal_aside *aside = &queue->signal_aside;
	uint64_t took;
	bool own;

	do {
		took = signal_raise(queue, CLOCK_THREAD_CPUTIME_ID, &own);
		if (!took && own)
			return;
		if (!is_slow(queue->device, took)) {
			signal_is_quick(queue);
			return;
		}
		aside->sum_ns += took;
		if (++aside->slow == RAISES) {
			__atomic_store_n(&aside->on, true, __ATOMIC_RELAXED);
			signals_rest(queue, aside->sum_ns, took);
			aside->slow = 0;
			aside->sum_ns = 0;
			return;
		}
	} while (!own);
}

static void rest_is_over(void *opaque)
{
	struct vireo_device *device = opaque;

	loop_timer_free(&device->rest_timer); /* its fd is no longer the port's */
	(void)__atomic_exchange_n(&device->signals_owed, true, __ATOMIC_ACQ_REL);
	signals_act(device);
}

/* False: there is no timer, and nothing would be signalled behind the rest. */
static bool rest_goes_on(struct vireo_device *device)
{
	uint64_t ns = left_ns(&device->signals_paused_until_ns);

	if (!ns || (!device->rest_timer && loop_timer_new(device->loop, rest_is_over, device, &device->rest_timer)))
		return false;
	loop_timer_start(device->rest_timer, ns / 1000000 + 1);
	return true;
}

void signals_act(struct vireo_device *device)
{
	if (!__atomic_exchange_n(&device->signals_owed, false, __ATOMIC_ACQUIRE))
		return;
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct vireo_queue *queue = &device->queues[i];

		if (!__atomic_load_n(&queue->signal_aside.owed, __ATOMIC_RELAXED))
			continue;
		if (rest_goes_on(device))
			return;
		if (__atomic_exchange_n(&queue->signal_aside.owed, false, __ATOMIC_ACQUIRE))
			signal_make_aside(queue);
	}
}

void queue_signal_settle(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (!__atomic_exchange_n(&queue->signal_aside.owed, false, __ATOMIC_ACQUIRE) || !has_bell(queue))
		return;
	if (rests_in_a_row(device) < TELL_RESTS || !left_ns(&device->signals_paused_until_ns))
		signal_make_aside(queue);
}

/* ---- by the worker ---- */

static void signals_go_aside(struct vireo_queue *queue)
{
	queue->signal_cost = (struct signal_cost){ 0 };
	__atomic_store_n(&queue->signal_aside.on, true, __ATOMIC_RELAXED);
	signal_owe(queue); /* is it slow? */
}

static __cold void signal_suspect(struct vireo_queue *queue, uint64_t took_ns, bool own)
{
	struct signal_cost *cost = &queue->signal_cost;

	if (!took_ns)
		return;
	if (!own && took_ns >= (cost->close_look ? HELD_UP_CPU_NS : HELD_UP_NS)) {
		signals_go_aside(queue);
		return;
	}
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
		signals_go_aside(queue);
}

static bool signal_elsewhere(const struct vireo_queue *queue)
{
	return __atomic_load_n(&queue->signal_aside.on, __ATOMIC_RELAXED) || left_ns(&queue->device->signals_aside_until_ns);
}

void queue_signal(struct vireo_queue *queue)
{
	clockid_t clock = unlikely(queue->signal_cost.close_look) ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
	uint64_t took;
	bool own;

	if (!has_bell(queue))
		return;
	counter_add(&queue->signals, 1);
	if (unlikely(signal_elsewhere(queue))) {
		signal_owe(queue);
		return;
	}
	took = signal_raise(queue, clock, &own);
	if (unlikely(took >= SUSPECT_NS || queue->signal_cost.close_look))
		signal_suspect(queue, took, own);
}

/* Returns what it has taken, of CPU time. */
static uint64_t error_raise(const struct vireo_queue *queue)
{
	uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);

	bell_raise(&queue->error);
	return max_u64(now_ns(CLOCK_THREAD_CPUTIME_ID) - start, bell_cost_take_ns(&queue->error));
}

/*
 * Control thread. There is one for a queue that lies, and no sum of them: one that is slow is made again at once, for the same
 * reason as others.
 */
void queue_error_signal(struct vireo_queue *queue)
{
	uint64_t took, sum = 0;

	if (queue->error.fd < 0 || left_ns(&queue->device->signals_paused_until_ns))
		return;
	for (unsigned i = 0; i < ERROR_PROBES; i++) {
		took = error_raise(queue);
		if (took < SLOW_NS)
			return;
		sum += took;
	}
	if (took >= SLOW_TIMES * own_cost_ns(queue->device))
		signals_pause(queue->device, sum, PAUSE_TIMES);
}
