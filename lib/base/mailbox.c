/* SPDX-License-Identifier: BSD-3-Clause */
#include "vireo/mailbox.h"
#include "base/fd.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/*
 * A stack to which any thread adds at the top, and which the owner takes as a whole and turns round. Who adds to an empty one
 * raises the eventfd; the owner lowers it before it takes. So a letter that finds the stack empty after the owner
 * has taken it is raised for anew, and one that finds others there is taken with them.
 */
struct vireo_mailbox {
	struct vireo_letter *last; /* posted; atomic */
	int event_fd;
};

int vireo_mailbox_new(struct vireo_mailbox **ret_mailbox)
{
	struct vireo_mailbox *mailbox = calloc(1, sizeof(*mailbox));
	int r = mailbox ? fd_event_new(&mailbox->event_fd) : -ENOMEM;

	if (r) {
		free(mailbox);
		return r;
	}
	*ret_mailbox = mailbox;
	return 0;
}

void vireo_mailbox_free(struct vireo_mailbox *mailbox)
{
	if (!mailbox)
		return;
	assert(!mailbox->last);
	fd_close(&mailbox->event_fd);
	free(mailbox);
}

int vireo_mailbox_fd(const struct vireo_mailbox *mailbox)
{
	return mailbox->event_fd;
}

void vireo_mailbox_post(struct vireo_mailbox *mailbox, struct vireo_letter *letter)
{
	struct vireo_letter *before = __atomic_load_n(&mailbox->last, __ATOMIC_RELAXED);

	do {
		letter->next = before;
	} while (!__atomic_compare_exchange_n(&mailbox->last, &before, letter, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	/* From here on the letter may be gone. */
	if (!before)
		fd_event_raise(mailbox->event_fd);
}

unsigned vireo_mailbox_deliver(struct vireo_mailbox *mailbox)
{
	struct vireo_letter *taken, *first = NULL;
	unsigned count = 0;

	fd_event_clear(mailbox->event_fd);
	taken = __atomic_exchange_n(&mailbox->last, NULL, __ATOMIC_ACQUIRE);
	while (taken) {
		struct vireo_letter *next = taken->next;

		taken->next = first;
		first = taken;
		taken = next;
	}
	for (; first; count++) {
		struct vireo_letter *letter = first;

		first = letter->next; /* before it goes where it likes */
		letter->deliver(letter);
	}
	return count;
}
