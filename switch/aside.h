/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_ASIDE_H
#define SWITCH_ASIDE_H

/* A port that is served aside, by a thread of its own: see aside.c. */

#include "switch/forward.h"
#include "switch/port.h"
#include "switch/store.h"

struct aside_queue {
	/* Constant. */
	unsigned number;
	bool out;
	int kick_fd;      /* in queue: raised for the worker */
	int real_kick_fd; /* in queue: the port's; -1: must be polled */
	struct store store; /* in: the thread puts, a worker takes; out: the other way round */
	/* The worker's, or written by it. */
	struct iovec worker_iov[BURST_FRAMES];
	bool armed; /* it wants to be kicked */
	/* The thread's. */
	bool dead;    /* receive failed */
	bool starved; /* had no room when it was asked last */
	bool waits;   /* the port has left frames: until the queue goes on */
};

struct aside {
	/* Constant. */
	struct sw_port *port;
	const struct sw_port_ops *ops; /* the real ones */
	void *opaque;
	int epoll_fd, wake_fd;
	pthread_t thread;
	/* Written by the control thread while neither a worker nor the thread uses the queue. */
	struct aside_queue *queues[2][SW_QUEUES_MAX]; /* in, out */

	pthread_mutex_t lock; /* the four below */
	bool wanted[2][SW_QUEUES_MAX];
	bool begun, stop;
	uint64_t wanted_version; /* of them; also read without */

	/* The thread's. */
	uint64_t held_version __attribute__((aligned(CACHE_LINE_BYTES)));
	struct aside_queue *held[2 * SW_QUEUES_MAX];
	unsigned held_count;
	struct vireo_frame frames[BURST_FRAMES];
	struct iovec iov[BURST_FRAMES];
	uint64_t said_version; /* read by the control thread: what was not wanted then is not held any more */
	bool sleeping;         /* read by anybody */

	/* Written by who has claimed the out queue, read by anybody. */
	uint64_t no_room[SW_QUEUES_MAX];

	/* Control thread. */
	STAILQ_HEAD(, queue) leaving;
	uint64_t stop_version;
	bool joined;
	struct topology_step begin, end;
};

/* What workers call in place of the port's own. */
extern const struct sw_port_ops aside_ops;

/* Control thread. The thread runs, and touches nothing before aside_begin(). */
int aside_new(struct sw_port *port, struct aside **ret_aside);
/* Makes what a queue needs there; the thread does not know of it before aside_want(). */
int aside_attach(struct aside *aside, bool out, unsigned number);
void aside_want(struct aside *aside, bool out, unsigned number);
void aside_begin(struct aside *aside); /* no worker uses the port's own ops any more */
/* No worker uses the queue any more: the thread lets it go, and raises the switch's event. */
void aside_detach(struct aside *aside, struct queue *queue);
struct queue *aside_let_go(struct aside *aside); /* the next that it has let go; NULL: none */
/* The thread lets an out queue go for now, keeps what it has for it, and raises the switch's event: as aside_said() tells of the return value. */
uint64_t aside_pause(struct aside *aside, unsigned number);
bool aside_said(const struct aside *aside, uint64_t version);
void aside_look(struct aside *aside); /* the thread looks at all its queues once more */
void aside_queue_free(struct aside *aside, bool out, unsigned number); /* let go, or never wanted */
void aside_stop(struct aside *aside); /* all queues are let go, and the event is raised */
bool aside_stopped(const struct aside *aside);
void aside_join(struct aside *aside); /* told to stop: waits for its end */
void aside_free(struct aside *aside); /* joins it */

#endif
