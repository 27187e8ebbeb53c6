/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_GRACE_H
#define WORK_GRACE_H

/*
 * Things to do once no worker can see an object any more. See grace.c. Control thread, all of it.
 */

struct grace;

/* Part of the object that is to go; nothing is allocated on the way out. */
struct grace_item {
	struct grace_item *next;
	void (*fn)(struct grace_item *item); /* control thread */
};

/* event_fd (borrowed) is raised when grace_run() has something to do. rcu_key: see rcu.h. */
int grace_new(int event_fd, void *rcu_key, struct grace **ret_grace);
/* Waits for the last grace period and runs what is left. Takes NULL. */
void grace_free(struct grace *grace);

/* Runs item->fn after every worker has been quiet: in the order of the calls. */
void grace_defer(struct grace *grace, struct grace_item *item);
void grace_run(struct grace *grace);

#endif
