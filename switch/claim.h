/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_CLAIM_H
#define SWITCH_CLAIM_H

/* Out queues are used by one worker at a time, for a burst: it claims them. */

#include "switch/forwarder.h"
#include "switch/port.h"
#include <sched.h>

#define CLAIM_SPINS_MAX 256u /* then the holder may well be off its CPU */

static inline void claim_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline void claim(const struct forwarder *forwarder, struct out_queue *queue)
{
	unsigned spins = 0;

	if (forwarder->alone)
		return;
	/* Pairs with the release in unclaim(): what the queue's last user did is seen. */
	while (__atomic_exchange_n(&queue->claimed, 1, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(&queue->claimed, __ATOMIC_RELAXED)) {
			if (++spins % CLAIM_SPINS_MAX)
				claim_relax();
			else
				sched_yield();
		}
	}
}

static inline void unclaim(const struct forwarder *forwarder, struct out_queue *queue)
{
	if (!forwarder->alone)
		__atomic_store_n(&queue->claimed, 0, __ATOMIC_RELEASE);
}

#endif
