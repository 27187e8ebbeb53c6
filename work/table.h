/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_TABLE_H
#define WORK_TABLE_H

/*
 * Which sources there are at one moment, by worker. Part of what its owner publishes (a switch's topology), immutable but
 * for `active`. A worker takes the published one at the top of its round and keeps it for the round; it may be freed
 * a grace period after its successor was published.
 */

#include "work/grace.h"
#include <stdint.h>

struct source;

struct work_list {
	uint32_t slot_count;
	struct source **slots;  /* NULL: empty */
	struct source **active; /* room for as many: the worker's scratch */
};

struct work_table {
	uint64_t version; /* each table has another one, and none has 0 */
	struct work_list *lists; /* by the worker's index */
	struct grace_item gone; /* fn, of its owner: no worker has it any more */
};

/* Control thread. Workers go by `table` from their next round on; the one before, if any, has gone a grace period later. */
static inline void work_table_publish(struct work_table **published, struct work_table *table, struct grace *grace)
{
	struct work_table *old = *published;

	/* Pairs with the acquire in worker.c (round_begin). */
	__atomic_store_n(published, table, __ATOMIC_RELEASE);
	if (old)
		grace_defer(grace, &old->gone);
}

#endif
