/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is added is collected without a lock, and handed over under the lock by pool_go(), once for a burst. What is done is pushed onto a
 * list that is only ever taken as a whole, so that no lock is needed; the fd is raised only if the queue's thread has said
 * that it sleeps, by whoever finds that first.
 */
#include "disk/pool.h"
#include "base/fd.h"
#include "work/thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct pool {
	void (*work)(void *opaque, struct disk_request *r);
	void *opaque;
	int fd;
	/* The queue's thread. */
	struct disk_request *added, **added_end;
	unsigned added_count, busy;
	/* Any thread (atomic). */
	struct disk_request *done;
	bool armed;
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct disk_request *todo, **todo_end;
	bool end;
	unsigned idle, threads, threads_max;
	pthread_t thread[];
};

/* ---- the threads ---- */

static void push_done(struct pool *pool, struct disk_request *r)
{
	struct disk_request *head = __atomic_load_n(&pool->done, __ATOMIC_RELAXED);

	do
		r->next = head;
	while (!__atomic_compare_exchange_n(&pool->done, &head, r, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	/* Seen before the push was: the queue's thread has looked at the list after it said that it sleeps. */
	if (__atomic_load_n(&pool->armed, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&pool->armed, false, __ATOMIC_SEQ_CST))
		fd_event_raise(pool->fd);
}

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
		push_done(pool, r);
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
		push_done(pool, r);
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

	if (!pool->busy || !__atomic_load_n(&pool->done, __ATOMIC_RELAXED))
		return NULL;
	done = __atomic_exchange_n(&pool->done, NULL, __ATOMIC_ACQUIRE);
	for (struct disk_request *r = done; r; r = r->next)
		pool->busy--;
	return done;
}

bool pool_arm(struct pool *pool, bool on)
{
	__atomic_store_n(&pool->armed, on, __ATOMIC_SEQ_CST);
	return on && __atomic_load_n(&pool->done, __ATOMIC_SEQ_CST);
}

/* ---- making and ending it ---- */

int pool_new(unsigned threads_max, void (*work)(void *opaque, struct disk_request *r), void *opaque, int fd,
	     struct pool **ret_pool)
{
	struct pool *pool = calloc(1, sizeof(*pool) + threads_max * sizeof(pool->thread[0]));

	if (!pool)
		return -ENOMEM;
	pool->work = work;
	pool->opaque = opaque;
	pool->fd = fd;
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
