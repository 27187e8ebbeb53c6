/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_STITCH_H
#define MEM_STITCH_H

#include "mem/map.h"

/*
 * Guest memory that the driver has in one piece, and we have not: behind an IOMMU a ring's pages are
 * neighbours in the driver's addresses alone. A stitch maps them once more, one behind the other.
 */
struct map_stitch;

/*
 * From gpa on, where the map's pieces have to meet at boundaries of pages. faults may be NULL. -EFAULT: not
 * all of it is in the map, for this; -EINVAL: pieces of less than a page, or of pages that cannot be mapped
 * apart (hugetlbfs); -ENOMEM.
 */
int map_stitch_new(const struct map *map, uint64_t gpa, uint64_t bytes, bool write,
		   const struct map_faults *faults, struct map_stitch **ret_stitch);
void *map_stitch_host(const struct map_stitch *stitch); /* where gpa is seen */
void map_stitch_free(struct map_stitch *stitch); /* takes NULL */

#endif
