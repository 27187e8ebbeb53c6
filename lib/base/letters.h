/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_LETTERS_H
#define BASE_LETTERS_H

/*
 * A stack of letters (vireo/mailbox.h) to which any thread adds at the top, and which its owner takes as a whole and turns
 * round. It tells nobody that there are any: a mailbox has an eventfd for that (mailbox.c), a worker its own (work/worker.c).
 */

#include "vireo/mailbox.h"
#include <stdbool.h>
#include <stddef.h>

struct letters {
	struct vireo_letter *last; /* posted; atomic */
};

/* Any thread. True: it is the only one there. The letter may be delivered, and freed, before this returns. */
static inline bool letters_post(struct letters *letters, struct vireo_letter *letter)
{
	struct vireo_letter *before = __atomic_load_n(&letters->last, __ATOMIC_RELAXED);

	do {
		letter->next = before;
		/* Release: pairs with the acquire in letters_take(). */
	} while (!__atomic_compare_exchange_n(&letters->last, &before, letter, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	return !before;
}

/* Any thread: are there any? */
static inline bool letters_wait(const struct letters *letters)
{
	return __atomic_load_n(&letters->last, __ATOMIC_RELAXED);
}

/* The owner: all that are there, oldest first. */
struct vireo_letter *letters_take(struct letters *letters);
/* The owner: delivers all that are there, oldest first. Returns how many. */
unsigned letters_deliver(struct letters *letters);

#endif
