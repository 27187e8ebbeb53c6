/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/aside.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_S 5 /* a thread without work ends after that */
#define STACK_BYTES (256u << 10)

struct aside {
	struct aside *next;
	void (*work)(void *argument);
	void *argument;
};

/* The threads belong to nobody, and may outlive whatever they work for. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more; /* by CLOCK_MONOTONIC: pool_init() */
	pthread_once_t once;
	struct aside *first, **end;
	unsigned waiting, idle, threads;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .end = &pool.first};

static unsigned rtnl_under_way; /* atomic */

static int thread_start(void *(*begin)(void *), void *opaque)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	err = -pthread_create(&thread, &attributes, begin, opaque);
	pthread_attr_destroy(&attributes);
	return err;
}

/* ---- what may take for ever ---- */

static void pool_init(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&pool.more, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* The lock is held. NULL: there has been nothing to do for long. */
static struct aside *pool_take(void)
{
	struct timespec end;
	struct aside *aside;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += IDLE_S;
	pool.idle++;
	while (!pool.first && !err)
		err = pthread_cond_timedwait(&pool.more, &pool.lock, &end);
	pool.idle--;
	aside = pool.first;
	if (!aside)
		return NULL;
	pool.first = aside->next;
	if (!pool.first)
		pool.end = &pool.first;
	pool.waiting--;
	return aside;
}

static void *pool_main(void *opaque)
{
	struct aside *aside;

	pthread_mutex_lock(&pool.lock);
	while ((aside = pool_take())) {
		pthread_mutex_unlock(&pool.lock);
		aside->work(aside->argument);
		free(aside);
		pthread_mutex_lock(&pool.lock);
	}
	pool.threads--;
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* The lock is held. Is there a thread for `aside`, or will there be one? */
static int pool_grow(void)
{
	int err = 0;

	if (pool.idle > pool.waiting || pool.threads >= ASIDE_THREADS_MAX)
		return 0;
	pool.threads++;
	err = thread_start(pool_main, NULL);
	if (err)
		pool.threads--;
	return pool.threads ? 0 : err;
}

int aside_run(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){.work = work, .argument = argument};
	pthread_once(&pool.once, pool_init);
	pthread_mutex_lock(&pool.lock);
	err = pool_grow();
	if (!err) {
		*pool.end = aside;
		pool.end = &aside->next;
		pool.waiting++;
		pthread_cond_signal(&pool.more);
	}
	pthread_mutex_unlock(&pool.lock);
	if (err)
		free(aside);
	return err;
}

/* ---- what the kernel waits for: a thread each, at once ---- */

static void *rtnl_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	__atomic_fetch_sub(&rtnl_under_way, 1, __ATOMIC_RELEASE);
	return NULL;
}

int aside_run_rtnl(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){.work = work, .argument = argument};
	__atomic_fetch_add(&rtnl_under_way, 1, __ATOMIC_RELAXED);
	err = thread_start(rtnl_main, aside);
	if (!err)
		return 0;
	__atomic_fetch_sub(&rtnl_under_way, 1, __ATOMIC_RELAXED);
	free(aside);
	return err;
}

bool aside_rtnl(void)
{
	return __atomic_load_n(&rtnl_under_way, __ATOMIC_ACQUIRE);
}
