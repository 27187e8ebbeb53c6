/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_RELIEF_H
#define SWITCH_RELIEF_H

/* A thread that stands in for a worker that stands still: relief.c. */

#include "switch/forwarder.h"

struct relief;

/* Control thread. 0 or -errno. */
int relief_new(struct sw *sw, struct relief **ret_relief); /* before the workers are made */
int relief_start(struct relief *relief);		   /* they run */
void relief_stop(struct relief *relief);		   /* they still run; takes NULL, as all below */
void relief_free(struct relief *relief);
struct worker_watch *relief_watch(struct relief *relief);

/* The worker, in no burst and with nothing claimed, after one that was long: it goes on where it stopped, and nobody stands in for it any more. */
void relief_wait(struct forwarder *forwarder);

static inline void relief_end(struct forwarder *forwarder)
{
	/* After serving_since = 0, with the barrier in relieve() between the two: it finds that the burst is over, or we find that it stands in. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(__atomic_load_n(&forwarder->relieved, __ATOMIC_RELAXED)))
		relief_wait(forwarder);
}

#endif
