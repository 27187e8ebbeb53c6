/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is added is collected without a lock, and handed over under the lock by pool_go(), once for a burst. What is done
 * comes back by done.h.
 */
#include "disk/pool.h"
#include "disk/done.h"
#include "disk/kind.h"
#include "work/thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct pool {
	void (*work)(void *opaque, struct disk_request *r);
	void *opaque;
	/* The queue's thread. */
	struct disk_request *added, **added_end;
	unsigned added_count, busy;
	struct done_list done;
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct disk_request *todo, **todo_end;
	bool end;
	unsigned idle, threads, threads_max;
	pthread_t thread[];
};

/* ---- the threads ---- */

/* Under the lock. NULL: the pool ends. */
static struct disk_request *next_todo(struct pool *pool)
{
	struct disk_request *r;

	while (!pool->todo && !pool->end) {
		pool->idle++;
		pthread_cond_wait(&pool->more, &pool->lock);
		pool->idle--;
	}
	r = pool->todo;
	if (r) {
		pool->todo = r->next;
		if (!pool->todo)
			pool->todo_end = &pool->todo;
	}
	return r;
}

static void *pool_main(void *opaque)
{
	struct pool *pool = opaque;
	struct disk_request *r;

	pthread_mutex_lock(&pool->lock);
	while ((r = next_todo(pool))) {
		pthread_mutex_unlock(&pool->lock);
		pool->work(pool->opaque, r);
		done_push(&pool->done, r);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- the queue's thread ---- */

bool pool_busy(const struct pool *pool)
{
	return pool->busy;
}

void pool_add(struct pool *pool, struct disk_request *r)
{
	r->next = NULL;
	*pool->added_end = r;
	pool->added_end = &r->next;
	pool->added_count++;
	pool->busy++;
}

/* Under the lock: there are threads for so many more. */
static void want_threads(struct pool *pool, unsigned count)
{
	for (unsigned missing = count > pool->idle ? count - pool->idle : 0; missing && pool->threads < pool->threads_max; missing--) {
		if (thread_start(&pool->thread[pool->threads], "disk-io", -1, pool_main, pool))
			return;
		pool->threads++;
	}
}

/* Under the lock. */
static void give_up(struct pool *pool, int result)
{
	while (pool->todo) {
		struct disk_request *r = next_todo(pool);

		r->result = result;
		done_push(&pool->done, r);
	}
}

void pool_go(struct pool *pool)
{
	unsigned count = pool->added_count;

	if (!count)
		return;
	pthread_mutex_lock(&pool->lock);
	*pool->todo_end = pool->added;
	pool->todo_end = pool->added_end;
	want_threads(pool, count);
	if (pool->threads)
		for (unsigned wake = count < pool->idle ? count : pool->idle; wake; wake--)
			pthread_cond_signal(&pool->more);
	else
		give_up(pool, -EAGAIN); /* there is no thread, and none can be had: nobody would ever do it */
	pthread_mutex_unlock(&pool->lock);
	pool->added = NULL;
	pool->added_end = &pool->added;
	pool->added_count = 0;
}

void pool_cancel(struct pool *pool)
{
	pool_go(pool);
	pthread_mutex_lock(&pool->lock);
	give_up(pool, -ECANCELED);
	pthread_mutex_unlock(&pool->lock);
}

struct disk_request *pool_done(struct pool *pool)
{
	struct disk_request *done;

	done = pool->busy ? done_take(&pool->done) : NULL;
	for (struct disk_request *r = done; r; r = r->next)
		pool->busy--;
	return done;
}

bool pool_arm(struct pool *pool, bool on)
{
	return done_arm(&pool->done, on);
}

/* ---- making and ending it ---- */

int pool_new(unsigned threads_max, void (*work)(void *opaque, struct disk_request *r), void *opaque, int fd,
	     struct pool **ret_pool)
{
	struct pool *pool = disk_queue_room(sizeof(*pool) + threads_max * sizeof(pool->thread[0]));

	if (!pool)
		return -ENOMEM;
	pool->work = work;
	pool->opaque = opaque;
	pool->done.fd = fd;
	pool->threads_max = threads_max;
	pool->added_end = &pool->added;
	pool->todo_end = &pool->todo;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	*ret_pool = pool;
	return 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->end = true;
	pthread_cond_broadcast(&pool->more);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->more);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
