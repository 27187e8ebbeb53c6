/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_WORKER_H
#define SWITCH_WORKER_H

/* A worker, see worker.c, and what is sent to it from other threads, see mailbox.c. */

#include "switch/forward.h"
#include "switch/offload.h"
#include "switch/stall.h"
#include "switch/topology.h"
#include "work/patience.h"
#include <pthread.h>
#include <sys/epoll.h>

struct cuts;

struct letter {
	struct letter *next;
	uint64_t serial; /* of the port it is from */
	uint16_t port;
	uint32_t bytes;
	uint8_t data[];
};

void mailbox_put(struct worker *worker, struct letter *letter); /* any thread */
void mailbox_forward(struct worker *worker); /* the worker: forwards what is there */
void mailbox_drop(struct worker *worker);    /* nobody uses the worker any more */

#define WORKER_EVENTS 32

struct worker {
	/* Constant. */
	struct sw *sw;
	struct fdb *fdb;
	unsigned index;
	bool alone; /* the only one: out queues need no claim */
	bool poll;  /* SW_POLL */
	uint64_t keep_ns; /* how long a queue without frames stays active while others have some */
	int epoll_fd, wake_fd;
	pthread_t thread;

	/* The worker's. */
	const struct topology *topology __attribute__((aligned(CACHE_LINE_BYTES))); /* of this round */
	uint64_t version;
	uint64_t now_ns;
	uint32_t now_s;
	struct in_queue **active;
	unsigned active_count;
	unsigned armed_count;
	unsigned resting_count; /* of the active ones */
	unsigned rest_ns;       /* how long to sleep when all are resting */
	unsigned napping_count; /* queues that were armed for a nap, and are still listed in `active` */
	struct in_queue *served; /* had frames last; NULL: unknown */
	uint64_t events_checked_ns;
	int event_count;
	struct epoll_event events[WORKER_EVENTS];
	struct sw_worker_stats stats; /* read by anybody */
	struct patience patience;
	int schedstat_fd;
	uint64_t woke_ns;       /* when it slept last */
	/* Of the time in which it is dry. */
	uint64_t dry_since_ns;  /* 0: it is not */
	struct in_queue *dry_after; /* had the frames before; NULL: unknown */
	struct patience_plan plan;
	uint64_t awake_since_ns, awake_until_ns;
	bool napped;
	enum patience_found found; /* if frames came now */
	struct offload_arena *arena;
	struct cuts *cuts;
	struct stall stall;
	unsigned pieces_left; /* that may still be cut out of this burst */
	struct burst burst;
	struct vireo_frame frames[BURST_FRAMES];

	/* Written by others. */
	struct letter *mailbox __attribute__((aligned(CACHE_LINE_BYTES)));
	bool stop;

	/* Control thread. */
	struct in_queue **slots; /* grows; NULL: free */
	unsigned slot_count;
	unsigned in_count;
};

int worker_new(struct sw *sw, unsigned index, int cpu, struct worker **ret_worker); /* does not start it */
int worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* and wait for its end */
void worker_free(struct worker *worker); /* stopped or never started; takes NULL */
void worker_wake(struct worker *worker); /* any thread: look at topology and mailbox */

/* Control thread. Gives the queue a slot and watches its kicks; the topology is not yet published. */
int worker_adopt(struct worker *worker, struct in_queue *in);
/* The queue is in no topology any more. */
void worker_disown(struct in_queue *in);

#endif
