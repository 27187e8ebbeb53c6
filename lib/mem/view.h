/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_VIEW_H
#define MEM_VIEW_H

#include "mem/map.h"

/*
 * So many regions has a view at most. What they are made of is the front end's to say: each window may lie in
 * as many as there are.
 */
#define MAP_VIEW_PARTS_MAX 4096u

/* A stretch of a driver's addresses (IOVAs) behind an IOMMU, and where the front end itself has it. */
struct map_window {
	uint64_t gpa, uaddr, size_bytes;
	unsigned access; /* MAP_READ, MAP_WRITE: what the driver permits */
};

/*
 * `memory` as it is seen through `windows` (by gpa, none overlap or wrap round): a map whose guest addresses
 * and user addresses are both those of the windows, which shares the backings of `memory`. Windows that go on
 * where the one before ends, here and there, become one region; those without both permissions are limited.
 * *ret_bad (if not NULL) is the index of a window that is not all in `memory` when that is what -EFAULT
 * means. -E2BIG: more parts than MAP_VIEW_PARTS_MAX. -ENOMEM.
 */
int map_view(const struct map *memory, const struct map_window *windows, unsigned count, struct map **ret_map,
	     unsigned *ret_bad);

#endif
