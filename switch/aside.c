/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * Who looks at a peer's memory may have to wait for it: the peer punches a hole into its file, or the page is on a disk. A
 * worker that waits holds up all its ports, and those of other workers that want the same out queue. A port that is
 * known for this is served aside: a thread of its own calls the port's ops, and copies frames into stores and out of
 * stores (store.h). Workers see another set of ops, below, which touch the stores alone. They know nothing of it: to
 * them it is a port with a slow receiver, that loses what does not fit.
 *
 * Queues of the real port are the thread's from attach (or from begin, if that comes later) until it has said that it has let them
 * go. The table of those is under the lock; the thread copies it when it has changed, and says how far it has come
 * by raising the switch's event. The control thread waits for nothing: what has to wait for the thread is a list.
 *
 * An out queue that is paused (port_pause.c) is not the thread's until it goes on, and what lies in its store stays there, first in order. The port may
 * have left the first of it: the thread does not ask again before that.
 *
 * The thread sleeps like a worker: it enables kicks, says that it sleeps, full barrier, looks once more.
 * Who puts a frame for it, makes room for it, or changes its table, does so, full barrier, and looks whether it sleeps.
 */

#include "switch/aside.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/system.h"
#include "switch/core.h"
#include "switch/signals.h"
#include "work/thread.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define POLL_NS      UINT64_C(1000000) /* queues that cannot be watched */
#define STORE_BUFFER_BYTES 2048u /* of a store there are as many as of a ring: for the switch to count in */

static void wake(struct aside *aside)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&aside->sleeping, __ATOMIC_RELAXED))
		fd_event_raise(aside->wake_fd);
}

/* ---- what workers see ---- */

static int seen_receive(void *opaque, unsigned number, struct vireo_frame *frames, unsigned max)
{
	struct aside *aside = opaque;
	struct aside_queue *q = aside->queues[false][number];

	return (int)store_see(&q->store, frames, q->worker_iov, min_u32(max, BURST_FRAMES));
}

static void seen_release(void *opaque, unsigned number)
{
	struct aside *aside = opaque;

	store_drop(&aside->queues[false][number]->store);
	wake(aside);
}

static int seen_deliver(void *opaque, unsigned number, struct vireo_frame *const *frames, unsigned count)
{
	struct aside *aside = opaque;
	struct aside_queue *q = aside->queues[true][number];
	int gone = 0;

	for (unsigned i = 0; i < count; i++)
		gone += store_put(&q->store, frames[i]);
	if ((unsigned)gone < count)
		counter_add(&aside->no_room[number], count - (unsigned)gone);
	return gone;
}

static void seen_flush(void *opaque, unsigned number)
{
	struct aside *aside = opaque;

	store_show(&aside->queues[true][number]->store);
	wake(aside);
}

static unsigned seen_room(void *opaque, unsigned number)
{
	const struct aside *aside = opaque;

	return store_room(&aside->queues[true][number]->store) * (STORE_RECORD_MAX / STORE_BUFFER_BYTES);
}

static int seen_kick_fd(void *opaque, unsigned number)
{
	struct aside *aside = opaque;

	return aside->queues[false][number]->kick_fd;
}

static bool seen_kick_enable(void *opaque, unsigned number, bool on)
{
	struct aside *aside = opaque;
	struct aside_queue *q = aside->queues[false][number];

	__atomic_store_n(&q->armed, on, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in pull() */
	return on && !store_empty(&q->store);
}

const struct sw_port_ops aside_ops = {
	.receive = seen_receive,
	.release = seen_release,
	.deliver = seen_deliver,
	.flush = seen_flush,
	.kick_fd = seen_kick_fd,
	.kick_enable = seen_kick_enable,
	.room = seen_room,
};

/* ---- the thread ---- */

/* From the port. Returns the frames; 0: none, or no room for them. */
static unsigned pull(struct aside *aside, struct aside_queue *q)
{
	unsigned max = min_u32(store_room(&q->store), BURST_FRAMES);
	int count = max && !q->dead ? aside->ops->receive(aside->opaque, q->number, aside->frames, max) : 0;

	if (count < 0)
		q->dead = true;
	if (count <= 0)
		return 0;
	for (int i = 0; i < count; i++)
		store_put(&q->store, &aside->frames[i]);
	aside->ops->release(aside->opaque, q->number);
	store_show(&q->store);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in seen_kick_enable() */
	if (__atomic_load_n(&q->armed, __ATOMIC_RELAXED))
		fd_event_raise(q->kick_fd);
	return (unsigned)count;
}

/* To the port. */
static unsigned push(struct aside *aside, struct aside_queue *q)
{
	unsigned count = q->waits ? 0 : store_see(&q->store, aside->frames, aside->iov, BURST_FRAMES), gone, left = 0;
	struct vireo_frame *list[BURST_FRAMES];
	int r;

	if (!count)
		return 0;
	for (unsigned i = 0; i < count; i++)
		list[i] = &aside->frames[i];
	r = aside->ops->deliver(aside->opaque, q->number, list, count);
	gone = r > 0 ? (unsigned)r : 0;
	if (gone < count && aside->ops->left)
		left = aside->ops->left(aside->opaque, q->number);
	if (left && aside->ops->starves && aside->ops->starves(aside->opaque, q->number))
		left = 0; /* nobody would say when there are buffers: lost at once */
	aside->ops->flush(aside->opaque, q->number);
	store_drop_first(&q->store, count - left);
	q->waits = left;
	if (gone + left < count)
		counter_add(&port_counters_aside(aside->port)->tx_lost, count - left - gone);
	return count - left;
}

/* When the first signal is due that the port holds back; 0: it holds none. */
static uint64_t signals_look(const struct aside *aside, bool now)
{
	uint64_t first_ns = 0;

	for (unsigned i = 0; i < aside->held_count && aside->ops->signal_look; i++) {
		uint64_t at_ns = aside->ops->signal_look(aside->opaque, aside->held[i]->out, aside->held[i]->number, now);

		if (at_ns && (!first_ns || at_ns < first_ns))
			first_ns = at_ns;
	}
	return first_ns;
}

static unsigned round_all(struct aside *aside)
{
	unsigned frames = 0;

	for (unsigned i = 0; i < aside->held_count; i++)
		frames += aside->held[i]->out ? push(aside, aside->held[i]) : pull(aside, aside->held[i]);
	if (unlikely(signals_held(aside->port)))
		signals_look(aside, false);
	return frames;
}

/* True: frames are there that can be taken. */
static bool kicks_enable(struct aside *aside, bool on)
{
	bool there = false;

	for (unsigned i = 0; i < aside->held_count; i++) {
		struct aside_queue *q = aside->held[i];

		if (q->out || q->dead || (on && !store_room(&q->store)))
			continue; /* without room its kicks stay off: release wakes us */
		there |= aside->ops->kick_enable(aside->opaque, q->number, on);
	}
	return there;
}

/* After saying that we sleep. */
static bool anything_new(const struct aside *aside)
{
	if (__atomic_load_n(&aside->wanted_version, __ATOMIC_ACQUIRE) != aside->held_version)
		return true;
	for (unsigned i = 0; i < aside->held_count; i++) {
		const struct aside_queue *q = aside->held[i];

		if (q->out ? !q->waits && !store_empty(&q->store) : q->starved && store_room(&q->store))
			return true;
	}
	return false;
}

static uint64_t sleep_ns(struct aside *aside)
{
	uint64_t ns = UINT64_MAX, due_ns = signals_held(aside->port) ? signals_look(aside, false) : 0;

	for (unsigned i = 0; i < aside->held_count; i++) {
		struct aside_queue *q = aside->held[i];

		q->starved = !q->out && !store_room(&q->store);
		if (!q->out && !q->dead && q->real_kick_fd < 0)
			ns = POLL_NS;
	}
	if (due_ns) {
		uint64_t now_ns = clock_now_ns();

		ns = min_u64(ns, due_ns > now_ns ? due_ns - now_ns : 0);
	}
	return ns;
}

static void wait_events(struct aside *aside, uint64_t ns)
{
	struct epoll_event events[16];

	if (ns == UINT64_MAX)
		epoll_wait(aside->epoll_fd, events, ARRAY_SIZE(events), -1);
	else
		system_epoll_wait_ns(aside->epoll_fd, events, ARRAY_SIZE(events), ns);
}

static void aside_sleep(struct aside *aside)
{
	uint64_t ns = sleep_ns(aside);

	if (!kicks_enable(aside, true)) {
		__atomic_store_n(&aside->sleeping, true, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in wake() */
		if (!anything_new(aside))
			wait_events(aside, ns);
		__atomic_store_n(&aside->sleeping, false, __ATOMIC_RELAXED);
	}
	kicks_enable(aside, false);
}

/* Whose are the queues now? What is not in the table any more is not touched from here on: nothing that is held back is left to nobody. */
static bool table_adopt(struct aside *aside)
{
	bool stop;

	signals_look(aside, true);
	pthread_mutex_lock(&aside->lock);
	aside->held_count = 0;
	for (unsigned i = 0; i < 2 * SW_QUEUES_MAX && aside->begun; i++) {
		if (!aside->wanted[i % 2][i / 2])
			continue;
		aside->queues[i % 2][i / 2]->waits = false; /* one that was paused goes on; another one says so again */
		aside->held[aside->held_count++] = aside->queues[i % 2][i / 2];
	}
	aside->held_version = aside->wanted_version;
	stop = aside->stop;
	if (stop)
		aside->held_count = 0;
	pthread_mutex_unlock(&aside->lock);
	__atomic_store_n(&aside->said_version, aside->held_version, __ATOMIC_RELEASE);
	fd_event_raise(aside->port->sw->event_fd);
	return !stop;
}

static void *aside_main(void *opaque)
{
	struct aside *aside = opaque;
	bool go = true;

	while (go) {
		if (__atomic_load_n(&aside->wanted_version, __ATOMIC_ACQUIRE) != aside->held_version)
			go = table_adopt(aside);
		else if (!round_all(aside))
			aside_sleep(aside);
	}
	return NULL;
}

/* ---- control thread ---- */

static uint64_t table_change(struct aside *aside, bool *flag, bool value)
{
	uint64_t version;

	pthread_mutex_lock(&aside->lock);
	*flag = value;
	version = aside->wanted_version + 1;
	__atomic_store_n(&aside->wanted_version, version, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&aside->lock);
	wake(aside);
	return version;
}

static int aside_open(struct aside *aside)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int err = fd_event_new(&aside->wake_fd);

	if (err)
		return err;
	aside->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (aside->epoll_fd < 0 || epoll_ctl(aside->epoll_fd, EPOLL_CTL_ADD, aside->wake_fd, &event) < 0)
		return -errno;
	return thread_start(&aside->thread, "sw-aside", -1, aside_main, aside);
}

static void aside_release(struct aside *aside)
{
	for (unsigned i = 0; i < 2 * SW_QUEUES_MAX; i++)
		aside_queue_free(aside, i % 2, i / 2);
	fd_close(&aside->wake_fd);
	fd_close(&aside->epoll_fd);
	pthread_mutex_destroy(&aside->lock);
	free(aside);
}

int aside_new(struct sw_port *port, struct aside **ret_aside)
{
	struct aside *aside = aligned_alloc(CACHE_LINE_BYTES, sizeof(*aside));
	int err;

	if (!aside)
		return -ENOMEM;
	memset(aside, 0, sizeof(*aside));
	aside->port = port;
	aside->ops = port->ops;
	aside->opaque = port->opaque;
	aside->wake_fd = aside->epoll_fd = -1;
	STAILQ_INIT(&aside->leaving);
	pthread_mutex_init(&aside->lock, NULL);
	err = aside_open(aside);
	if (err)
		aside_release(aside);
	else
		*ret_aside = aside;
	return err;
}

/* The second of two that share an fd, and what cannot be watched for whatever reason, is polled. */
static void kicks_watch(struct aside *aside, struct aside_queue *q)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	q->real_kick_fd = aside->ops->kick_fd ? aside->ops->kick_fd(aside->opaque, q->number) : -1;
	if (q->real_kick_fd >= 0 && epoll_ctl(aside->epoll_fd, EPOLL_CTL_ADD, q->real_kick_fd, &event) < 0)
		q->real_kick_fd = -1;
}

int aside_attach(struct aside *aside, bool out, unsigned number)
{
	struct aside_queue *q = aligned_alloc(CACHE_LINE_BYTES, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	memset(q, 0, sizeof(*q));
	q->number = number;
	q->out = out;
	q->kick_fd = q->real_kick_fd = -1;
	err = store_init(&q->store);
	if (!err && !out)
		err = fd_event_new(&q->kick_fd);
	aside->queues[out][number] = q;
	if (err) {
		aside_queue_free(aside, out, number);
		return err;
	}
	if (!out)
		kicks_watch(aside, q);
	return 0;
}

void aside_want(struct aside *aside, bool out, unsigned number)
{
	table_change(aside, &aside->wanted[out][number], true);
}

void aside_begin(struct aside *aside)
{
	table_change(aside, &aside->begun, true);
}

void aside_detach(struct aside *aside, struct queue *queue)
{
	queue->let_go = table_change(aside, &aside->wanted[queue->out][queue->number], false);
	STAILQ_INSERT_TAIL(&aside->leaving, queue, unpublished);
}

uint64_t aside_pause(struct aside *aside, unsigned number)
{
	return table_change(aside, &aside->wanted[true][number], false);
}

void aside_look(struct aside *aside)
{
	fd_event_raise(aside->wake_fd);
}

bool aside_said(const struct aside *aside, uint64_t version)
{
	/* Pairs with the release in table_adopt(): the thread does not touch any more what was not wanted then. */
	return __atomic_load_n(&aside->said_version, __ATOMIC_ACQUIRE) >= version;
}

struct queue *aside_let_go(struct aside *aside)
{
	struct queue *first = STAILQ_FIRST(&aside->leaving);

	if (!first || !aside_said(aside, first->let_go))
		return NULL;
	STAILQ_REMOVE_HEAD(&aside->leaving, unpublished);
	return first;
}

/* What lies in the store of a queue that goes is lost. Nobody puts there any more, and nobody takes. */
static void count_lost(const struct aside *aside, const struct aside_queue *q)
{
	struct port_counters *counters = port_counters_control(aside->port);
	unsigned lost = q->store.bytes ? store_count(&q->store) : 0;

	if (lost)
		counter_add(q->out ? &counters->tx_lost : &counters->rx_lost, lost);
}

void aside_queue_free(struct aside *aside, bool out, unsigned number)
{
	struct aside_queue *q = aside->queues[out][number];

	if (!q)
		return;
	if (q->real_kick_fd >= 0)
		epoll_ctl(aside->epoll_fd, EPOLL_CTL_DEL, q->real_kick_fd, NULL);
	aside->queues[out][number] = NULL;
	count_lost(aside, q);
	store_fini(&q->store);
	fd_close(&q->kick_fd);
	free(q);
}

void aside_stop(struct aside *aside)
{
	aside->stop_version = table_change(aside, &aside->stop, true);
}

bool aside_stopped(const struct aside *aside)
{
	return aside->stop_version && aside_said(aside, aside->stop_version);
}

void aside_join(struct aside *aside)
{
	if (!aside->joined)
		pthread_join(aside->thread, NULL);
	aside->joined = true;
}

void aside_free(struct aside *aside)
{
	aside_join(aside);
	aside_release(aside);
}
