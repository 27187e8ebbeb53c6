/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_DONE_H
#define DISK_DONE_H

/*
 * Requests that other threads have done for a queue's. They are pushed onto a list that is only ever taken as a whole, so
 * that no lock is needed; the fd is raised only if the queue's thread has said that it sleeps, by whoever finds that first.
 */

#include "base/fd.h"
#include "disk/disk.h"

struct done_list {
	int fd; /* borrowed */
	/* Any thread (atomic). */
	struct disk_request *first;
	bool armed;
};

/* Any thread. */
static inline void done_push(struct done_list *list, struct disk_request *r)
{
	struct disk_request *head = __atomic_load_n(&list->first, __ATOMIC_RELAXED);

	do
		r->next = head;
	while (!__atomic_compare_exchange_n(&list->first, &head, r, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	/* Seen before the push was: the queue's thread has looked at the list after it said that it sleeps. */
	if (__atomic_load_n(&list->armed, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&list->armed, false, __ATOMIC_SEQ_CST))
		fd_event_raise(list->fd);
}

/* The queue's thread: all of them, linked by `next`; NULL: none. */
static inline struct disk_request *done_take(struct done_list *list)
{
	if (!__atomic_load_n(&list->first, __ATOMIC_RELAXED))
		return NULL;
	return __atomic_exchange_n(&list->first, NULL, __ATOMIC_ACQUIRE);
}

/* The queue's thread: as disk_queue_arm(). */
static inline bool done_arm(struct done_list *list, bool on)
{
	__atomic_store_n(&list->armed, on, __ATOMIC_SEQ_CST);
	return on && __atomic_load_n(&list->first, __ATOMIC_SEQ_CST);
}

#endif
