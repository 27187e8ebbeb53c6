/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_MEMORY_H
#define VIREO_MEMORY_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a program has for the memory of its devices' peers, and shares out among them: address space, and
 * mappings (vm.max_map_count). One that takes too much is refused, and there is enough left for the others, however many
 * they are: each may have an equal part of half of it, and more than that as long as it has no more than half of what
 * the others have left.
 *
 * The program makes one and names it in each device's config. Without it a device takes what it is told to.
 */
struct vireo_memory;

/* All may be 0: found out. */
struct vireo_memory_config {
	size_t size;
	uint64_t address_bytes; /* to be shared out; 0: two thirds of RLIMIT_AS or of what a process can address */
	unsigned mappings;	/* to be shared out; 0: two thirds of vm.max_map_count */
};

/* config may be NULL. Any thread. -ENOMEM. */
VIREO_API int vireo_memory_new(const struct vireo_memory_config *config, struct vireo_memory **ret_memory);

/* Takes NULL. No device uses it any more (what is still being let go of aside has a reference of its own). */
VIREO_API void vireo_memory_free(struct vireo_memory *memory);

/* What a device's peer has of it at this moment. */
struct vireo_memory_use {
	uint64_t mapped_bytes; /* guest memory that is mapped, each area as often as it is */
	uint64_t mapped_max_bytes; /* it may be so much; UINT64_MAX: as much as there is room for */
	unsigned mappings;
	unsigned mappings_max; /* UINT_MAX: as many as the system permits */
};

#ifdef __cplusplus
}
#endif
#endif
