/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Translation: in any map that the invariants of mem/map.c permit, what is found for an address lies inside the region that holds
 * it. And the invariants are what is checked before a region is put in.
 * Bounds: FIND_REGIONS regions where one is looked for, REGIONS of either kind elsewhere; any address, any length.
 */

#include "prove.h"
#include "mem/map.c"

#define REGIONS 2u
#define FIND_REGIONS 5u

/* Sorted, apart, none empty, none up to the last byte. */
static void assume_sorted(const struct map_region *regions, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		assume(regions[i].size_bytes && regions[i].gpa <= UINT64_MAX - regions[i].size_bytes);
		assume(regions[i].uaddr <= UINT64_MAX - regions[i].size_bytes);
		assume(i == from || regions[i - 1].gpa + regions[i - 1].size_bytes <= regions[i].gpa);
	}
}

/* Each region is an object of its own, as long as it says. */
static struct map *any_map(bool limited)
{
	struct map *map = any_bytes(sizeof(*map) + REGIONS * sizeof(map->regions[0]));

	map->refs = 1;
	map->count = nondet_u32();
	map->limited = limited ? nondet_u32() : 0;
	assume(map->count <= REGIONS && map->limited <= REGIONS - map->count);
	for (unsigned i = 0; i < REGIONS; i++) {
		uint64_t bytes = nondet_u64();

		assume(bytes <= UINT64_C(1) << 40);
		map->regions[i].size_bytes = bytes;
		map->regions[i].host = any_bytes(bytes);
	}
	assume_sorted(map->regions, 0, map->count);
	assume_sorted(map->regions, map->count, map->count + map->limited);
	return map;
}

void prove_map_find(void)
{
	static struct map_region regions[FIND_REGIONS];
	uint64_t gpa = nondet_u64();
	unsigned count = nondet_u32();
	const struct map_region *r;

	assume(count <= FIND_REGIONS);
	for (unsigned i = 0; i < FIND_REGIONS; i++) {
		regions[i].gpa = nondet_u64();
		regions[i].size_bytes = nondet_u64();
	}
	assume_sorted(regions, 0, count);
	r = region_find(regions, count, gpa);
	assert(!r || (r >= regions && r < regions + count && gpa >= r->gpa && gpa - r->gpa < r->size_bytes));
	for (unsigned i = 0; i < count; i++)
		assert(r || gpa - regions[i].gpa >= regions[i].size_bytes);
}

/* The cache may hold anything. */
void prove_map_at(void)
{
	struct map *map = any_map(true);
	struct map_cache cache = { nondet_u32() };
	uint64_t usable = 0;
	uint8_t *host = map_at(map, &cache, nondet_u64(), nondet_bool(), &usable);

	if (host)
		assert(usable && __CPROVER_rw_ok(host, usable));
}

void prove_map_uaddr(void)
{
	struct map *map = any_map(false);
	uint64_t bytes = nondet_u64();
	uint8_t *host = map_uaddr(map, nondet_u64(), bytes);

	if (host)
		assert(__CPROVER_rw_ok(host, bytes));
}

void prove_map_host(void)
{
	struct map *map = any_map(false);
	struct map_cache cache = { nondet_u32() };
	uint64_t gpa = nondet_u64(), usable = 0, there = 0, left = 0;
	uint8_t *host = map_gpa(map, &cache, gpa, &usable);

	if (!host)
		return;
	cache.last = nondet_u32();
	assert(map_host(map, &cache, host, &there, &left) && left == usable && there == gpa);
}

/* What spec_error() and clash_error() let through may be put in: the invariants hold afterwards. */
void prove_map_insert_checks(void)
{
	struct map *map = any_map(false);
	const struct map_spec spec = { nondet_u64(), nondet_u64(), nondet_u64(), nondet_u64() };

	if (spec_error(&spec) || clash_error(map, &spec))
		return;
	assert(spec.size_bytes && spec.gpa <= UINT64_MAX - spec.size_bytes && spec.uaddr <= UINT64_MAX - spec.size_bytes);
	for (unsigned i = 0; i < map->count; i++) {
		const struct map_region *r = &map->regions[i];

		assert(spec.gpa + spec.size_bytes <= r->gpa || r->gpa + r->size_bytes <= spec.gpa);
		assert(spec.uaddr + spec.size_bytes <= r->uaddr || r->uaddr + r->size_bytes <= spec.uaddr);
	}
}
