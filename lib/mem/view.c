/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/view.h"
#include "mem/backing.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define MAP_ALL (MAP_READ | MAP_WRITE)

/* Regions by user address, which is how windows name them. */
struct by_uaddr {
	const struct map_region **regions;
	unsigned count;
};

static int compare(const void *a, const void *b)
{
	const struct map_region *const *one = a, *const *other = b;

	return (*one)->uaddr < (*other)->uaddr ? -1 : (*one)->uaddr > (*other)->uaddr;
}

static int by_uaddr_make(const struct map *memory, struct by_uaddr *ret)
{
	ret->count = memory->count;
	ret->regions = calloc(memory->count + 1, sizeof(ret->regions[0]));
	if (!ret->regions)
		return -ENOMEM;
	for (unsigned i = 0; i < memory->count; i++)
		ret->regions[i] = &memory->regions[i];
	qsort(ret->regions, ret->count, sizeof(ret->regions[0]), compare);
	return 0;
}

static const struct map_region *region_of(const struct by_uaddr *memory, uint64_t uaddr)
{
	unsigned low = 0, high = memory->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (memory->regions[middle]->uaddr <= uaddr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || uaddr - memory->regions[low - 1]->uaddr >= memory->regions[low - 1]->size_bytes)
		return NULL;
	return memory->regions[low - 1];
}

/* The part of a window from done_bytes on that lies in one region of memory. False: in none. */
static bool part_of(const struct by_uaddr *memory, const struct map_window *window, uint64_t done_bytes,
		    struct map_region *ret)
{
	uint64_t uaddr = window->uaddr + done_bytes;
	const struct map_region *r = region_of(memory, uaddr);

	if (!r)
		return false;
	*ret = (struct map_region){
		.gpa = window->gpa + done_bytes,
		.uaddr = window->gpa + done_bytes,
		.size_bytes = min_u64(r->size_bytes - (uaddr - r->uaddr), window->size_bytes - done_bytes),
		.host = r->host + (uaddr - r->uaddr),
		.backing = r->backing,
		.times = 1,
		.access = window->access,
	};
	return true;
}

static bool joins(const struct map_region *last, const struct map_region *next)
{
	return last->backing == next->backing && last->access == next->access &&
	       last->gpa + last->size_bytes == next->gpa && last->host + last->size_bytes == next->host;
}

/* Behind those of `map` that are there already. `first`: with what may precede it. */
static void part_add(struct map *map, unsigned first, const struct map_region *part)
{
	unsigned count = map->count + map->limited;

	if (count > first && joins(&map->regions[count - 1], part)) {
		map->regions[count - 1].size_bytes += part->size_bytes;
		return;
	}
	backing_ref(part->backing);
	map->regions[count] = *part;
	if (part->access == MAP_ALL)
		map->count++;
	else
		map->limited++;
}

/* Of the windows that are limited, or of those that are not. */
static void parts_add(struct map *map, const struct by_uaddr *memory, const struct map_window *windows,
		      unsigned count, bool limited)
{
	unsigned first = map->count;
	struct map_region part;

	for (unsigned i = 0; i < count; i++) {
		if ((windows[i].access != MAP_ALL) != limited)
			continue;
		for (uint64_t done = 0; done < windows[i].size_bytes; done += part.size_bytes) {
			bool there = part_of(memory, &windows[i], done, &part);

			assert(there); /* as it was when they were counted */
			(void)there;
			part_add(map, first, &part);
		}
	}
}

/* How many parts all windows have at most. -EFAULT (*ret_bad is not in memory), -E2BIG. */
static int parts_count(const struct by_uaddr *memory, const struct map_window *windows, unsigned count,
		       unsigned *ret_parts, unsigned *ret_bad)
{
	struct map_region part;
	unsigned parts = 0;

	for (unsigned i = 0; i < count; i++)
		for (uint64_t done = 0; done < windows[i].size_bytes; done += part.size_bytes) {
			if (!part_of(memory, &windows[i], done, &part)) {
				*ret_bad = i;
				return -EFAULT;
			}
			if (++parts > MAP_VIEW_PARTS_MAX)
				return -E2BIG;
		}
	*ret_parts = parts;
	return 0;
}

int map_view(const struct map *memory, const struct map_window *windows, unsigned count, struct map **ret_map,
	     unsigned *ret_bad)
{
	struct by_uaddr by_uaddr;
	struct map *map = NULL;
	unsigned parts, bad;
	int r = by_uaddr_make(memory, &by_uaddr);

	if (r)
		return r;
	r = parts_count(&by_uaddr, windows, count, &parts, ret_bad ? ret_bad : &bad);
	if (!r)
		map = calloc(1, sizeof(*map) + parts * sizeof(map->regions[0]));
	if (!r && !map)
		r = -ENOMEM;
	if (!r) {
		map->refs = 1;
		parts_add(map, &by_uaddr, windows, count, false);
		parts_add(map, &by_uaddr, windows, count, true);
		*ret_map = map;
	}
	free(by_uaddr.regions);
	return r;
}
