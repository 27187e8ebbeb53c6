/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A worker goes round: say that nothing is held (RCU), take the published topology, handle events and letters, ask
 * each active queue for one burst, forward it. An in queue of its is
 *
 *   ACTIVE  asked in each round; its kicks are off
 *   ARMED   not touched at all until its kick fd fires; its kicks are on
 *
 * A queue is armed when it has had no frames for a while though others had; all are when the worker has run dry, and has
 * waited awake for as long as that is worth it (patience.h). Armed: kicks on, then asked once more whether frames are there,
 * since the peer may have looked between our last receive and the arming. All kick fds are in the worker's epoll
 * for good, edge-triggered and never read: a kick costs no system call but the epoll_wait, and one that
 * came while the queue was active is at worst one needless wake-up. So an idle port costs a busy worker nothing.
 *
 * The worker sleeps in epoll_wait when no queue is active: without a timeout, or for a nap. At the end of a nap the queues
 * that were armed for it are active again, for a moment. Asleep it is off-line for RCU,
 * so ports can be removed without waking it. Who adds a queue or a letter raises wake_fd after the fact
 * is published; the event stays pending until a later epoll_wait sees it, so none is lost.
 *
 * While off-line the worker holds no pointer into the topology: events name slots, and are handled in the next
 * round, on the topology of then. Slots are used again only a grace period after their queue went.
 *
 * A queue without a kick fd cannot be armed. When nothing but such queues is active and all are idle, the worker
 * sleeps a little between rounds, longer and longer; kicks and letters still wake it.
 */

#include "base/fd.h"
#include "switch/core.h"
#include "switch/cuts.h"
#include "switch/worker.h"
#include "work/rcu.h"
#include "work/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_US       1000u
#define NS_PER_MS       1000000u
#define NS_PER_S        1000000000u
#define CLOCK_ROUNDS    16u            /* rounds between two looks at the clock */
#define EVENTS_EVERY_NS (40u * NS_PER_US) /* how often a busy worker looks for kicks */
#define KEEP_NS         (50u * NS_PER_US) /* so long a queue without frames stays active while others have some */
#define REST_NS_MIN     (20u * NS_PER_US)
#define REST_NS_MAX     (500u * NS_PER_US)
#define ARENA_LINEAR_BYTES (128u * 1024) /* one of the longest frames, and some of others */
#define SLEEP_FOR_EVER  UINT64_MAX
#define WAKE_SLOT       UINT32_MAX

static void clock_read(struct worker *worker)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	worker->now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	worker->now_s = (uint32_t)now.tv_sec;
}

/* ---- states of an in queue ---- */

static void queue_activate(struct worker *worker, struct in_queue *in)
{
	in->state = IN_ACTIVE;
	in->idle_since_ns = 0;
	in->resting = false;
	in->ops->kick_enable(in->opaque, in->number, false);
	worker->active[worker->active_count++] = in;
}

/* Takes a queue out of the active ones; order does not matter. */
static void queue_deactivate(struct worker *worker, unsigned at, enum in_state state)
{
	struct in_queue *in = worker->active[at];

	in->state = state;
	worker->resting_count -= in->resting;
	in->resting = false;
	worker->active[at] = worker->active[--worker->active_count];
}

/* True: frames came at the last moment, the queue stays active. */
static bool queue_arm(struct worker *worker, unsigned at)
{
	struct in_queue *in = worker->active[at];

	if (in->ops->kick_enable(in->opaque, in->number, true)) {
		in->ops->kick_enable(in->opaque, in->number, false);
		in->idle_since_ns = 0;
		return true;
	}
	queue_deactivate(worker, at, IN_ARMED);
	worker->armed_count++;
	return false;
}

/* No frames. True: the queue is still at this place among the active ones. */
static bool queue_idle(struct worker *worker, unsigned at)
{
	struct in_queue *in = worker->active[at];

	if (worker->poll || in->resting)
		return true;
	if (!in->idle_since_ns) {
		clock_read(worker); /* what it said may be many busy rounds old */
		in->idle_since_ns = worker->now_ns;
		return true;
	}
	if (worker->now_ns - in->idle_since_ns < worker->keep_ns)
		return true;
	if (in->kick_fd >= 0)
		return queue_arm(worker, at);
	in->resting = true;
	worker->resting_count++;
	return true;
}

static void queue_busy(struct worker *worker, struct in_queue *in)
{
	in->idle_since_ns = 0;
	worker->served = in;
	if (unlikely(in->resting)) {
		in->resting = false;
		worker->resting_count--;
		worker->rest_ns = REST_NS_MIN;
	}
}

static void queue_dead(struct worker *worker, unsigned at)
{
	struct in_queue *in = worker->active[at];

	if (in->kick_fd >= 0)
		epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, in->kick_fd, NULL);
	queue_deactivate(worker, at, IN_DEAD);
}

/* ---- a round ---- */

/* Queues came or went: builds the list of active ones anew. The old list and queues that went are not touched. */
static void queues_adopt(struct worker *worker)
{
	const struct topology_worker *mine = &worker->topology->workers[worker->index];

	worker->version = worker->topology->version;
	worker->active = mine->active;
	worker->active_count = 0;
	worker->armed_count = 0;
	worker->resting_count = 0;
	worker->napping_count = 0;
	worker->served = worker->dry_after = NULL;
	for (uint32_t slot = 0; slot < mine->slot_count; slot++) {
		struct in_queue *in = mine->slots[slot];

		if (!in || in->state == IN_DEAD)
			continue;
		if (in->state == IN_NEW) {
			queue_activate(worker, in);
		} else if (in->state == IN_ACTIVE) {
			worker->active[worker->active_count++] = in;
			worker->resting_count += in->resting;
		} else {
			worker->armed_count++;
		}
	}
}

static void events_handle(struct worker *worker)
{
	const struct topology_worker *mine = &worker->topology->workers[worker->index];

	for (int i = 0; i < worker->event_count; i++) {
		uint32_t slot = worker->events[i].data.u32;
		struct in_queue *in = slot < mine->slot_count ? mine->slots[slot] : NULL;

		if (!in || in->state != IN_ARMED)
			continue;
		worker->armed_count--;
		worker->napping_count = 0; /* where they are listed is needed */
		queue_activate(worker, in);
	}
	worker->event_count = 0;
}

/* A nap is over: what was armed for it is active again, at the place where it still is listed. */
static void nap_end(struct worker *worker)
{
	unsigned count = worker->napping_count;

	worker->napping_count = 0;
	worker->armed_count -= count;
	for (unsigned at = 0; at < count; at++)
		queue_activate(worker, worker->active[at]);
}

static void round_begin(struct worker *worker)
{
	rcu_quiet(&worker->sw->rcu_key);
	/* Pairs with the release in topology_publish(). */
	worker->topology = __atomic_load_n(&worker->sw->topology, __ATOMIC_ACQUIRE);
	if (unlikely(worker->topology->version != worker->version))
		queues_adopt(worker);
	if (!(worker->stats.loops % CLOCK_ROUNDS))
		clock_read(worker);
	if (worker->event_count)
		events_handle(worker);
	else if (worker->napping_count)
		nap_end(worker);
	if (unlikely(__atomic_load_n(&worker->mailbox, __ATOMIC_RELAXED)))
		mailbox_forward(worker);
	counter_add(&worker->stats.loops, 1);
}

/* The same as without being watched, see stall.c. */
static int receive_watched(struct worker *worker, struct in_queue *in)
{
	struct stall_step step;
	int count;

	stall_begin(worker, &step);
	count = in->ops->receive(in->opaque, in->number, worker->frames, BURST_FRAMES);
	if (count > 0)
		stall_touch(worker->frames, (unsigned)count);
	stall_end(worker, &step, in->port);
	return count;
}

static void release_watched(struct worker *worker, struct in_queue *in)
{
	struct stall_step step;

	stall_begin(worker, &step);
	in->ops->release(in->opaque, in->number);
	stall_end(worker, &step, in->port);
}

/* One burst of one queue. Returns the frames, or what receive said. */
static int queue_forward(struct worker *worker, struct in_queue *in)
{
	struct burst *burst = &worker->burst;
	int count = likely(!worker->stall.alert)
			    ? in->ops->receive(in->opaque, in->number, worker->frames, BURST_FRAMES)
			    : receive_watched(worker, in);

	if (count <= 0)
		return count;
	burst->topology = worker->topology;
	burst->from = in->port;
	burst->frames = worker->frames;
	burst->count = (unsigned)count;
	forward_burst(worker, burst);
	if (likely(!worker->stall.alert))
		in->ops->release(in->opaque, in->number);
	else
		release_watched(worker, in);
	return count;
}

/* The queue after this one in the round: what another CPU has written there comes while this one is served. */
static inline void queue_expect_next(const struct worker *worker, unsigned at)
{
	unsigned next = at + 1 < worker->active_count ? at + 1 : 0;
	const struct in_queue *in = worker->active[next];

	if (next != at && in->ops->expect)
		in->ops->expect(in->opaque, in->number);
}

static unsigned round_queues(struct worker *worker)
{
	uint64_t before = cycles_now(), busy_cycles = 0;
	unsigned frames = 0, at = 0;

	while (at < worker->active_count) {
		struct in_queue *in = worker->active[at];
		int count;
		uint64_t now;

		queue_expect_next(worker, at);
		count = queue_forward(worker, in);
		now = cycles_now();
		busy_cycles += count > 0 ? now - before : 0;
		if (unlikely(now - before > worker->stall.limit_cycles))
			stall_suspect(&worker->stall);
		before = now;
		if (likely(count > 0)) {
			queue_busy(worker, in);
			frames += (unsigned)count;
			at++;
		} else if (count < 0) {
			queue_dead(worker, at);
		} else if (queue_idle(worker, at)) {
			at++;
		}
	}
	counter_add(&worker->stats.busy_cycles, busy_cycles);
	return frames;
}

/* ---- sleep ---- */

/* Looks for events without waiting. */
static void events_peek(struct worker *worker)
{
	int count = epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, 0);

	worker->event_count = count > 0 ? count : 0;
	worker->events_checked_ns = worker->now_ns;
}

static int wait_ns(struct worker *worker, uint64_t timeout_ns)
{
	struct timespec timeout = {.tv_nsec = (long)timeout_ns}; /* less than a second */
	int count;

	if (timeout_ns == SLEEP_FOR_EVER)
		return epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, -1);
	count = epoll_pwait2(worker->epoll_fd, worker->events, WORKER_EVENTS, &timeout, NULL);
	if (count < 0 && errno == ENOSYS) /* before Linux 5.11 */
		count = epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, (int)(timeout_ns / NS_PER_MS) + 1);
	return count;
}

static void worker_sleep(struct worker *worker, uint64_t timeout_ns)
{
	int count;

	counter_add(&worker->stats.sleeps, 1);
	patience_slept(&worker->patience, worker->now_ns - worker->woke_ns);
	worker->found = worker->napped ? PATIENCE_DOZING : PATIENCE_ASLEEP;
	rcu_leave(&worker->sw->rcu_key);
	count = wait_ns(worker, timeout_ns);
	rcu_enter();
	worker->event_count = count > 0 ? count : 0;
	clock_read(worker);
	worker->woke_ns = worker->awake_since_ns = worker->now_ns;
	if (count > 0)
		counter_add(&worker->stats.wakeups, 1);
}

static void worker_rest(struct worker *worker)
{
	worker_sleep(worker, worker->rest_ns);
	worker->rest_ns = min_u32(worker->rest_ns * 2, REST_NS_MAX);
}

/* Until somebody wakes it, or a nap is over that has been planned. */
static void worker_sleep_or_nap(struct worker *worker)
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

/* ---- dry: no queue has frames ---- */

static void others_look(struct worker *worker)
{
	struct patience_system system;

	if (!patience_look_due(&worker->patience, worker->now_ns))
		return;
	thread_system_read(worker->schedstat_fd, &system);
	patience_look(&worker->patience, &system, worker->now_ns);
}

/* A queue that has just run dry has looked at the clock. */
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

static void dry_end(struct worker *worker)
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
		if (worker->active[at]->kick_fd >= 0 && queue_arm(worker, at))
			return;
	if (!worker->active_count && worker->plan.nap_ns)
		worker->napping_count = count;
}

static void dry_wait(struct worker *worker)
{
	if (!worker->dry_since_ns)
		dry_begin(worker);
	if (worker->now_ns < worker->awake_until_ns)
		return;
	patience_pay(&worker->patience, worker->now_ns - worker->awake_since_ns, false);
	worker->awake_since_ns = worker->now_ns;
	dry_arm(worker);
}

static void round_end(struct worker *worker, unsigned frames)
{
	if (frames) {
		counter_add(&worker->stats.busy_loops, 1);
		counter_add(&worker->stats.frames, frames);
		if (worker->dry_since_ns)
			dry_end(worker);
	} else if (worker->active_count && !worker->poll) {
		dry_wait(worker);
	}
	if (!worker->active_count)
		worker_sleep_or_nap(worker);
	else if (worker->resting_count == worker->active_count)
		worker_rest(worker);
	else if (worker->armed_count && worker->now_ns - worker->events_checked_ns >= EVENTS_EVERY_NS)
		events_peek(worker);
}

static void *worker_main(void *opaque)
{
	struct worker *worker = opaque;

	worker->schedstat_fd = thread_system_open();
	clock_read(worker);
	worker->woke_ns = worker->now_ns;
	patience_init(&worker->patience, worker->now_ns, worker->sw->spin_us, worker->sw->spin_percent);
	rcu_worker_begin();
	while (!__atomic_load_n(&worker->stop, __ATOMIC_ACQUIRE)) {
		round_begin(worker);
		round_end(worker, round_queues(worker));
	}
	rcu_worker_end(&worker->sw->rcu_key);
	fd_close(&worker->schedstat_fd);
	return NULL;
}

/* ---- control thread ---- */

static int worker_open(struct worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = WAKE_SLOT};
	int err;

	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0)
		return -errno;
	err = fd_event_new(&worker->wake_fd);
	if (err)
		return err;
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
		return -errno;
	err = cuts_new(&worker->cuts);
	return err ? err : offload_arena_new(BURST_FRAMES, ARENA_LINEAR_BYTES, &worker->arena);
}

int worker_new(struct sw *sw, unsigned index, int cpu, struct worker **ret_worker)
{
	struct worker *worker = aligned_alloc(CACHE_LINE_BYTES, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	memset(worker, 0, sizeof(*worker));
	worker->sw = sw;
	worker->fdb = sw->fdb;
	worker->index = index;
	worker->alone = sw->worker_count == 1;
	worker->poll = sw->mode == SW_POLL;
	worker->keep_ns = KEEP_NS;
	if (sw->spin_us != PATIENCE_MEASURED && (uint64_t)sw->spin_us * NS_PER_US > KEEP_NS)
		worker->keep_ns = (uint64_t)sw->spin_us * NS_PER_US;
	worker->rest_ns = REST_NS_MIN;
	worker->stats.cpu = cpu;
	worker->stall.limit_cycles = sw->stall_cycles;
	worker->epoll_fd = worker->wake_fd = worker->schedstat_fd = -1;
	err = worker_open(worker);
	if (err)
		worker_free(worker);
	else
		*ret_worker = worker;
	return err;
}

int worker_start(struct worker *worker)
{
	char name[16];

	snprintf(name, sizeof(name), "sw-worker-%u", worker->index % 10000);
	return thread_start(&worker->thread, name, worker->stats.cpu, worker_main, worker);
}

void worker_stop(struct worker *worker)
{
	__atomic_store_n(&worker->stop, true, __ATOMIC_RELEASE);
	worker_wake(worker);
	pthread_join(worker->thread, NULL);
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	mailbox_drop(worker);
	offload_arena_free(worker->arena);
	cuts_free(worker->cuts);
	fd_close(&worker->wake_fd);
	fd_close(&worker->epoll_fd);
	free(worker->slots);
	free(worker);
}

void worker_wake(struct worker *worker)
{
	fd_event_raise(worker->wake_fd);
}

static int slot_find(struct worker *worker, unsigned *ret_slot)
{
	unsigned slot = 0, count = worker->slot_count ? worker->slot_count * 2 : 8;
	struct in_queue **slots;

	while (slot < worker->slot_count && worker->slots[slot])
		slot++;
	if (slot == worker->slot_count) {
		slots = realloc(worker->slots, count * sizeof(struct in_queue *));
		if (!slots)
			return -ENOMEM;
		memset(slots + slot, 0, (count - slot) * sizeof(struct in_queue *));
		worker->slots = slots;
		worker->slot_count = count;
	}
	*ret_slot = slot;
	return 0;
}

/*
 * Watches the queue's kicks. Two queues may share one fd, which an epoll takes but once: the second watches a
 * duplicate. What cannot be watched is polled.
 */
static int kicks_watch(struct worker *worker, struct in_queue *in)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = in->slot};
	int err;

	if (in->kick_fd < 0 || !epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, in->kick_fd, &event))
		return 0;
	if (errno == EPERM) {
		in->kick_fd = -1;
		return 0;
	}
	if (errno != EEXIST)
		return -errno;
	in->own_fd = fcntl(in->kick_fd, F_DUPFD_CLOEXEC, 0);
	if (in->own_fd < 0)
		return -errno;
	in->kick_fd = in->own_fd;
	if (!epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, in->kick_fd, &event))
		return 0;
	err = -errno;
	fd_close(&in->own_fd);
	return err;
}

int worker_adopt(struct worker *worker, struct in_queue *in)
{
	int err = slot_find(worker, &in->slot);

	if (err)
		return err;
	in->worker = worker;
	in->own_fd = -1;
	err = kicks_watch(worker, in);
	if (err)
		return err;
	worker->slots[in->slot] = in;
	worker->in_count++;
	return 0;
}

void worker_disown(struct in_queue *in)
{
	struct worker *worker = in->worker;

	/* The peer may hold the fd's file open: closing alone would not end the watch. A dead queue has ended it. */
	if (in->kick_fd >= 0)
		epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, in->kick_fd, NULL);
	fd_close(&in->own_fd);
	worker->slots[in->slot] = NULL;
	worker->in_count--;
}
