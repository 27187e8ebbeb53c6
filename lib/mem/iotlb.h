/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_IOTLB_H
#define MEM_IOTLB_H

/*
 * What a guest's IOMMU lets a device see, as far as it has been told: a table of windows, and the map that they make of the
 * front end's memory. No fd, no device, no transport.
 */

#include "mem/view.h"
#include <stdbool.h>
#include <stdint.h>

#define IOTLB_WINDOWS_MAX 2048u /* as many as the kernel's vhost keeps; then the oldest goes */

/* All zero in the beginning. */
struct iotlb {
	unsigned count;
	uint64_t made; /* windows so far */
	struct map_window windows[IOTLB_WINDOWS_MAX]; /* by gpa, which is the IOVA; none overlap */
	uint64_t numbers[IOTLB_WINDOWS_MAX]; /* beside them: `made` at their making */
};

/* A window, which is not empty and does not wrap round, takes the place of all that it overlaps. */
void iotlb_update(struct iotlb *iotlb, const struct map_window *window);
void iotlb_forget_oldest(struct iotlb *iotlb); /* there is one */
/* Forgets windows that overlap the range, whole. iova 0, size 0: all there are. */
void iotlb_invalidate(struct iotlb *iotlb, uint64_t iova, uint64_t size_bytes);

bool iotlb_touches(const struct iotlb *iotlb, uint64_t iova, uint64_t size_bytes); /* the same would forget some */

void iotlb_copy(struct iotlb *to, const struct iotlb *from);

/*
 * `memory` as it is seen through all windows: see map_view(). If that has too many parts, the oldest windows are forgotten. If one
 * of them lies outside `memory`, which is then another one than they were made for, all are. -ENOMEM.
 */
int iotlb_view(struct iotlb *iotlb, const struct map *memory, struct map **ret_map);

#endif
