/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_CREW_H
#define WORK_CREW_H

/*
 * Workers over one table of sources, for owners who publish nothing else: a disk daemon's queues, for example. (The switch
 * publishes its topology together with the table, and does this by itself.) Control thread, all of it.
 */

#include "work/grace.h"
#include "work/source.h"
#include "work/worker.h"

struct crew;
struct loop;

struct crew_config {
	const char *name;  /* of its threads: "blk-worker", then "-N"; borrowed while it is made */
	unsigned workers;  /* 1 or more */
	const int *cpus;   /* one for each worker; NULL: not pinned */
	bool poll;	   /* never sleep */
	unsigned spin_us, spin_percent; /* see work/patience.h: patience_setting() */
};

/* A source on its way through a crew; part of what it serves. */
struct crew_member {
	struct source source;
	/* The crew's. */
	struct grace_item gone;
	struct crew *crew;
	struct crew_member *next; /* removed, and in the published table all the same */
	bool removing;
	void (*left)(struct crew_member *member);
};

/* Starts the workers. 0 or -errno. */
int crew_new(const struct crew_config *config, struct loop *loop, struct crew **ret_crew);
/* All members have left; joins the workers. Takes NULL. */
void crew_free(struct crew *crew);

/* member->source is initialised. Gives it to the worker that has the fewest. 0, or -errno: it was never seen. */
int crew_add(struct crew *crew, struct crew_member *member);
/* The same, to that worker. -ERANGE: there are fewer. */
int crew_add_to(struct crew *crew, struct crew_member *member, unsigned worker);
/*
 * `left` is called from the loop when no worker uses the source any more. It cannot fail: without memory for a table it takes
 * longer.
 */
void crew_remove(struct crew_member *member, void (*left)(struct crew_member *member));

/* item->fn is called from the loop when every worker has ended what it was doing at the time of the call. */
void crew_grace(struct crew *crew, struct grace_item *item);

unsigned crew_workers(const struct crew *crew);
const struct worker *crew_worker(const struct crew *crew, unsigned index);

#endif
