/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_NBD_LINK_H
#define DISK_NBD_LINK_H

/*
 * A link, as its two files see it: nbd_link.c has the thread and the connection, nbd_commands.c what becomes of commands. All here is
 * the link's thread's, but for what says otherwise.
 *
 *   incoming  handed over by a queue; under the lock, nobody has looked at it
 *   pending   to be sent, in that order
 *   sent      the server owes an answer. When it is gone they are pending again, in the order in which they were sent
 *   heard     answered, and not yet given to its queue
 *
 * What its queue has cancelled (the driver has stopped it, and waits) is not sent; and what is sent is given up: its request is done, and it stays
 * in `sent`, without a queue, until the server has answered, which nobody hears then.
 */

#include "disk/nbd_list.h"

struct nbd_link {
	struct nbd_disk *disk;
	int wake_fd;
	pthread_t thread;
	bool started;
	/* Under the lock. */
	pthread_mutex_t lock; /* held while answers are given to queues, too: nbd_link_part() */
	struct op_list incoming;
	bool end;
	/* Under the disk's lock. */
	uint64_t renewed;
	/* The thread's. */
	struct nbd_handle *handle; /* NULL: none */
	bool ready, away, shutdown, told;
	uint64_t epoch, renewing;
	uint64_t try_at_ms, try_pause_ms, trying_since_ms;
	struct op_list pending, sent, heard;
	unsigned given_up; /* of those */
};

/* ---- nbd_commands.c ---- */

void nbd_commands_take(struct nbd_link *link); /* incoming ones are pending */
/* What is cancelled is not sent. While nobody is there what has waited for long enough, or met nonsense, has failed. */
void nbd_commands_prune(struct nbd_link *link);
void nbd_commands_give_up(struct nbd_link *link); /* those sent that nobody waits for any more */
void nbd_commands_send(struct nbd_link *link);	  /* what is pending, but for what a fence holds */
void nbd_commands_hear(struct nbd_link *link);	  /* what the server has answered goes to its queue */
void nbd_commands_again(struct nbd_link *link);	  /* there is no connection any more: what was sent is pending */
void nbd_commands_forget(struct nbd_link *link);  /* nor will there be one: those that were given up are freed */

/* ---- nbd_link.c ---- */

bool nbd_link_gone(const struct nbd_link *link); /* the connection that it has is none any more */
void nbd_links_wake_others(struct nbd_link *link);

#endif
