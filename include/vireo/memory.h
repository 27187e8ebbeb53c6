/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_MEMORY_H
#define VIREO_MEMORY_H

#include "base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A program's budget for the memory of its devices' peers: address space, mappings (vm.max_map_count), and pages. The budget is
 * shared out. Half of it is divided equally: each peer may have that part. A peer may have more, as long as it has no
 * more than half of what the others have left. A request beyond that is refused, and the other peers keep what they need.
 *
 * The program makes one budget and names it in each device's config. A device without a budget maps whatever its peer tells it to.
 *
 * Pages. The process that first touches a page of a peer's file makes that page, and the kernel charges it to that process's
 * memory cgroup. If the device has a fault table as well (fault.h), an access of ours to such a page raises SIGBUS.
 * vireo_fault_handle() makes the page if the peer's share allows it, and breaks the device otherwise. A page counts for
 * as long as it may exist, beyond the session, too, since the peer may keep its file. Pages are counted in memfd and tmpfs
 * files only, and only where the kernel offers userfaultfd(2). A system call that is given such a page fails
 * with EFAULT: call vireo_memory_touch(), then repeat the system call.
 */
struct vireo_memory;

/* A field that is 0 is found out from the system. */
struct vireo_memory_config {
	size_t size;
	uint64_t address_bytes; /* address space; 0: two thirds of RLIMIT_AS or of what a process can address */
	unsigned mappings;	/* 0: two thirds of vm.max_map_count */
	/*
	 * Pages that may be made in peers' files. 0: a quarter of the smallest limit of the process's memory cgroups, or of the
	 * machine's memory; it is read again for each session. If address_bytes is 0, address space is limited to 512 times
	 * this value as well, so that page tables take no more memory than this value once more.
	 */
	uint64_t made_bytes;
};

/* Makes a budget. `config` may be NULL. Any thread. -ENOMEM. */
VIREO_API int vireo_memory_new(const struct vireo_memory_config *config, struct vireo_memory **ret_memory);

/*
 * Frees the budget; does nothing for NULL. No device may use it any more. A helper thread that still unmaps memory has a reference
 * of its own.
 */
VIREO_API void vireo_memory_free(struct vireo_memory *memory);

/* Returns 0 if pages are counted, or the negative errno of userfaultfd(2) that says why they are not. Any thread. */
VIREO_API int vireo_memory_watch_error(const struct vireo_memory *memory);

struct iovec;

/* Reads one byte of each page of these pieces of guest memory, so that the pages exist. Any thread. */
VIREO_API void vireo_memory_touch(const struct iovec *iov, unsigned count);

/*
 * The peer's memory table, for a device type that needs more of guest memory than the pieces of chains: it registers that memory
 * with a card, for example. A table never changes. Its memory stays mapped until the table is freed, whatever the peer unmaps
 * meanwhile; ask for another table in ops->memory_changed. The guest may change its memory at any moment, here as everywhere. A
 * table leaves out memory that may only be read, or only be written (an IOMMU's).
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

/*
 * Returns the peer's memory table. Control thread. -ENOENT: the peer has not sent one yet, wait for ops->memory_changed. Free the
 * table before the device. The table may outlive the peer's session: if that peer truncates its file later, the table's memory
 * reads as zeroes (fault.h), and no session of another peer ends for it. Until it is freed it uses its part of the device's budget.
 */
VIREO_API int vireo_device_memory_table(const struct vireo_device *device, const struct vireo_memory_table **ret_table);
/*
 * Frees a table; does nothing for NULL. Any thread, as all below. The call may unmap memory, and then waits for the server of the
 * file that the memory lies in: see close_aside in endpoint.h.
 */
VIREO_API void vireo_memory_table_free(const struct vireo_memory_table *table);
VIREO_API unsigned vireo_memory_table_count(const struct vireo_memory_table *table); /* regions of the table */
/* Fills in one region. Regions are in the order of guest addresses. False: there is none with this index. */
VIREO_API bool vireo_memory_table_region(const struct vireo_memory_table *table, unsigned index,
					 struct vireo_memory_region *ret_region);
/* Returns where this process sees all of these bytes. NULL: they do not lie in one region. */
VIREO_API void *vireo_memory_table_at(const struct vireo_memory_table *table, uint64_t guest_address, uint64_t bytes);

/* What a device's peer has of the budget at this moment: vireo_device_memory_use() fills it in. */
struct vireo_memory_use {
	uint64_t mapped_bytes; /* guest memory that is mapped; an area that is mapped twice counts twice */
	uint64_t mapped_max_bytes; /* the peer's limit; UINT64_MAX: none but the room that there is */
	unsigned mappings;
	unsigned mappings_max; /* the peer's limit; UINT_MAX: the system's */
	uint64_t made_bytes; /* pages that this process has made, in all sessions, less those that are known not to exist any more */
	uint64_t made_max_bytes; /* the peer's limit; UINT64_MAX: pages are not counted */
};

#ifdef __cplusplus
}
#endif
#endif
