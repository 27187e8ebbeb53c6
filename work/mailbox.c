/* SPDX-License-Identifier: BSD-3-Clause */
#include "work/mailbox.h"
#include <stdbool.h>
#include <stddef.h>

void mailbox_put(struct mailbox *mailbox, struct letter *letter)
{
	letter->next = __atomic_load_n(&mailbox->newest, __ATOMIC_RELAXED);
	/* Release: pairs with the acquire in mailbox_take(). */
	while (!__atomic_compare_exchange_n(&mailbox->newest, &letter->next, letter, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/* All that is there, oldest first. */
static struct letter *mailbox_take(struct mailbox *mailbox)
{
	struct letter *newest = __atomic_exchange_n(&mailbox->newest, NULL, __ATOMIC_ACQUIRE);
	struct letter *oldest = NULL;

	while (newest) {
		struct letter *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

void mailbox_open(struct mailbox *mailbox, void *opaque)
{
	struct letter *letter = mailbox_take(mailbox);

	while (letter) {
		struct letter *next = letter->next;

		letter->open(opaque, letter);
		letter = next;
	}
}

void mailbox_drop(struct mailbox *mailbox)
{
	struct letter *letter = mailbox_take(mailbox);

	while (letter) {
		struct letter *next = letter->next;

		letter->drop(letter);
		letter = next;
	}
}
