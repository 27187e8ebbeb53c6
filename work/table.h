/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_TABLE_H
#define WORK_TABLE_H

/*
 * Which sources there are at one moment, by worker. Part of what its owner publishes (a switch's topology), immutable but
 * for `active`. A worker takes the published one at the top of its round and keeps it for the round; it may be freed
 * a grace period after its successor was published.
 */

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
};

#endif
