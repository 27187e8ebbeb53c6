/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_POOL_H
#define DISK_POOL_H

/*
 * Threads of one queue that do what may wait: system calls that the kernel does not take without a thread. They are started
 * when they are needed first, and end with the pool. All functions are the queue's thread's, but new and free.
 */

#include "disk/disk.h"

struct pool;

/* `work` sets the request's result, in any of the threads. `fd`, borrowed, is raised for who is armed. 0 or -errno. */
int pool_new(unsigned threads_max, void (*work)(void *opaque, struct disk_request *r), void *opaque, int fd,
	     struct pool **ret_pool);
/* It has nothing to do (pool_busy() is false). Takes NULL. */
void pool_free(struct pool *pool);

/* Whether pool_add() has been given something that pool_done() has not given back. */
bool pool_busy(const struct pool *pool);

/* A burst is pool_add() for each, then pool_go(). */
void pool_add(struct pool *pool, struct disk_request *r);
void pool_go(struct pool *pool);

/* Those that are done, linked by `next`, in any order; NULL: none. */
struct disk_request *pool_done(struct pool *pool);

/* What no thread has begun with is done with -ECANCELED. */
void pool_cancel(struct pool *pool);

/* As disk_queue_arm(). */
bool pool_arm(struct pool *pool, bool on);

#endif
