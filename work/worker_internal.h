/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_WORKER_INTERNAL_H
#define WORK_WORKER_INTERNAL_H

/* Between the files of a worker. */

#include "work/worker.h"

#define NS_PER_US   1000u
#define NS_PER_MS   1000000u
#define NS_PER_S    1000000000u
#define REST_NS_MIN (20u * NS_PER_US)
#define PEEK_NS	    (40u * NS_PER_US)  /* how often a busy worker looks for events; */
#define PEEK_RARELY_NS (160u * NS_PER_US) /* after none has come for PEEK_QUIET_NS */
#define PEEK_QUIET_NS  (10u * NS_PER_MS)

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
