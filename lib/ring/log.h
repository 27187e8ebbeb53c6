/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_LOG_H
#define RING_LOG_H

/* What a ring tells a dirty log, see log.c. Immutable once it has been offered to a ring: a change is another one. */

#include "mem/dirty.h"
#include "mem/map.h"

/* Where an area of the ring is logged: page by page, as what is one for the driver need not be one in guest memory. */
struct ring_log_area {
	uint64_t into; /* its first page, where it begins */
	unsigned pages;
	uint64_t *gpas; /* of each page, from malloc(); all that the area has of it is covered by the log */
};

struct ring_log {
	struct dirty_log *dirty; /* NULL: logging ends */
	struct map *memory; /* by guest physical addresses; has all that the ring's maps show */
	struct ring_log_area desc, device; /* empty: not logged. `desc`: of packed rings, whose devices write there */
};

/* Refers to `dirty` and `memory`; no areas yet. Freed when no ring uses it. NULL: no memory. `dirty` NULL: `memory` is not looked at. */
struct ring_log *ring_log_new(struct dirty_log *dirty, struct map *memory);
void ring_log_free(struct ring_log *log); /* and the areas; takes NULL */

/* Room for `bytes` from `start` on, of pages that are still to be told. -ENOMEM. */
int ring_log_area_new(struct ring_log_area *area, uint64_t start, uint64_t bytes);

#endif
