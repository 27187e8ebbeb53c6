/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_DROP_H
#define BASE_DROP_H

/*
 * Lets go of what strangers own: the fds that a peer has handed us, the sockets on which more of them may be in flight,
 * the memory that we have mapped of a peer's file. close(2) and munmap(2) may drop the last reference to a file, and
 * then wait for whatever the stranger has prepared: a TCP socket that lingers, a FUSE server that does not answer, a
 * pipe that is locked, an eventfd with a million who wait for it, sixty gigabytes to be given back. So they are called
 * aside, in threads that the program lends.
 */

#include <stddef.h>

struct drop;

/* See close_aside in vireo/endpoint.h. */
typedef int drop_run_fn(void *opaque, void (*work)(void *argument), void *argument);

#define DROP_HELPERS_MAX 2u /* calls of `run` under way at a time; what they hang on holds up what comes later here */
#define DROP_WAITING_MAX 4096u /* who has more waiting should not take any more */

/* -ENOMEM. */
int drop_new(drop_run_fn *run, void *opaque, struct drop **ret_drop);
struct drop *drop_ref(struct drop *drop); /* takes NULL, as all that follow: then it is done here and now */
/* What is waiting is let go of all the same. */
void drop_unref(struct drop *drop);

/* Any thread. None of them waits, unless there is no memory, or no thread to be had. */
void drop_fd(struct drop *drop, int *fd); /* and empties it */
void drop_socket(struct drop *drop, int *fd); /* the same; the peer sees its end at once */
/* gone(opaque, bytes) is called when it has been unmapped, in whatever thread (may be NULL). */
void drop_memory(struct drop *drop, void *start, size_t bytes, void (*gone)(void *opaque, size_t bytes),
		 void *opaque);

/* Work that may wait for a peer, in its turn and in the same threads: of peers that hang, no more threads do than for what else they own. */
void drop_call(struct drop *drop, void (*work)(void *opaque), void *opaque);

/*
 * Beside all that, a thread for work that may wait for a peer, at once. A negative errno, -EOPNOTSUPP without a drop: there is none,
 * and the work is not done.
 */
int drop_lend(struct drop *drop, void (*work)(void *argument), void *argument);

unsigned drop_waiting(struct drop *drop); /* what is not gone yet */

#endif
