/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A map is filled by its maker alone and never changes once it has been returned, so readers need no lock;
 * what keeps it alive is their reference. Invariants of a finished map: regions are sorted by gpa, none is
 * empty, neither gpa nor uaddr ranges overlap or wrap round, every byte of every region was inside its file
 * when it was mapped, and each region holds one reference to its backing.
 *
 * No region reaches the last byte of the address space, so a range that is walked through neighbouring
 * regions can never run over the top to gpa 0.
 */
#include "mem/map.h"
#include "mem/backing.h"
#include "mem/budget.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Alignment that a driver gives its rings, and that must survive translation (virtio 1.3, 2.7 and 2.8). */
#define RING_ALIGN_MASK 15u

#define TIMES_MAX 1024u /* more than queue pairs that any front end has */

static struct map *map_alloc(unsigned room)
{
	struct map *map = calloc(1, sizeof(*map) + room * sizeof(map->regions[0]));

	if (map)
		map->refs = 1;
	return map;
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a - b < b_bytes || b - a < a_bytes;
}

static const char *spec_error(const struct map_spec *spec)
{
	uint64_t end;

	if (!spec->size_bytes)
		return "a region is empty";
	if (__builtin_add_overflow(spec->gpa, spec->size_bytes, &end))
		return "a region's guest address wraps round";
	if (__builtin_add_overflow(spec->uaddr, spec->size_bytes, &end))
		return "a region's user address wraps round";
	if (((spec->gpa ^ spec->mmap_offset) | (spec->uaddr ^ spec->mmap_offset)) & RING_ALIGN_MASK)
		return "a region's file offset is misaligned";
	return NULL;
}

static const char *clash_error(const struct map *map, const struct map_spec *spec)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct map_region *r = &map->regions[i];

		if (overlap(r->gpa, r->size_bytes, spec->gpa, spec->size_bytes))
			return "regions overlap in guest addresses";
		if (overlap(r->uaddr, r->size_bytes, spec->uaddr, spec->size_bytes))
			return "regions overlap in user addresses";
	}
	return NULL;
}

static bool matches(const struct map_region *r, const struct map_spec *spec)
{
	return r && r->gpa == spec->gpa && r->uaddr == spec->uaddr && r->size_bytes == spec->size_bytes;
}

/* False: `old` (may be NULL) has no such region. */
static bool backing_share(struct map_region *region, const struct map *old, const struct map_spec *spec, int fd,
			  enum backing_kind kind)
{
	const struct map_region *same = old ? map_find(old, spec->gpa) : NULL;

	if (!matches(same, spec) || !backing_is(same->backing, fd, spec->mmap_offset, spec->size_bytes, kind))
		return false;
	region->backing = backing_ref(same->backing);
	region->host = same->host;
	return true;
}

static uint64_t map_bytes(const struct map *map)
{
	uint64_t bytes = 0; /* they do not overlap in guest addresses, so the sum does not wrap */

	for (unsigned i = 0; i < map->count; i++)
		bytes += map->regions[i].size_bytes;
	return bytes;
}

/* Adds a region in its place; the map has room and is not yet anybody else's. */
static int insert(struct map *map, const struct map *old, const struct map_spec *spec, int fd, enum backing_kind kind,
		  const struct map_faults *faults, const char **why)
{
	struct map_region region = {
		.gpa = spec->gpa, .size_bytes = spec->size_bytes, .uaddr = spec->uaddr, .times = 1
	};
	const char *lie = spec_error(spec);
	unsigned at = map->count;
	int err = 0;

	if (!lie)
		lie = clash_error(map, spec);
	if (lie) {
		*why = lie;
		return -EINVAL;
	}
	err = mem_account_map_check(faults ? faults->account : NULL, map_bytes(map) + spec->size_bytes, why);
	if (!err && !backing_share(&region, old, spec, fd, kind))
		err = backing_new(fd, spec->mmap_offset, spec->size_bytes, kind, faults, &region.backing,
				  &region.host, why);
	if (err)
		return err;
	while (at && map->regions[at - 1].gpa > region.gpa)
		at--;
	memmove(&map->regions[at + 1], &map->regions[at], (map->count - at) * sizeof(region));
	map->regions[at] = region;
	map->count++;
	return 0;
}

static int map_make(const struct map *old, const struct map_spec *specs, const int *fds, const bool *read_only,
		    bool vouched, unsigned count, const struct map_faults *faults, struct map **ret_map,
		    const char **why)
{
	struct map *map;
	int err;

	if (count > MAP_REGIONS_MAX) {
		*why = "too many regions";
		return -E2BIG;
	}
	map = map_alloc(count);
	if (!map) {
		*why = "out of memory";
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		enum backing_kind kind = !vouched ? BACKING_FILE : read_only[i] ? BACKING_READ_ONLY : BACKING_VOUCHED;

		err = insert(map, old, &specs[i], fds[i], kind, faults, why);
		if (err) {
			map_unref(map);
			return err;
		}
	}
	*ret_map = map;
	return 0;
}

int map_new(const struct map *old, const struct map_spec *specs, const int *fds, unsigned count,
	    const struct map_faults *faults, struct map **ret_map, const char **why)
{
	return map_make(old, specs, fds, NULL, false, count, faults, ret_map, why);
}

int map_new_vouched(const struct map *old, const struct map_spec *specs, const int *fds, const bool *read_only,
		    unsigned count, const struct map_faults *faults, struct map **ret_map, const char **why)
{
	return map_make(old, specs, fds, read_only, true, count, faults, ret_map, why);
}

/* A map with all regions of `old` but `skip` (count or more: none), and room for some more. */
static struct map *map_copy(const struct map *old, unsigned skip, unsigned room_more)
{
	unsigned count = old ? old->count : 0;
	struct map *map = map_alloc(count + room_more);

	if (!map)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		if (i == skip)
			continue;
		map->regions[map->count] = old->regions[i];
		backing_ref(map->regions[map->count++].backing);
	}
	return map;
}

/* `old` with `step` (1 or -1) more times of its region `r`. */
static int map_again(const struct map *old, const struct map_region *r, int step, struct map **ret_map)
{
	struct map *map = map_copy(old, UINT32_MAX, 0);

	if (!map)
		return -ENOMEM;
	map->regions[r - old->regions].times += (unsigned)step;
	*ret_map = map;
	return 0;
}

int map_with(const struct map *old, const struct map_spec *spec, int fd, const struct map_faults *faults,
	     struct map **ret_map, const char **why)
{
	const struct map_region *same = old ? map_find(old, spec->gpa) : NULL;
	struct map *map;
	int err;

	if (matches(same, spec) && same->times < TIMES_MAX &&
	    backing_is(same->backing, fd, spec->mmap_offset, spec->size_bytes, BACKING_FILE)) {
		*why = "out of memory";
		return map_again(old, same, 1, ret_map);
	}
	if (old && old->count >= MAP_REGIONS_MAX) {
		*why = "too many regions";
		return -E2BIG;
	}
	map = map_copy(old, UINT32_MAX, 1);
	if (!map) {
		*why = "out of memory";
		return -ENOMEM;
	}
	err = insert(map, NULL, spec, fd, BACKING_FILE, faults, why);
	if (err) {
		map_unref(map);
		return err;
	}
	*ret_map = map;
	return 0;
}

int map_without(const struct map *old, const struct map_spec *spec, struct map **ret_map)
{
	const struct map_region *r = old ? map_find(old, spec->gpa) : NULL;
	struct map *map;

	if (!matches(r, spec))
		return -ENOENT;
	if (r->times > 1)
		return map_again(old, r, -1, ret_map);
	map = map_copy(old, (unsigned)(r - old->regions), 0);
	if (!map)
		return -ENOMEM;
	*ret_map = map;
	return 0;
}

struct map *map_ref(struct map *map)
{
	__atomic_fetch_add(&map->refs, 1, __ATOMIC_RELAXED);
	return map;
}

void map_unref(struct map *map)
{
	/* Release: my last access; acquire: everybody's, before the memory goes. */
	if (!map || __atomic_fetch_sub(&map->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	for (unsigned i = 0; i < map->count + map->limited; i++)
		backing_unref(map->regions[i].backing);
	free(map);
}

static const struct map_region *region_find(const struct map_region *regions, unsigned count, uint64_t gpa)
{
	unsigned low = 0, high = count;

	/* The last region that begins at or below gpa is low - 1. */
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (regions[middle].gpa <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || gpa - regions[low - 1].gpa >= regions[low - 1].size_bytes)
		return NULL;
	return &regions[low - 1];
}

const struct map_region *map_find(const struct map *map, uint64_t gpa)
{
	return region_find(map->regions, map->count, gpa);
}

/* The region of either kind that holds gpa, and permits `access` (0: everything). */
static const struct map_region *region_for(const struct map *map, uint64_t gpa, unsigned access)
{
	const struct map_region *r = map_find(map, gpa);

	if (r || !access)
		return r;
	r = region_find(map->regions + map->count, map->limited, gpa);
	return r && (r->access & access) == access ? r : NULL;
}

/* Views join neighbours: a region may be part of a larger one now, or of several. */
static bool region_kept(const struct map *map, const struct map_region *old, unsigned access)
{
	uint64_t into;

	for (uint64_t done = 0; done < old->size_bytes; done += into) {
		const struct map_region *r = region_for(map, old->gpa + done, access);

		if (!r)
			return false;
		into = old->gpa + done - r->gpa;
		if (r->host + into != old->host + done || r->uaddr + into != old->uaddr + done)
			return false;
		into = r->size_bytes - into;
	}
	return true;
}

bool map_keeps(const struct map *map, const struct map *old)
{
	for (unsigned i = 0; old && i < old->count + old->limited; i++)
		if (!map || !region_kept(map, &old->regions[i], i < old->count ? 0 : old->regions[i].access))
			return false;
	return true;
}

void *map_at(const struct map *map, struct map_cache *cache, uint64_t gpa, bool write, uint64_t *ret_usable)
{
	void *host = map_gpa(map, cache, gpa, ret_usable);
	const struct map_region *r;

	if (likely(host || !map->limited))
		return host;
	r = region_find(map->regions + map->count, map->limited, gpa);
	if (!r || !(r->access & (write ? MAP_WRITE : MAP_READ)))
		return NULL;
	*ret_usable = r->size_bytes - (gpa - r->gpa);
	return r->host + (gpa - r->gpa);
}

static bool region_shows(const struct map_region *region, uintptr_t host)
{
	return host - (uintptr_t)region->host < region->size_bytes;
}

bool map_host(const struct map *map, struct map_cache *cache, const void *host, uint64_t *ret_gpa, uint64_t *ret_usable)
{
	uintptr_t at = (uintptr_t)host;
	unsigned i = cache->last;
	uint64_t into;

	if (unlikely(i >= map->count || !region_shows(&map->regions[i], at)))
		for (i = 0; i < map->count && !region_shows(&map->regions[i], at); i++)
			;
	if (unlikely(i == map->count))
		return false;
	cache->last = i;
	into = at - (uintptr_t)map->regions[i].host;
	*ret_gpa = map->regions[i].gpa + into;
	*ret_usable = map->regions[i].size_bytes - into;
	return true;
}

void *map_uaddr(const struct map *map, uint64_t uaddr, uint64_t len_bytes)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct map_region *r = &map->regions[i];
		uint64_t offset = uaddr - r->uaddr;

		if (offset < r->size_bytes)
			return len_bytes <= r->size_bytes - offset ? r->host + offset : NULL;
	}
	return NULL;
}

int map_pieces(const struct map *map, struct map_cache *cache, uint64_t gpa, uint32_t len_bytes, bool write,
	       struct iovec *iov, unsigned iov_max)
{
	unsigned count = 0;

	while (len_bytes) {
		uint64_t usable;
		uint8_t *host = map_at(map, cache, gpa, write, &usable);
		uint32_t bytes;

		if (unlikely(!host))
			return -EFAULT;
		bytes = (uint32_t)min_u64(usable, len_bytes);
		if (unlikely(count && host == (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len)) {
			iov[count - 1].iov_len += bytes;
		} else {
			if (unlikely(count == iov_max))
				return -ENOBUFS;
			iov[count++] = (struct iovec){ .iov_base = host, .iov_len = bytes };
		}
		gpa += bytes;
		len_bytes -= bytes;
	}
	return (int)count;
}
