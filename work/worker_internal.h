/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_WORKER_INTERNAL_H
#define WORK_WORKER_INTERNAL_H

/* Between the files of a worker. */

#include "work/worker.h"

#define NS_PER_US   1000u
#define NS_PER_S    1000000000u
#define REST_NS_MIN (20u * NS_PER_US)

/* ---- worker.c ---- */

/* The source at this place among the active ones. True: work came at the last moment, it stays active. */
bool worker_arm(struct worker *worker, unsigned at);

/* ---- wait.c ---- */

void wait_dry(struct worker *worker);     /* a round has found nothing */
void wait_over(struct worker *worker);    /* the worker was dry, and a round has found something */
void wait_asleep(struct worker *worker);  /* nothing is active: until somebody wakes it, or a nap is over that was planned */
void wait_resting(struct worker *worker); /* for a while */
void wait_peek(struct worker *worker);    /* looks for events without waiting */

/* ---- watch.c ---- */

int worker_watch_wakes(struct worker *worker);
void source_unwatch(struct source *source); /* any thread that may touch the source */

#endif
