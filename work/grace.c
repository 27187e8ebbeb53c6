/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * The control thread must not wait for workers, so a thread of its own does: it takes all items that are waiting,
 * waits for one grace period, puts them on the list of items done, and raises the control thread's
 * eventfd. Items thus run in the control thread, in the order in which they were deferred. The thread
 * sleeps on a condition variable while there is nothing to do.
 */

#include "work/grace.h"
#include "base/fd.h"
#include "work/rcu.h"
#include "work/thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct grace_list {
	struct grace_item *first, **end;
};

struct grace {
	pthread_t thread;
	int event_fd;
	void *rcu_key;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;
	bool stop;
	struct grace_list waiting, done;
};

static void list_init(struct grace_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct grace_list *list, struct grace_item *item)
{
	item->next = NULL;
	*list->end = item;
	list->end = &item->next;
}

/* Moves all of `from` to the end of `to`. */
static void list_join(struct grace_list *to, struct grace_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	list_init(from);
}

static void *grace_main(void *opaque)
{
	struct grace *grace = opaque;
	struct grace_list batch;

	list_init(&batch);
	pthread_mutex_lock(&grace->lock);
	while (true) {
		while (!grace->waiting.first && !grace->stop)
			pthread_cond_wait(&grace->work, &grace->lock);
		if (!grace->waiting.first)
			break;
		list_join(&batch, &grace->waiting);
		pthread_mutex_unlock(&grace->lock);
		rcu_wait(grace->rcu_key);
		pthread_mutex_lock(&grace->lock);
		list_join(&grace->done, &batch);
		fd_event_raise(grace->event_fd);
	}
	pthread_mutex_unlock(&grace->lock);
	return NULL;
}

int grace_new(int event_fd, void *rcu_key, struct grace **ret_grace)
{
	struct grace *grace = calloc(1, sizeof(*grace));
	int err;

	if (!grace)
		return -ENOMEM;
	grace->event_fd = event_fd;
	grace->rcu_key = rcu_key;
	list_init(&grace->waiting);
	list_init(&grace->done);
	pthread_mutex_init(&grace->lock, NULL);
	pthread_cond_init(&grace->work, NULL);
	err = thread_start(&grace->thread, "grace", -1, grace_main, grace);
	if (err) {
		pthread_cond_destroy(&grace->work);
		pthread_mutex_destroy(&grace->lock);
		free(grace);
		return err;
	}
	*ret_grace = grace;
	return 0;
}

void grace_free(struct grace *grace)
{
	if (!grace)
		return;
	pthread_mutex_lock(&grace->lock);
	grace->stop = true;
	pthread_cond_signal(&grace->work);
	pthread_mutex_unlock(&grace->lock);
	pthread_join(grace->thread, NULL);
	grace_run(grace);
	pthread_cond_destroy(&grace->work);
	pthread_mutex_destroy(&grace->lock);
	free(grace);
}

void grace_defer(struct grace *grace, struct grace_item *item)
{
	pthread_mutex_lock(&grace->lock);
	list_add(&grace->waiting, item);
	pthread_cond_signal(&grace->work);
	pthread_mutex_unlock(&grace->lock);
}

void grace_run(struct grace *grace)
{
	struct grace_list batch;

	list_init(&batch);
	pthread_mutex_lock(&grace->lock);
	list_join(&batch, &grace->done);
	pthread_mutex_unlock(&grace->lock);
	while (batch.first) {
		struct grace_item *item = batch.first;

		batch.first = item->next;
		item->fn(item);
	}
}
