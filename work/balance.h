/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_BALANCE_H
#define WORK_BALANCE_H

/*
 * Which source should be another worker's: a policy. It reads no clock and moves nothing: who has the workers tells it, about once a second,
 * the time, how busy each worker was and how much of that each source was, and does what it answers. See balance.c for the rules.
 * Loads are thousandths of the time since the look before. One thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

enum balance_why {
	BALANCE_BUSY,	  /* its worker had more than it should */
	BALANCE_CPU_GONE, /* its worker has no CPU any more */
	BALANCE_CPU_BACK, /* the worker that it had before that has one again */
	BALANCE_MEMORY,	  /* its memory lies on the node of the other worker's CPU */
};

struct balance_worker {
	/* Told at each look. */
	bool there;	  /* it has a CPU to run on */
	int node;	  /* of that CPU; -1: it is not known, or there is one only */
	unsigned busy;	  /* of what it served, and what it did for others */
	unsigned sources; /* that it has */
	/* The policy's; 0 at first. */
	bool was_away;
	unsigned full_looks;
	uint64_t back_ns;
};

struct balance_source {
	/* Told at each look. */
	unsigned worker;
	bool kept;     /* somebody has said whose it is: it stays */
	int node;      /* where its memory lies; -1: that is not known */
	unsigned load;
	/* The policy's; 0 at first, and the same when it has moved. */
	uint64_t moved_ns;
	unsigned moves;
	unsigned driven_from; /* the worker that lost its CPU, plus 1 */
};

struct balance_move {
	struct balance_source *source;
	unsigned to;
	enum balance_why why;
	unsigned busy_from, busy_to; /* before it */
	unsigned moves, driven_from; /* the source's, before it */
};

struct balance {
	struct balance_worker *workers; /* the owner's */
	unsigned worker_count;
	uint64_t moved_ns; /* for BALANCE_BUSY; 0: never */
};

/*
 * What should move now: up to `max` moves, 1 or more. The caller carries out each of them, or says that it could not: balance_undone().
 * now_ns is never 0.
 */
unsigned balance_look(struct balance *balance, uint64_t now_ns, struct balance_source *const *sources, unsigned count,
		      struct balance_move *moves, unsigned max);

/* It is answered again once the source has rested; at the next look where a CPU has gone or come back. */
void balance_undone(const struct balance_move *move);

/* Who should have a source that comes, with memory on `node`: who has the fewest of those that have a CPU, on that node if one of them is. */
unsigned balance_place(const struct balance *balance, int node);

#endif
