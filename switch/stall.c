/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Who makes a worker wait? Mostly nobody: a burst that took long was interrupted, by another thread that had the CPU. A
 * worker never waits by itself in a burst; if it did, it was for memory: a page that its owner is taking away, or
 * that has to come from a disk.
 *
 * Watching costs system calls, so a worker begins only when a burst took STALL_NS and there were page faults since
 * the last that did. It is alert then, for a second, or, when the last alert ended within a minute, four times as
 * long as that, up to a minute: who keeps still until it ends gains little. Alert, it takes each burst in steps, each
 * of which touches the memory of one port alone (the frames' pages are touched before they are copied to another),
 * and looks at the CPU's counter before and after each. A step of STALL_NS with page faults and voluntary context switches, in which
 * the thread was neither running nor ready to run for STALL_NS, is one stall of that port's;
 * STALLS_MAX within a minute move it aside (port_aside.c). A preempted worker has involuntary switches, one that waits
 * for a claim yields, and one that a busy machine leaves in the run queue is ready: none of that accuses anybody.
 *
 * There are several steps in a burst, the clock costs more than the counter, and what the system says of the thread costs calls. So both are
 * asked after a step that took so long by the counter, and before a step at most every USAGE_EVERY_NS: what was true then is taken for what is
 * true. A stall may be that much longer before it is one, and a fault of just before may stand for the step's own, which must have waited all
 * the same. How long a step took the counter says, but never longer than the clock: the counters of two CPUs may differ.
 *
 * A port whose frames lie in our own memory is never accused: no peer of its makes us wait, whatever else does.
 *
 * Memory of an honest guest that the host has swapped out looks the same. Such a port is served aside as well,
 * which costs it a copy; and a peer that takes pages away at the right moment may have one it talks to moved.
 */

#include "switch/core.h"
#include "switch/port.h"
#include "switch/forwarder.h"
#include "base/clock.h"
#include "base/fd.h"
#include "work/thread.h"
#include <sys/resource.h>

#define NS_PER_S       1000000000u
#define STALL_NS       5000000u
#define STALL_US       (STALL_NS / 1000)
#define USAGE_EVERY_NS 1000000u
#define ALERT_NS       NS_PER_S
#define ALERT_MAX_NS   ((uint64_t)STALLS_S * NS_PER_S)
#define STALLS_S       60u
#define MEASURE_NS     200000u
#define LOOKS_MAX      1000000u /* at a clock, which stands still in bench/instructions */
#define PAGE_BYTES     4096u

uint64_t stall_limit_cycles(void)
{
	uint64_t start_ns = clock_now_ns(), start = cycles_now(), ns = 0;

	for (unsigned i = 0; i < LOOKS_MAX && ns < MEASURE_NS; i++)
		ns = clock_now_ns() - start_ns;
	return ns < MEASURE_NS ? UINT64_MAX : (cycles_now() - start) * STALL_US / (ns / 1000);
}

static void usage(struct stall_step *ret)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	ret->faults = (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
	ret->waits = (uint64_t)usage.ru_nvcsw;
	ret->ns = clock_now_ns();
}

/* An alert begins: soon after the last, it is to last longer than that. */
static void alert(struct stall *stall, uint64_t now_ns)
{
	bool again = stall->alert_ns && now_ns < stall->alert_until_ns + ALERT_MAX_NS;

	stall->alert = true;
	stall->alert_ns = again ? min_u64(4 * stall->alert_ns, ALERT_MAX_NS) : ALERT_NS;
}

void stall_suspect(struct stall *stall)
{
	struct stall_step now;

	usage(&now);
	if (now.faults != stall->faults) {
		if (!stall->alert)
			alert(stall, now.ns);
		stall->alert_until_ns = now.ns + stall->alert_ns;
	}
	stall->faults = now.faults;
}

/* What the system said is too old. */
static __attribute__((noinline)) void look(struct forwarder *forwarder)
{
	struct stall *stall = &forwarder->stall;

	usage(&stall->last);
	stall->last.ready_ns = thread_ready_ns(forwarder->worker.schedstat_fd);
	stall->last_cycles = cycles_now();
	if (stall->last.ns < stall->alert_until_ns)
		return;
	stall->alert = false;
	stall->faults = stall->last.faults;
}

uint64_t stall_begin(struct forwarder *forwarder)
{
	uint64_t now = cycles_now();

	if (likely(now - forwarder->stall.last_cycles < forwarder->sw->stall_cycles / (STALL_NS / USAGE_EVERY_NS)))
		return now;
	look(forwarder);
	return forwarder->stall.last_cycles;
}

bool stall_waited(const struct stall_step *begun, const struct stall_step *ended)
{
	uint64_t took_ns = ended->ns - begun->ns, ready_ns = ended->ready_ns - begun->ready_ns;

	return ended->faults != begun->faults && ended->waits != begun->waits && took_ns >= STALL_NS &&
	       took_ns - min_u64(took_ns, ready_ns) >= STALL_NS;
}

void stall_accuse(struct sw_port *port, uint32_t now_s)
{
	struct stalls *stalls = &port->stalls;

	if (now_s - __atomic_load_n(&stalls->first_s, __ATOMIC_RELAXED) > STALLS_S) {
		__atomic_store_n(&stalls->first_s, now_s, __ATOMIC_RELAXED);
		__atomic_store_n(&stalls->count, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_add_fetch(&stalls->count, 1, __ATOMIC_RELAXED) < STALLS_MAX)
		return;
	__atomic_store_n(&stalls->count, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&stalls->accused, true, __ATOMIC_RELAXED);
	__atomic_store_n(&port->sw->accused, true, __ATOMIC_RELEASE); /* pairs with the acquire in asides_look() */
	fd_event_raise(port->sw->event_fd);
}

/* When a step of so many cycles began that has ended now: as late as the counter says, and as the clock allows. */
static uint64_t began_ns(const struct forwarder *forwarder, uint64_t took_cycles, uint64_t now_ns)
{
	uint64_t cycles_per_us = forwarder->sw->stall_cycles / STALL_US, last_ns = forwarder->stall.last.ns;

	return cycles_per_us ? now_ns - min_u64(now_ns - last_ns, took_cycles / cycles_per_us * 1000) : last_ns;
}

/* Of a step that took long. */
static __attribute__((noinline)) void stall_judge(struct forwarder *forwarder, uint64_t took_cycles, struct sw_port *port)
{
	struct stall_step begun = forwarder->stall.last, now;

	usage(&now);
	now.ready_ns = thread_ready_ns(forwarder->worker.schedstat_fd);
	begun.ns = began_ns(forwarder, took_cycles, now.ns);
	if (stall_waited(&begun, &now) && !__atomic_load_n(&forwarder->accused, __ATOMIC_RELAXED))
		stall_accuse(port, (uint32_t)(now.ns / NS_PER_S));
}

void stall_end(struct forwarder *forwarder, uint64_t begun, struct sw_port *port)
{
	uint64_t took_cycles = cycles_now() - begun;

	if (unlikely(took_cycles >= forwarder->sw->stall_cycles && port->ops->peer_memory))
		stall_judge(forwarder, took_cycles, port);
}

/* One byte of each page: what is copied later is there by then. */
void stall_touch(const struct vireo_frame *frames, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (uint32_t piece = 0; piece < frames[i].iov_count; piece++) {
			const volatile uint8_t *at = frames[i].iov[piece].iov_base;
			size_t bytes = frames[i].iov[piece].iov_len;

			for (size_t done = 0; done < bytes; done += PAGE_BYTES)
				(void)at[done];
			if (bytes)
				(void)at[bytes - 1];
		}
	}
}
