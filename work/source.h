/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_SOURCE_H
#define WORK_SOURCE_H

/*
 * What a worker serves: something that has work now and then, says so by an fd, and gives it in bursts. A switch's in queue is
 * one, and so is a disk's queue, with a second fd for what its back end has done.
 *
 * Each source has one worker (work/worker.h) from worker_adopt() to worker_disown(), both of the control thread. The worker
 * learns of it from the table that its owner publishes (work/table.h), and has forgotten it a grace period after a
 * table without it was published.
 */

#include "base/util.h"
#include "work/patience.h"
#include <stdbool.h>
#include <stdint.h>

struct source;
struct worker;

/* The worker calls these. All sources of a worker may have the same, or not. */
struct source_ops {
	/*
	 * Does what there is, up to a burst. Returns how much that was; 0: there was nothing; negative: the source is dead
	 * and is never asked again. `next` (NULL: none) is served after this one: what it will look at may be fetched.
	 */
	int (*serve)(struct worker *worker, struct source *source, struct source *next);
	/* Its fds are to tell of work from now on (returns true if there is work already), or need not. */
	bool (*arm)(struct source *source, bool on);
	/* Something is bound to come, such as what a disk has been asked for: a worker that polls asks it in each round. NULL: never. */
	bool (*expects)(struct source *source);
};

#define SOURCE_FDS 2u

enum source_state {
	SOURCE_NEW,    /* the worker has not seen it yet */
	SOURCE_ACTIVE, /* asked in each round; not armed */
	SOURCE_ARMED,  /* left alone until one of its fds tells of work */
	SOURCE_DEAD,   /* serve() failed: never asked again */
};

struct source_fd {
	int fd;  /* -1: none, or watched no more: the source is dead */
	int own; /* a duplicate of it, if that was needed to watch it; or -1 */
};

struct source {
	/* Constant while it has a worker. */
	const struct source_ops *ops;
	struct worker *worker;
	unsigned slot; /* its index in the worker's table, and what the worker's epoll says */
	bool unarmed;  /* there is no fd that could be watched: it must be asked */
	struct source_fd fds[SOURCE_FDS];
	/* The worker's. */
	uint64_t called; /* how often one of its fds has told of work; others read it (counter_read()) */
	uint64_t busy_cycles; /* in calls of serve() that did something; others read it */
	bool resting; /* it cannot be armed, and has been idle for long */
	enum source_state state;
	uint64_t idle_since_ns; /* 0: it had work when asked last */
	struct habit habit;     /* what follows its work: see patience.h */
} __attribute__((aligned(CACHE_LINE_BYTES)));

/* fd, borrowed, becomes readable (edge-triggered, it is never read) when there is work and the source is armed; -1: ask it. */
static inline void source_init(struct source *source, const struct source_ops *ops, int fd)
{
	*source = (struct source){.ops = ops};
	source->fds[0] = (struct source_fd){fd, -1};
	for (unsigned i = 1; i < SOURCE_FDS; i++)
		source->fds[i] = (struct source_fd){-1, -1};
}

/* Another fd that tells of work as the first does. Before worker_adopt(). */
static inline void source_also(struct source *source, int fd)
{
	source->fds[1].fd = fd;
}

#endif
