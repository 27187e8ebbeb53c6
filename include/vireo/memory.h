/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_MEMORY_H
#define VIREO_MEMORY_H

#include "base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a program has for the memory of its devices' peers, and shares out among them: address space,
 * mappings (vm.max_map_count), and memory itself. One that takes too much is refused, and there is enough left for the others, however many
 * they are: each may have an equal part of half of it, and more than that as long as it has no more than half of what
 * the others have left.
 *
 * The program makes one and names it in each device's config. Without it a device takes what it is told to.
 *
 * Memory itself: a page of a peer's file that nobody has touched is made by who touches it first, and charged to that
 * process (its memory cgroup). Where the device has a fault table as well (fault.h), such pages raise SIGBUS here, and
 * vireo_fault_handle() makes them up to the peer's share; who wants more is broken. A page counts for as long as it may be there, beyond
 * the session, too: the peer may keep its file. Only memfd and tmpfs are held against it, and only where the kernel has
 * userfaultfd(2) to offer. A system call to which the program gives such a page fails with EFAULT: then call
 * vireo_memory_touch(), and repeat it.
 */
struct vireo_memory;

/* All may be 0: found out. */
struct vireo_memory_config {
	size_t size;
	uint64_t address_bytes; /* to be shared out; 0: two thirds of RLIMIT_AS or of what a process can address */
	unsigned mappings;	/* to be shared out; 0: two thirds of vm.max_map_count */
	/*
	 * To be made in peers' files; 0: a quarter of the smallest limit of the process's memory cgroups, or of the machine's
	 * memory, looked at again for each session. All address space, if that is 0, is 512 times this then: its page
	 * tables take no more than once this again.
	 */
	uint64_t made_bytes;
};

/* config may be NULL. Any thread. -ENOMEM. */
VIREO_API int vireo_memory_new(const struct vireo_memory_config *config, struct vireo_memory **ret_memory);

/* Takes NULL. No device uses it any more (what is still being let go of aside has a reference of its own). */
VIREO_API void vireo_memory_free(struct vireo_memory *memory);

/* 0, or why pages that nobody has touched are not held against anybody: a negative errno of userfaultfd(2). */
VIREO_API int vireo_memory_watch_error(const struct vireo_memory *memory);

struct iovec;

/* Looks at each page of these pieces of guest memory. Any thread. */
VIREO_API void vireo_memory_touch(const struct iovec *iov, unsigned count);

/*
 * The peer's memory table, for a device type that needs more of guest memory than the pieces of chains: to tell a card of it, for
 * example. A table never changes, and its memory stays mapped until it is given back, whatever the peer takes away
 * meanwhile; ask for another one in ops->memory_changed. Guest memory is input, here as everywhere. Memory that may only be
 * read, or only be written (an IOMMU's), is not in it.
 */
struct vireo_device;
struct vireo_memory_table;

struct vireo_memory_region {
	size_t size; /* the caller's; afterwards of what was filled in */
	uint64_t guest_address;
	uint64_t peer_address; /* where the peer has mapped it: ring addresses of vhost-user are such */
	uint64_t bytes;
	void *host; /* where this process sees it */
};

/* Control thread. -ENOENT: the peer has not told of memory. Give it back before the device is freed. */
VIREO_API int vireo_device_memory_table(const struct vireo_device *device, const struct vireo_memory_table **ret_table);
/* Any thread, as all below. Takes NULL. May unmap, which waits for whoever owns the file: see close_aside in endpoint.h. */
VIREO_API void vireo_memory_table_free(const struct vireo_memory_table *table);
VIREO_API unsigned vireo_memory_table_count(const struct vireo_memory_table *table);
/* Regions are in the order of guest addresses. False: there is none with this index. */
VIREO_API bool vireo_memory_table_region(const struct vireo_memory_table *table, unsigned index,
					 struct vireo_memory_region *ret_region);
/* Where this process sees all of these bytes. NULL: they do not lie in one region. */
VIREO_API void *vireo_memory_table_at(const struct vireo_memory_table *table, uint64_t guest_address, uint64_t bytes);

/* What a device's peer has of it at this moment. */
struct vireo_memory_use {
	uint64_t mapped_bytes; /* guest memory that is mapped, each area as often as it is */
	uint64_t mapped_max_bytes; /* it may be so much; UINT64_MAX: as much as there is room for */
	unsigned mappings;
	unsigned mappings_max; /* UINT_MAX: as many as the system permits */
	uint64_t made_bytes; /* pages that were made here, in all sessions, less what is known to be gone */
	uint64_t made_max_bytes; /* UINT64_MAX: they are not counted */
};

#ifdef __cplusplus
}
#endif
#endif
