/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include "vireo/memory.h"
#include <errno.h>
#include <string.h>

/* The memory table for the application: a map, with a reference of its own. */

static struct map *map_of(const struct vireo_memory_table *table)
{
	return (struct map *)(uintptr_t)table;
}

int vireo_device_memory_table(const struct vireo_device *device, const struct vireo_memory_table **ret_table)
{
	if (!device->map)
		return -ENOENT;
	*ret_table = (const struct vireo_memory_table *)map_ref(device->map);
	return 0;
}

void vireo_memory_table_free(const struct vireo_memory_table *table)
{
	map_unref(map_of(table));
}

unsigned vireo_memory_table_count(const struct vireo_memory_table *table)
{
	return map_of(table)->count;
}

bool vireo_memory_table_region(const struct vireo_memory_table *table, unsigned index, struct vireo_memory_region *ret_region)
{
	const struct map *map = map_of(table);
	struct vireo_memory_region region = { .size = sizeof(region) };

	if (index >= map->count)
		return false;
	region.guest_address = map->regions[index].gpa;
	region.peer_address = map->regions[index].uaddr;
	region.bytes = map->regions[index].size_bytes;
	region.host = map->regions[index].host;
	region.size = min_u64(region.size, ret_region->size);
	memcpy(ret_region, &region, region.size);
	return true;
}

void *vireo_memory_table_at(const struct vireo_memory_table *table, uint64_t guest_address, uint64_t bytes)
{
	const struct map_region *r = map_find(map_of(table), guest_address);

	return r && bytes && bytes <= r->size_bytes - (guest_address - r->gpa) ? r->host + (guest_address - r->gpa) : NULL;
}

bool device_memory_has(const struct vireo_device *device, const void *at, uint64_t bytes)
{
	struct map_cache cache = { 0 };
	uint64_t gpa, usable;

	return device->map && map_host(device->map, &cache, at, &gpa, &usable) && bytes <= usable;
}

void vireo_device_memory_max_set(struct vireo_device *device, uint64_t memory_max_bytes)
{
	mem_account_max_set(device->account, memory_max_bytes);
}
