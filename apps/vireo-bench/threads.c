/* SPDX-License-Identifier: BSD-3-Clause */

/* Threads, where they run, and how they wait. The calling thread watches the back ends and the clock. */

#include "base/affinity.h"
#include "base/util.h"
#include "traffic.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define TICK_NS UINT64_C(1000000000)
#define WATCH_MS 50
#define IDLE_ROUNDS 32u

uint64_t traffic_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void traffic_sleep(struct port *port, bool receive, bool transmit, uint64_t max_ns)
{
	struct pollfd fds[2 * PAIRS_MAX];
	struct timespec timeout = { .tv_sec = (time_t)(max_ns / 1000000000),
				    .tv_nsec = (long)(max_ns % 1000000000) };
	nfds_t count = 0;
	bool there = false;

	for (unsigned i = 0; i < port->pair_count; i++) {
		if (receive)
			fds[count++].fd = port_call_fd(port, i, true);
		if (transmit)
			fds[count++].fd = port_call_fd(port, i, false);
	}
	for (nfds_t i = 0; i < count; i++)
		fds[i].events = POLLIN;
	if (receive)
		there |= port_signals(port, true, true);
	if (transmit)
		there |= port_signals(port, false, true);
	if (!there)
		ppoll(fds, count, &timeout, NULL);
	if (receive)
		port_signals(port, true, false);
	if (transmit)
		port_signals(port, false, false);
}

/* Nothing to do, for the n-th time in a row. */
static void idle(struct traffic *t, unsigned rounds, void (*sleep_fn)(struct traffic *t))
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
	if (t->o->wait == WAIT_EVENT && rounds >= IDLE_ROUNDS)
		sleep_fn(t);
	else if (t->o->wait != WAIT_SPIN && rounds >= IDLE_ROUNDS)
		sched_yield();
}

static void *sender_main(void *opaque)
{
	struct traffic *t = opaque;
	unsigned rounds = 0;

	while (!sender_finished(t)) {
		rounds = sender_step(t) ? 0 : rounds + 1;
		if (rounds)
			idle(t, rounds, sender_idle);
	}
	return NULL;
}

static void *receiver_main(void *opaque)
{
	struct traffic *t = opaque;
	unsigned rounds = 0;

	while (!receiver_finished(t)) {
		rounds = receiver_step(t) ? 0 : rounds + 1;
		if (rounds)
			idle(t, rounds, receiver_idle);
	}
	return NULL;
}

/* Both in turn. There is no sleep that serves two ports at once: a short one on the receiver's. */
static void pair_idle(struct traffic *t)
{
	traffic_sleep(t->to, true, false,
		      t->o->rate_fps ? min_u64(1000000000 / t->o->rate_fps, 100000) : 20000);
}

static void *both_main(void *opaque)
{
	struct traffic *t = opaque;
	unsigned rounds = 0;
	bool sender_over = false;

	while (!receiver_finished(t)) {
		unsigned done = sender_over ? 0 : sender_step(t);

		done += receiver_step(t);
		sender_over = sender_over || sender_finished(t);
		rounds = done ? 0 : rounds + 1;
		if (rounds)
			idle(t, rounds, pair_idle);
	}
	return NULL;
}

static int thread_start(pthread_t *thread, void *(*fn)(void *), struct traffic *t, unsigned cpu_index)
{
	cpu_set_t cpus;

	if (cpu_index >= t->o->cpu_count)
		return affinity_start(thread, NULL, fn, t);
	CPU_ZERO(&cpus);
	CPU_SET(t->o->cpus[cpu_index], &cpus);
	return affinity_start(thread, &cpus, fn, t);
}

static void watch(struct traffic *t, int timeout_ms)
{
	struct port *ports[2] = { t->from, t->to };
	struct pollfd fds[2];

	for (unsigned i = 0; i < 2; i++)
		fds[i].fd = ports[i]->wire ? -1 : device_watch_fd(&ports[i]->device, &fds[i].events);
	if (poll(fds, 2, timeout_ms) <= 0)
		return;
	for (unsigned i = 0; i < 2; i++)
		if (fds[i].revents && device_gone(&ports[i]->device) && !t->gone)
			t->gone = ports[i]->path;
	if (t->gone)
		__atomic_store_n(&t->abort, true, __ATOMIC_RELAXED);
}

static void supervise(struct traffic *t, void (*tick)(const struct traffic *t),
		      const volatile bool *interrupted)
{
	uint64_t next_ns = t->start_ns + TICK_NS;

	while (!__atomic_load_n(&t->sender_done, __ATOMIC_ACQUIRE)) {
		watch(t, WATCH_MS);
		/* The sender cannot go on without the receiver's port either. */
		if (*interrupted || t->gone || __atomic_load_n(&t->to->error, __ATOMIC_RELAXED))
			__atomic_store_n(&t->stop, true, __ATOMIC_RELAXED);
		if (traffic_now_ns() >= next_ns) {
			tick(t);
			next_ns += TICK_NS;
		}
		if (t->gone)
			return;
	}
}

int traffic_run(struct traffic *t, void (*tick)(const struct traffic *t), const volatile bool *interrupted)
{
	bool one = t->o->cpu_count == 1;
	pthread_t receiver = 0, sender = 0;
	int ret;

	t->start_ns = t->pace_ns = traffic_now_ns();
	ret = thread_start(&receiver, one ? both_main : receiver_main, t, one ? 0 : 1);
	if (ret)
		return ret;
	ret = one ? 0 : thread_start(&sender, sender_main, t, 0);
	if (ret)
		__atomic_store_n(&t->abort, true, __ATOMIC_RELAXED);
	else
		supervise(t, tick, interrupted);
	if (!ret && !one)
		pthread_join(sender, NULL);
	pthread_join(receiver, NULL);
	return ret;
}
