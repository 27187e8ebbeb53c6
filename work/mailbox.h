/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_MAILBOX_H
#define WORK_MAILBOX_H

/*
 * Letters from any thread to a worker, which opens them between two bursts, in the order in which they came. A
 * letter is part of what it brings, and belongs to whom it is opened or dropped by.
 */

struct letter {
	struct letter *next;
	void (*open)(void *opaque, struct letter *letter); /* opaque: of mailbox_open() */
	void (*drop)(struct letter *letter);               /* there is nobody any more to open it */
};

struct mailbox {
	struct letter *newest; /* atomic */
};

void mailbox_put(struct mailbox *mailbox, struct letter *letter);
void mailbox_open(struct mailbox *mailbox, void *opaque);
void mailbox_drop(struct mailbox *mailbox);

#endif
