/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_MAILBOX_H
#define VIREO_MAILBOX_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Letters from any thread to the one that owns something, a queue for example: how a request that ends in another thread
 * is completed. A queue's functions are its worker's alone; so the other thread posts a letter, which lies in the
 * request, and the worker pushes the chain when it delivers the letter:
 *
 *	static void done(struct vireo_letter *letter)		in the worker
 *	{
 *		struct request *request = (struct request *)letter;	its first member
 *
 *		vireo_queue_push(request->queue, &request->chain, request->written_bytes);
 *		...						and a flush after vireo_mailbox_deliver()
 *	}
 *	request->letter.deliver = done;			in the other thread
 *	vireo_mailbox_post(mailbox, &request->letter);
 *
 * The worker watches vireo_mailbox_fd() beside its queues' kick fds (the control thread beside its endpoint's, for control
 * queues). When ops->queue_stop asks for a queue back, chains whose letters are still to come are on their way: answer
 * with vireo_queue_quiesced() after the last of them has been pushed and flushed.
 */
struct vireo_mailbox;

/* The sender's until it is posted, the mailbox's until it is delivered. */
struct vireo_letter {
	void (*deliver)(struct vireo_letter *letter); /* in the owner's thread; may post it anew, or free it */
	struct vireo_letter *next;		      /* the mailbox's */
};

/* Makes a mailbox. Any thread. -ENOMEM, -EMFILE. */
VIREO_API int vireo_mailbox_new(struct vireo_mailbox **ret_mailbox);
/* Frees the mailbox; does nothing for NULL. No thread posts to it any more, and every letter has been delivered. */
VIREO_API void vireo_mailbox_free(struct vireo_mailbox *mailbox);

/* Returns an fd that is readable while letters wait. The mailbox owns it. */
VIREO_API int vireo_mailbox_fd(const struct vireo_mailbox *mailbox);

/* Posts a letter. Any thread. The call allocates nothing and never waits. */
VIREO_API void vireo_mailbox_post(struct vireo_mailbox *mailbox, struct vireo_letter *letter);

/*
 * Delivers the letters that have been posted so far, each sender's in the order in which it posted them. The owner's thread calls
 * it. Returns how many letters it has delivered. A letter that is posted meanwhile waits for the next call, and the fd is readable.
 */
VIREO_API unsigned vireo_mailbox_deliver(struct vireo_mailbox *mailbox);

#ifdef __cplusplus
}
#endif
#endif
