/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A worker of which no source has work is dry. It waits awake, or for a nap, as long as patience.h says that it is worth it, arms its
 * sources, and sleeps until one of them, or another thread, wakes it. What it learns meanwhile belongs to the source that
 * had work before: how soon after that the next work came.
 */

#include "base/fd.h"
#include "base/system.h"
#include "work/rcu.h"
#include "work/thread.h"
#include "work/worker.h"
#include "work/worker_internal.h"

#define REST_NS_MAX    (500u * NS_PER_US)
#define SLEEP_FOR_EVER UINT64_MAX

/* ---- sleep ---- */

/* What is found says that more may come soon; where nothing is, for long, looking is all that armed sources cost, and is done seldom. */
static void events_found(struct worker *worker, int count)
{
	worker->event_count = count > 0 ? count : 0;
	if (count > 0)
		worker->events_found_ns = worker->now_ns;
	worker->peek_ns = worker->now_ns - worker->events_found_ns < PEEK_QUIET_NS ? PEEK_NS : PEEK_RARELY_NS;
}

void wait_peek(struct worker *worker)
{
	worker->events_checked_ns = worker->now_ns;
	events_found(worker, epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, 0));
}

static int wait_ns(struct worker *worker, uint64_t timeout_ns)
{
	if (timeout_ns == SLEEP_FOR_EVER)
		return epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, -1);
	return system_epoll_wait_ns(worker->epoll_fd, worker->events, WORKER_EVENTS, timeout_ns);
}

/* What is due is looked at between two rounds. */
static uint64_t until_due_ns(const struct worker *worker, uint64_t timeout_ns)
{
	uint64_t now_ns = worker->now_ns;

	return min_u64(timeout_ns, worker->due_ns > now_ns ? worker->due_ns - now_ns : 0);
}

/* It has something to look at again. */
static inline void watch_wake(struct worker_watch *watch)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that of who looks, before it sleeps */
	if (unlikely(__atomic_load_n(&watch->asleep, __ATOMIC_RELAXED)))
		fd_event_raise(watch->fd);
}

static void worker_sleep(struct worker *worker, uint64_t timeout_ns)
{
	int count;

	if (worker->due_ns)
		timeout_ns = until_due_ns(worker, timeout_ns);
	counter_add(&worker->stats.sleeps, 1);
	patience_slept(&worker->patience, worker->now_ns - worker->woke_ns);
	worker->found = worker->napped ? PATIENCE_DOZING : PATIENCE_ASLEEP;
	rcu_leave(worker->rcu_key);
	count = wait_ns(worker, timeout_ns);
	rcu_enter();
	if (worker->watch)
		watch_wake(worker->watch);
	worker_clock_read(worker);
	events_found(worker, count);
	worker->woke_ns = worker->awake_since_ns = worker->now_ns;
	if (count > 0)
		counter_add(&worker->stats.wakeups, 1);
}

void wait_resting(struct worker *worker)
{
	worker_sleep(worker, worker->rest_ns);
	worker->rest_ns = min_u32(worker->rest_ns * 2, REST_NS_MAX);
}

void wait_asleep(struct worker *worker)
{
	uint64_t end_ns = worker->dry_since_ns + worker->plan.nap_ns;

	if (!worker->napping_count || worker->now_ns >= end_ns) {
		worker->napping_count = 0;
		worker_sleep(worker, SLEEP_FOR_EVER);
		return;
	}
	worker_sleep(worker, end_ns - worker->now_ns);
	if (worker->event_count || worker->now_ns < end_ns)
		return;
	patience_napped(&worker->patience, worker->now_ns - end_ns);
	worker->awake_until_ns = worker->dry_since_ns + worker->plan.nap_spin_ns;
	worker->plan.nap_ns = 0;
	worker->napped = true;
	worker->found = PATIENCE_AWAKE;
}

/* ---- dry: no source has work ---- */

static void others_look(struct worker *worker)
{
	struct patience_system system;

	if (!patience_look_due(&worker->patience, worker->now_ns))
		return;
	thread_system_read(worker->schedstat_fd, &system);
	patience_look(&worker->patience, &system, worker->now_ns);
}

/* A source that has just run dry has looked at the clock. */
static void dry_begin(struct worker *worker)
{
	worker->dry_after = worker->served;
	worker->dry_since_ns = worker->awake_since_ns = worker->now_ns;
	worker->napped = false;
	worker->found = PATIENCE_AWAKE;
	others_look(worker);
	worker->plan = patience_plan(&worker->patience, worker->dry_after ? &worker->dry_after->habit : NULL, worker->now_ns);
	worker->awake_until_ns = worker->now_ns + worker->plan.spin_ns;
}

void wait_over(struct worker *worker)
{
	patience_pay(&worker->patience, worker->now_ns - worker->awake_since_ns, true);
	if (worker->dry_after)
		patience_learn(&worker->patience, &worker->dry_after->habit, worker->now_ns - worker->dry_since_ns,
			       worker->found);
	worker->dry_since_ns = 0;
}

/* From the end, so that the list stays as it is for nap_end(). */
static void dry_arm(struct worker *worker)
{
	unsigned count = worker->active_count;

	for (unsigned at = count; at--;)
		if (!worker->active[at]->unarmed && worker_arm(worker, at))
			return;
	if (!worker->active_count && worker->plan.nap_ns)
		worker->napping_count = count;
}

void wait_dry(struct worker *worker)
{
	if (!worker->dry_since_ns)
		dry_begin(worker);
	if (worker->now_ns < worker->awake_until_ns)
		return;
	patience_pay(&worker->patience, worker->now_ns - worker->awake_since_ns, false);
	worker->awake_since_ns = worker->now_ns;
	dry_arm(worker);
}
