/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_CLAIM_H
#define SWITCH_CLAIM_H

/*
 * Out queues are used by one worker at a time, for a burst: it claims them. A worker that is the only one says which queue it uses and no
 * more, until another thread stands in for it (relief.c), which changes `alone`, and has then a barrier in all threads.
 *
 *	forwarder.at	the queue that it uses, or waits for
 *	forwarder.hard	`claimed` says whether it uses it; or else `at` does
 *	queue.claimed	the number of who uses it; 0: nobody, or a worker that is the only one
 */

#include "switch/forwarder.h"
#include "switch/port.h"

static inline uint32_t claim_number(const struct forwarder *forwarder)
{
	return forwarder->worker.index + 1;
}

static inline bool claim_try(const struct forwarder *forwarder, struct out_queue *queue)
{
	uint32_t nobody = 0;

	/* Pairs with the release in unclaim(): what the queue's last user did is seen. */
	return __atomic_compare_exchange_n(&queue->claimed, &nobody, claim_number(forwarder), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

bool claim_wait(struct forwarder *forwarder, struct out_queue *queue, bool claimed); /* relief.c */

/* False: who has it stands still. It is not claimed, and there is nothing to wait for. */
static inline bool claim(struct forwarder *forwarder, struct out_queue *queue)
{
	bool claimed;

	__atomic_store_n(&forwarder->at, queue, __ATOMIC_RELEASE); /* pairs with the acquire in uses() */
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* pairs with the barrier in relieve() */
	if (__atomic_load_n(&forwarder->alone, __ATOMIC_RELAXED))
		return true;
	__atomic_store_n(&forwarder->hard, true, __ATOMIC_RELAXED);
	claimed = claim_try(forwarder, queue);
	return likely(claimed && !forwarder->stands_in) || claim_wait(forwarder, queue, claimed);
}

static inline void unclaim(struct forwarder *forwarder, struct out_queue *queue)
{
	if (forwarder->hard)
		__atomic_store_n(&queue->claimed, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&forwarder->at, NULL, __ATOMIC_RELEASE); /* pairs with the acquire in uses() */
	if (forwarder->hard)
		__atomic_store_n(&forwarder->hard, false, __ATOMIC_RELEASE);
}

#endif
