/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A worker that touches a page of a peer's memory may stand still for as long as the kernel likes: a fault in a part of a file that is being
 * punched out waits until all of it is, and nothing ends that wait. Its other ports are not to wait with it. So there is one thread more than
 * workers, which looks at them every TICK_MS, and asks the system of one that has been in the same burst for that long: does it stand, in
 * the kernel, where nothing but what it waits for wakes it? If it does, the thread stands in for it: it serves the worker's other queues
 * until the worker comes back, in turn, with a pause where there is nothing.
 *
 * Nothing of the worker's is handed over for that. It stands in one call of serve(), and holds what it had at the beginning of its round:
 *
 *	the topology		the worker's, which is not freed while it stands: to RCU it is in its round
 *	its queues		(those of its list) are ours but for the one that it is in; it touches no other before it has
 *				had the lock
 *	what a burst needs	our own, as if there were one more worker: frames, cuts, counters
 *	its lists		of what is to be looked at again (retry.c, signals.c, pace.c) are its own. What we would put there: frames that
 *				find no buffers go into a list of ours, which it gets in the end; signals are not held back; nobody is
 *				paced. Signals that it has held back go at the beginning
 *
 * Who comes when:
 *
 *	we				the worker
 *	take relief_lock
 *	relieved, not alone		serve() returns
 *	barrier in all threads		serving_since = 0, signal fence
 *	still the same burst?		was it long, and relieved? say `back`, take relief_lock
 *	serve, until `back`
 *	not relieved, let the lock go	go on
 *
 * Without the worker's cost in a burst that is not long, such as we never stand in for, or it would go on beside us: a burst is told by when it
 * began, by the clock by which the worker says how long it took, and by that clock it has lasted LONG_TURNS times what is long. So it
 * has by the system's clock as well, which has no mind of its own on each CPU: TICK_MS lie between the two looks that have found it. What the
 * worker does between two bursts, such as to arm a queue, it does in none.
 *
 * It comes back in the middle of serve(), while we are at work: out queues are claimed for that (claim.h). One that it stands in, with a
 * claim, is nobody's: frames for it are lost (tx_lost), and so are those that other workers have for it. So are frames for the ports
 * that it stands in, whichever of the two it waits for, since we would stand there, too.
 *
 * There is one thread for all workers, and it stands in for one at a time. Another worker that stands meanwhile is looked at when the first has
 * come back; until then its ports wait as they did without all this.
 *
 * One that stands in may be made to stand as well, by a second peer. Then all wait, as they did without it, and both of them are accused.
 * A worker that is in no delivery waits for its sender: that is accused here, at once. In a delivery it may be either: stall.c finds out.
 *
 * The thread sleeps while all workers do, and have for a while. Who wakes up wakes it.
 */

#include "switch/relief.h"
#include "base/barrier.h"
#include "base/clock.h"
#include "base/fd.h"
#include "switch/claim.h"
#include "switch/core.h"
#include "switch/topology.h"
#include "work/thread.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS	       4
#define TICK_NS	       (TICK_MS * UINT64_C(1000000))
#define LONG_TURNS     32u /* half of TICK_MS, if the two clocks agree about what is long: see forwarder.c */
#define QUIET_TICKS    250u /* then it sleeps */
#define PAUSE_NS       50000
#define DEAD_MAX       8u
#define CLAIM_SPINS_MAX 256u /* then the holder may well be off its CPU */

/* What a worker was at, at the last look, and since which look it is at that. */
struct seen {
	uint64_t loops;
	uint64_t since; /* worker.serving_since */
	uint64_t at_ns;
};

struct relief {
	struct sw *sw;
	struct forwarder *forwarder;
	struct worker_watch watch;
	pthread_t thread;
	bool started, stop;
	/* The thread's. */
	struct seen *seen;
	const struct sw_port *avoided[2]; /* of the worker that stands: its sender, and its receiver or NULL */
	const struct in_queue *dead[DEAD_MAX];
	unsigned dead_count;
};

/* ---- out queues ---- */

static inline void claim_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Which cannot claim it as others do before it comes back. */
static bool uses(const struct forwarder *standing, const struct out_queue *queue)
{
	/* Both pair with the release in unclaim() and claim(). */
	return !__atomic_load_n(&standing->hard, __ATOMIC_ACQUIRE) && __atomic_load_n(&standing->at, __ATOMIC_ACQUIRE) == queue;
}

/* Is it the worker that stands? */
static bool standing_has(const struct forwarder *asks, const struct out_queue *queue)
{
	const struct forwarder *standing = __atomic_load_n(&asks->sw->standing, __ATOMIC_ACQUIRE);

	return standing && standing != asks && __atomic_load_n(&queue->claimed, __ATOMIC_RELAXED) == claim_number(standing);
}

static bool claim_failed(struct forwarder *forwarder)
{
	__atomic_store_n(&forwarder->at, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&forwarder->hard, false, __ATOMIC_RELEASE);
	return false;
}

/* It is claimed, and may all the same be used by a worker that is the only one, or was on its way to claim it. */
static bool claim_kept(struct forwarder *forwarder, struct out_queue *queue)
{
	const struct relief *relief = forwarder->sw->relief;
	const struct forwarder *standing = forwarder->sw->standing;
	unsigned spins = 0;

	while (uses(standing, queue) && ++spins < CLAIM_SPINS_MAX)
		claim_relax();
	if (spins < CLAIM_SPINS_MAX && queue->queue.port != relief->avoided[0] && queue->queue.port != relief->avoided[1])
		return true;
	__atomic_store_n(&queue->claimed, 0, __ATOMIC_RELEASE);
	return claim_failed(forwarder);
}

bool claim_wait(struct forwarder *forwarder, struct out_queue *queue, bool claimed)
{
	unsigned spins = 0;

	for (; !claimed; claimed = claim_try(forwarder, queue)) {
		while (__atomic_load_n(&queue->claimed, __ATOMIC_RELAXED)) {
			if (++spins % CLAIM_SPINS_MAX) {
				claim_relax();
				continue;
			}
			if (standing_has(forwarder, queue))
				return claim_failed(forwarder);
			sched_yield();
		}
	}
	return !forwarder->stands_in || claim_kept(forwarder, queue);
}

/* ---- the worker ---- */

void relief_wait(struct forwarder *forwarder)
{
	__atomic_store_n(&forwarder->back, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&forwarder->relief_lock);
	__atomic_store_n(&forwarder->back, false, __ATOMIC_RELAXED);
	__atomic_store_n(&forwarder->accused, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&forwarder->relief_lock);
}

/* ---- who stands in ---- */

static bool stopped(const struct relief *relief)
{
	return __atomic_load_n(&relief->stop, __ATOMIC_ACQUIRE);
}

static bool goes_on(const struct relief *relief, const struct forwarder *standing)
{
	return !__atomic_load_n(&standing->back, __ATOMIC_RELAXED) && !stopped(relief);
}

static bool avoided(const struct relief *relief, const struct sw_port *port)
{
	return port == relief->avoided[0] || port == relief->avoided[1];
}

static bool is_dead(const struct relief *relief, const struct in_queue *in)
{
	unsigned i = 0;

	while (i < relief->dead_count && relief->dead[i] != in)
		i++;
	return i < relief->dead_count;
}

/* The worker's, in this place, that may be served in its stead; or NULL. */
static struct in_queue *queue_at(const struct relief *relief, const struct work_list *list, unsigned slot)
{
	struct source *source = list->slots[slot];
	struct in_queue *in;

	if (!source || source->state == SOURCE_NEW || source->state == SOURCE_DEAD)
		return NULL;
	in = container_of(source, struct in_queue, source);
	return avoided(relief, in->port) || is_dead(relief, in) ? NULL : in;
}

/* A queue that fails is the worker's to be rid of: it is left alone here. True: it had frames. */
static bool serve_one(struct relief *relief, struct in_queue *in)
{
	int count = relief->dead_count < DEAD_MAX ? forwarder_serve(relief->forwarder, in) : 0;

	if (count < 0)
		relief->dead[relief->dead_count++] = in;
	return count > 0;
}

static bool serve_all(struct relief *relief, const struct forwarder *standing)
{
	const struct work_list *list = &standing->worker.table->lists[standing->worker.index];
	bool found = false;

	for (unsigned slot = 0; slot < list->slot_count && goes_on(relief, standing); slot++) {
		struct in_queue *in = queue_at(relief, list, slot);

		found |= in && serve_one(relief, in);
	}
	return found;
}

static void due_look(struct forwarder *forwarder)
{
	struct worker *worker = &forwarder->worker;

	if (!worker->due_ns || worker->now_ns < worker->due_ns)
		return;
	worker->due_ns = 0;
	retry_due(forwarder);
}

/* What the worker holds back for later. */
static void signals_release(const struct relief *relief, const struct forwarder *standing)
{
	const struct work_list *list = &standing->worker.table->lists[standing->worker.index];
	const struct topology *topology = topology_of(standing->worker.table);

	for (unsigned slot = 0; slot < list->slot_count; slot++) {
		struct in_queue *in = queue_at(relief, list, slot);

		if (in && signals_held(in->port))
			signals_in(relief->forwarder, in);
	}
	for (uint32_t i = 0; i < topology->port_count; i++) {
		const struct topology_port *to = &topology->ports[i];

		if (signals_held(to->port))
			signals_out_all(relief->forwarder, to);
	}
}

/* In no delivery it waits for its sender's memory. */
static void stand_in(struct relief *relief, struct forwarder *standing)
{
	const struct in_queue *in = container_of(__atomic_load_n(&standing->worker.serving, __ATOMIC_RELAXED), struct in_queue, source);
	const struct out_queue *at = __atomic_load_n(&standing->at, __ATOMIC_ACQUIRE);
	struct worker *worker = &relief->forwarder->worker;

	relief->avoided[0] = in->port;
	relief->avoided[1] = at ? at->queue.port : NULL;
	relief->dead_count = 0;
	counter_add(&standing->reliefs, 1);
	worker->table = standing->worker.table;
	worker_clock_read(worker);
	__atomic_store_n(&relief->sw->standing, standing, __ATOMIC_RELEASE);
	if (!at && in->port->ops->peer_memory) {
		__atomic_store_n(&standing->accused, true, __ATOMIC_RELAXED);
		stall_accuse(in->port, worker->now_s);
	}
	signals_release(relief, standing);
	while (goes_on(relief, standing)) {
		if (!serve_all(relief, standing))
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
		worker_clock_read(worker);
		due_look(relief->forwarder);
	}
	if (__atomic_load_n(&standing->back, __ATOMIC_RELAXED))
		retry_pass(relief->forwarder, standing);
	__atomic_store_n(&relief->sw->standing, NULL, __ATOMIC_RELEASE);
}

/* Since when it has been in the burst in which it is; 0: it is in none. Pairs with the release in worker.c: what it had when it began is seen. */
static uint64_t burst_of(const struct forwarder *forwarder)
{
	return __atomic_load_n(&forwarder->worker.serving_since, __ATOMIC_ACQUIRE);
}

/* False: it is at what it was at. */
static bool look(struct seen *seen, const struct forwarder *forwarder)
{
	struct seen now = {.loops = counter_read(&forwarder->worker.stats.loops), .since = burst_of(forwarder)};

	if (now.loops == seen->loops && now.since == seen->since)
		return false;
	now.at_ns = clock_now_ns(); /* not before */
	*seen = now;
	return true;
}

/* By both clocks. */
static bool is_long(const struct seen *seen, const struct forwarder *forwarder)
{
	uint64_t took = cycles_now() - seen->since;

	return clock_now_ns() - seen->at_ns >= TICK_NS && took <= INT64_MAX && took / LONG_TURNS > forwarder->worker.long_cycles;
}

static void relieve(struct relief *relief, struct forwarder *standing, uint64_t since)
{
	bool alone = standing->alone;

	pthread_mutex_lock(&standing->relief_lock);
	__atomic_store_n(&standing->relieved, true, __ATOMIC_RELAXED);
	__atomic_store_n(&standing->alone, false, __ATOMIC_RELAXED);
	/* Pairs with the signal fences in relief_end() and claim(). Where it is refused nobody stands in. */
	if (barrier_everywhere() && burst_of(standing) == since)
		stand_in(relief, standing);
	__atomic_store_n(&standing->alone, alone, __ATOMIC_RELAXED);
	__atomic_store_n(&standing->relieved, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&standing->relief_lock);
}

/* True: some worker has moved, or is in a burst. */
static bool look_at_all(struct relief *relief)
{
	bool moved = false;

	for (unsigned i = 0; i < relief->sw->worker_count; i++) {
		struct forwarder *forwarder = relief->sw->forwarders[i];
		struct seen *seen = &relief->seen[i];
		bool changed = look(seen, forwarder);

		moved |= changed || seen->since;
		if (!changed && seen->since && is_long(seen, forwarder) && thread_stands(__atomic_load_n(&forwarder->worker.state_fd, __ATOMIC_RELAXED)))
			relieve(relief, forwarder, seen->since);
	}
	return moved;
}

static void rest(struct relief *relief, int timeout_ms)
{
	struct pollfd fd = {.fd = relief->watch.fd, .events = POLLIN};

	if (poll(&fd, 1, timeout_ms) > 0)
		fd_event_clear(relief->watch.fd);
}

static void rest_long(struct relief *relief)
{
	__atomic_store_n(&relief->watch.asleep, true, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in watch_wake() */
	if (!look_at_all(relief) && !stopped(relief))
		rest(relief, -1);
	__atomic_store_n(&relief->watch.asleep, false, __ATOMIC_RELAXED);
}

static void *relief_main(void *opaque)
{
	struct relief *relief = opaque;
	unsigned quiet_ticks = 0;

	while (!stopped(relief)) {
		quiet_ticks = look_at_all(relief) ? 0 : quiet_ticks + 1;
		if (quiet_ticks < QUIET_TICKS)
			rest(relief, TICK_MS);
		else
			rest_long(relief);
	}
	return NULL;
}

/* ---- control thread ---- */

int relief_new(struct sw *sw, struct relief **ret_relief)
{
	struct relief *relief = calloc(1, sizeof(*relief));
	int err;

	if (!relief)
		return -ENOMEM;
	relief->sw = sw;
	relief->watch.fd = -1;
	relief->seen = calloc(sw->worker_count, sizeof(*relief->seen));
	err = relief->seen ? fd_event_new(&relief->watch.fd) : -ENOMEM;
	if (!err)
		err = forwarder_new(sw, sw->worker_count, -1, &relief->forwarder);
	if (err)
		relief_free(relief);
	else
		*ret_relief = relief;
	return err;
}

int relief_start(struct relief *relief)
{
	int err = thread_start(&relief->thread, "sw-relief", -1, relief_main, relief);

	relief->started = !err;
	return err;
}

void relief_stop(struct relief *relief)
{
	if (!relief || !relief->started)
		return;
	__atomic_store_n(&relief->stop, true, __ATOMIC_RELEASE);
	fd_event_raise(relief->watch.fd);
	pthread_join(relief->thread, NULL);
	relief->started = false;
}

void relief_free(struct relief *relief)
{
	if (!relief)
		return;
	forwarder_free(relief->forwarder);
	fd_close(&relief->watch.fd);
	free(relief->seen);
	free(relief);
}

struct worker_watch *relief_watch(struct relief *relief)
{
	return relief ? &relief->watch : NULL;
}
