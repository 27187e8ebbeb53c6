/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_WORKER_H
#define WORK_WORKER_H

/*
 * A thread that serves sources (work/source.h): it polls them while there is work, and sleeps when there is none. See
 * worker.c for how. It knows nothing of what the work is.
 */

#include "base/letters.h"
#include "base/util.h"
#include "work/patience.h"
#include "work/source.h"
#include "work/table.h"
#include <pthread.h>
#include <sys/epoll.h>

#define WORKER_EVENTS 32

/* Written by the worker, read by anybody (counter_read()). */
struct worker_stats {
	uint64_t loops, busy_loops, wakeups, sleeps;
	uint64_t served;
	uint64_t busy_cycles; /* of the CPU's time stamp counter, in calls of serve() that did something */
};

/*
 * From any thread to the worker, which delivers it between two bursts, in the order in which letters came. A letter is
 * part of what it brings, and belongs to whom it is delivered to or dropped by.
 */
struct worker_letter {
	struct vireo_letter letter; /* `deliver` is called in the worker */
	struct worker *worker;      /* to which it was posted */
	void (*drop)(struct worker_letter *letter); /* there is nobody any more to deliver it */
};

/* Of somebody who looks how workers get on, and sleeps while all of them do. Each that wakes up raises the fd. */
struct worker_watch {
	bool asleep; /* atomic */
	int fd;
};

struct worker_config {
	const char *name; /* of the thread, up to 15 characters; copied */
	unsigned index;   /* its place in the tables */
	int cpu;          /* -1: not pinned */
	bool poll;        /* never sleeps, and arms only what is silent for long beside others */
	unsigned spin_us, spin_percent; /* see patience_setting() */
	struct work_table **published;  /* where the owner stores each table, with release; one is there when it starts */
	void *rcu_key;                  /* the owner's: see rcu.h */
	uint64_t long_cycles;           /* serve() took longer than so many cycles: */
	void (*took_long)(struct worker *worker, struct source *source, uint64_t cycles); /* the worker's owner may look into it */
	void (*due)(struct worker *worker); /* worker.due_ns has come, and is 0; NULL: it never is anything else */
	struct worker_watch *watch;	    /* NULL: nobody looks */
};

struct worker {
	/* Constant. */
	struct work_table **published;
	void *rcu_key;
	void (*took_long)(struct worker *worker, struct source *source, uint64_t cycles);
	void (*due)(struct worker *worker);
	struct worker_watch *watch;
	uint64_t long_cycles;
	unsigned index, spin_us, spin_percent;
	int cpu;
	bool poll;
	char name[16];
	uint64_t keep_ns; /* how long a source without work stays active while others have some */
	int epoll_fd, wake_fd;
	pthread_t thread;

	/* The worker's. */
	struct work_table *table __attribute__((aligned(CACHE_LINE_BYTES))); /* of this round */
	uint64_t version;
	uint64_t now_ns; /* as of some rounds ago, at most */
	uint32_t now_s;
	uint64_t due_ns; /* its owner has something to do then, between two rounds; 0: nothing */
	struct source **active;
	/* Atomic, read by who looks. */
	struct source *serving; /* whose serve() it is in, or was last */
	uint64_t serving_since; /* since when, from where took_long() counts: of the CPU's time stamp counter; 0: it is in none */
	unsigned active_count;
	unsigned armed_count;
	unsigned resting_count; /* of the active ones */
	unsigned rest_ns;       /* how long to sleep when all are resting */
	unsigned napping_count; /* sources that were armed for a nap, and are still listed in `active` */
	struct source *served; /* had work last; NULL: unknown */
	uint64_t events_checked_ns, events_found_ns;
	uint32_t peek_ns; /* how long a busy worker does not look for events: see wait_peek() */
	/* Polled, and silent for long: the last ones of the active, of which a few are asked in each round. */
	unsigned silent_count;
	unsigned silent_next; /* who is asked next, counted from the last one of the active */
	unsigned silent_rounds, silent_wait; /* since some were asked, and after how many some are asked again */
	uint64_t silent_asked_ns, silent_asked_cycles; /* when some were asked last beside others, by two clocks */
	uint64_t silent_step_cycles; /* what SILENT_STEP_NS are by the other; 0: not known yet */
	uint64_t silent_owed; /* parts of an ask that were due then */
	uint32_t recall_slot; /* where the next one is sought that is asked again */
	int event_count;
	struct epoll_event events[WORKER_EVENTS];
	struct worker_stats stats;
	struct patience patience;
	int schedstat_fd; /* of the thread, while it runs: see thread.h */
	int state_fd;	  /* likewise (atomic), if somebody looks */
	uint64_t woke_ns; /* when it slept last */
	/* Of the time in which it is dry. */
	uint64_t dry_since_ns; /* 0: it is not */
	struct source *dry_after; /* had work before; NULL: unknown */
	struct patience_plan plan;
	uint64_t awake_since_ns, awake_until_ns;
	bool napped;
	enum patience_found found; /* if work came now */

	/* Written by others. */
	struct letters letters __attribute__((aligned(CACHE_LINE_BYTES)));
	bool stop;

	/* Control thread. */
	struct source **slots; /* grows; NULL: free */
	unsigned slot_count;
	unsigned source_count;
};

/* Control thread. The struct is the owner's, aligned to a cache line, and part of what it wants to find by container_of(). */
int worker_init(struct worker *worker, const struct worker_config *config); /* does not start it. 0 or -errno: fini it all the same */
int worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* and wait for its end */
void worker_fini(struct worker *worker); /* stopped, or never started: drops its letters. */

/* The worker: its owner has something to do at that time, or before (`due`). */
static inline void worker_due_at(struct worker *worker, uint64_t at_ns)
{
	if (!worker->due_ns || at_ns < worker->due_ns)
		worker->due_ns = at_ns;
}

void worker_clock_read(struct worker *worker); /* the worker: now_ns and now_s are old, and are not then */
/* The worker, in due(): a source that was armed and had to wait is asked again. */
void worker_resume(struct worker *worker, struct source *source);
void worker_wake(struct worker *worker); /* any thread: look at table and letters */
/* Any thread: the worker will deliver the letter. */
void worker_post(struct worker *worker, struct worker_letter *letter);

/* Control thread. Gives the source a slot and watches its fds; the table with it is not yet published. 0 or -errno. */
int worker_adopt(struct worker *worker, struct source *source);
/* The source is in no table any more that the worker might see. */
void worker_disown(struct source *source);

#endif
