/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_MAP_H
#define MEM_MAP_H

/*
 * Guest memory. A map is a sorted, immutable, refcounted table of regions; a new memory table is a new map that
 * shares the backings (mmaps) of the regions it kept. Any thread may translate through a map it holds
 * a reference to; maps are made in the control thread.
 */

#include "base/util.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct drop;
struct fault_owner;
struct map_backing;
struct mem_account;
struct vireo_fault_table;

#define MAP_REGIONS_MAX 509u /* what QEMU uses at most: KVM's 512 slots less three */

/* A region as the front end describes it. */
struct map_spec {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uaddr;       /* where the front end itself has mapped it */
	uint64_t mmap_offset; /* in the file */
};

/* What a driver behind an IOMMU permits. */
#define MAP_READ 1u
#define MAP_WRITE 2u

struct map_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uaddr;
	uint8_t *host; /* where this process sees gpa */
	struct map_backing *backing;
	unsigned times; /* it was added so often, and is there until it has been removed as often */
	unsigned access; /* of `limited` ones: MAP_READ or MAP_WRITE */
};

struct map {
	unsigned refs; /* atomic */
	unsigned count;
	/*
	 * Further regions, behind the others, that may only be read or only be written. What looks for a
	 * region without saying what for does not see them, and so the fast ways through a map need not ask.
	 */
	unsigned limited;
	struct map_region regions[]; /* both kinds by gpa */
};

/*
 * Last-hit cache: the reader's own, one per queue. Zero-initialised; holds a region's index of the map it is
 * used with (a stale index is harmless: it is checked against the map every time).
 */
struct map_cache {
	unsigned last;
};

/*
 * Who is told when memory turns out to be gone, an eventfd that is raised in the SIGBUS handler; and what else holds for all of a
 * device's memory.
 */
struct map_faults {
	struct vireo_fault_table *table; /* or NULL */
	int event_fd;
	unsigned *faulted; /* set to `session` before the eventfd is raised; outlives every map made with it */
	unsigned session; /* of the device, from 1 on: whose memory it is */
	struct drop *drop; /* where mappings are let go of; or NULL */
	bool keep; /* their fds are kept, for a successor: backing_file() */
	bool disks; /* files on a disk are taken, too: whoever touches their pages may wait for it */
	struct mem_account *account; /* what is mapped is held against it; or NULL */
	struct late *late; /* what is mapped from now on has pages that come late (mem/late.h); or NULL */
};

/*
 * A map with the `count` regions of `specs`, fds[i] the file of region i (borrowed), with the mmaps of `old` (may be NULL)
 * for those that are as they were. `why` gets a string that says what was wrong, and lives as long as faults->account. -EINVAL: zero size, wrap-around, overlap of gpa or of uaddr, offset + size
 * beyond the file, misaligned offset (gpa, uaddr and mmap_offset differ modulo 16; it may lie inside a page), an
 * fd that is not a file of memory (memfd, tmpfs, hugetlbfs, ramfs; where faults->disks permits it, on a disk's file
 * system: see mem/kind.h). -E2BIG: too many. -ENOMEM (also: the fault table is full, the
 * account has no more), or mmap's errno.
 */
int map_new(const struct map *old, const struct map_spec *specs, const int *fds, unsigned count, const struct map_faults *faults,
	    struct map **ret_map, const char **why);

/*
 * As map_new(), where the kernel vouches for the regions. An fd that is no file at all is memory of the kernel's own, and as long as the region; all
 * such fds, of both maps, are of one device. What read_only[i] says may not be written is mapped privately: it is read where it lies,
 * and what a lying driver lets us write to it goes nowhere.
 */
int map_new_vouched(const struct map *old, const struct map_spec *specs, const int *fds, const bool *read_only, unsigned count,
		    const struct map_faults *faults, struct map **ret_map, const char **why);

/*
 * `old` (may be NULL: empty) with one region more. Errors as map_new(); -E2BIG beyond MAP_REGIONS_MAX. The very region
 * that is there already (same addresses, size, file and offset) may be added again: QEMU before 8.0 adds and
 * removes each region once per queue pair.
 */
int map_with(const struct map *old, const struct map_spec *spec, int fd, const struct map_faults *faults,
	     struct map **ret_map, const char **why);

/* `old` less (one time) the region that matches spec's gpa, uaddr and size; the offset is ignored. -ENOENT. */
int map_without(const struct map *old, const struct map_spec *spec, struct map **ret_map);

/*
 * Does `map` show all that `old` (NULL: nothing) shows, where that does, and permit as much? What has been found by `old` then
 * holds as long as `map` does.
 */
bool map_keeps(const struct map *map, const struct map *old);

struct map *map_ref(struct map *map);
void map_unref(struct map *map); /* takes NULL; any thread; unmaps what nobody else holds */

/* The slow half of map_gpa(): binary search. NULL: no region holds gpa that may be both read and written. */
const struct map_region *map_find(const struct map *map, uint64_t gpa);

/*
 * Where this process sees gpa, and how many bytes from there on lie in the same region (at least 1,
 * in *ret_usable). NULL: nowhere. A range that is longer goes on at gpa + *ret_usable, in another region or none.
 */
static inline void *map_gpa(const struct map *map, struct map_cache *cache, uint64_t gpa, uint64_t *ret_usable)
{
	unsigned last = cache->last; /* maybe of another map, and beyond this one's end */
	const struct map_region *r;

	if (likely(last < map->count && gpa - map->regions[last].gpa < map->regions[last].size_bytes)) {
		r = &map->regions[last];
	} else {
		r = map_find(map, gpa);
		if (!r)
			return NULL;
		cache->last = (unsigned)(r - map->regions);
	}
	*ret_usable = r->size_bytes - (gpa - r->gpa);
	return r->host + (gpa - r->gpa);
}

/* The same, and among limited regions too: may it be read (or written)? */
void *map_at(const struct map *map, struct map_cache *cache, uint64_t gpa, bool write, uint64_t *ret_usable);

/* The way back: what guest address is seen at `host`, and how many bytes from there on lie in the same region. False: none. */
bool map_host(const struct map *map, struct map_cache *cache, const void *host, uint64_t *ret_gpa, uint64_t *ret_usable);

/* Where the front end's address `uaddr` is seen here, if all of len_bytes lies in one region; else NULL. */
void *map_uaddr(const struct map *map, uint64_t uaddr, uint64_t len_bytes);

/*
 * Lays the range into iov (at most iov_max pieces). Returns the number of pieces, -EFAULT: part of it
 * is not guest memory, or may not be read (or written), -ENOBUFS: more pieces than iov_max.
 */
int map_pieces(const struct map *map, struct map_cache *cache, uint64_t gpa, uint32_t len_bytes, bool write,
	       struct iovec *iov, unsigned iov_max);

#endif
