/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/letters.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/*
 * Who posts to an empty stack raises the eventfd; the owner lowers it before it takes. So a letter that finds the stack
 * empty after the owner has taken it is raised for anew, and one that finds others there is taken with them.
 */
struct vireo_mailbox {
	struct letters letters;
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
	assert(!letters_wait(&mailbox->letters));
	fd_close(&mailbox->event_fd);
	free(mailbox);
}

int vireo_mailbox_fd(const struct vireo_mailbox *mailbox)
{
	return mailbox->event_fd;
}

void vireo_mailbox_post(struct vireo_mailbox *mailbox, struct vireo_letter *letter)
{
	if (letters_post(&mailbox->letters, letter))
		fd_event_raise(mailbox->event_fd);
}

unsigned vireo_mailbox_deliver(struct vireo_mailbox *mailbox)
{
	fd_event_clear(mailbox->event_fd);
	return letters_deliver(&mailbox->letters);
}
