/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring_test_driver.h"
#include <pthread.h>
#include <sched.h>

/* Memory that grows under a ring that is used: each map has one region more, and chains lie in the newest. */

#define STEP_BYTES 0x1000u
#define MORE_BASE UINT64_C(0x1000000)
#define STEPS 200u
#define SPINS 256u /* then the other thread gets its turn: there may be one CPU */

/* `old` and a region more, which is the driver's as well. */
static struct map *grown(const struct map *old)
{
	unsigned count = old->count;
	struct map *map = calloc(1, sizeof(*map) + (count + 1) * sizeof(map->regions[0]));

	assert_non_null(map);
	map->count = count + 1;
	memcpy(map->regions, old->regions, count * sizeof(map->regions[0]));
	map->regions[count] = (struct map_region){ .gpa = MORE_BASE + (uint64_t)count * 2 * STEP_BYTES,
						   .size_bytes = STEP_BYTES };
	map->regions[count].host = calloc(1, STEP_BYTES);
	assert_non_null(map->regions[count].host);
	return map;
}

static struct test_piece newest(const struct map *map)
{
	return (struct test_piece){ map->regions[map->count - 1].gpa, 64, false };
}

static void offered_map_is_taken_by_the_next_pop(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 8 });
		struct map *first = d->map, *map = grown(first);
		struct test_piece piece = newest(map);
		struct vireo_chain chain;

		assert_null(ring_map_offer(d->ring, map));
		assert_int_equal(driver_add(d, &piece, 1, 1, 0), 0);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		assert_ptr_equal(chain.iov[0].iov_base, map->regions[map->count - 1].host);
		test_push(d->ring, &chain, 0);
		free(map->regions[map->count - 1].host);
		driver_free(d);
		free(map);
	}
}

/* The ring has two at most, however many come. */
static void map_that_no_pop_takes_comes_back_with_the_next(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8 });
	struct map *one = grown(d->map), *two = grown(one), *three = grown(two);
	struct vireo_chain chain;

	assert_null(ring_map_offer(d->ring, one));
	assert_ptr_equal(ring_map_offer(d->ring, two), one);
	free(one);
	assert_int_equal(driver_pop(d, &chain, 1), 0);
	assert_null(ring_map_offer(d->ring, three));
	for (unsigned i = d->map->count; i < three->count; i++)
		free(three->regions[i].host);
	free(two);
	driver_free(d);
	free(three);
}

static void address_that_no_map_has_is_a_lie(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 8 });
		struct map *map = grown(d->map);
		struct test_piece piece = newest(map);
		struct vireo_chain chain;

		piece.gpa += STEP_BYTES;
		assert_int_equal(driver_add(d, &piece, 1, 1, 0), 0);
		assert_null(ring_map_offer(d->ring, map));
		assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
		assert_non_null(strstr(ring_error(d->ring), "outside guest memory"));
		free(map->regions[map->count - 1].host);
		driver_free(d);
		free(map);
	}
}

/* ---- two threads ---- */

struct worker {
	struct test_driver *d;
	bool stop; /* atomic */
	int error;
};

static void *worker_run(void *opaque)
{
	struct worker *worker = opaque;
	struct test_driver *d = worker->d;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(8)];
	struct vireo_chain chain;
	unsigned turns = 0;

	while (!worker->error && !__atomic_load_n(&worker->stop, __ATOMIC_ACQUIRE)) {
		int got = ring_pop(d->ring, &chain, 1, iov, ARRAY_SIZE(iov));

		if (++turns % SPINS == 0)
			sched_yield();
		if (got < 0)
			__atomic_store_n(&worker->error, got, __ATOMIC_RELEASE);
		if (got <= 0)
			continue;
		*(volatile uint8_t *)chain.iov[0].iov_base;
		test_push(d->ring, &chain, 0);
		ring_publish(d->ring);
	}
	return NULL;
}

static void used_await(const struct worker *worker)
{
	unsigned turns = 0;
	uint32_t len;
	bool skipped;

	while (driver_used(worker->d, &len, &skipped) < 0 && !__atomic_load_n(&worker->error, __ATOMIC_ACQUIRE))
		if (++turns % SPINS == 0)
			sched_yield();
}

/*
 * The driver learns of a region right after the ring has been offered it, in the middle of a pop: between its look for a map and
 * its look for chains. Maps are freed as soon as they may be.
 */
static struct map *grow(struct worker *worker)
{
	struct test_driver *d = worker->d;
	struct map *held = NULL, *offered = NULL, *map = d->map;

	for (unsigned i = 0; i < STEPS && !__atomic_load_n(&worker->error, __ATOMIC_ACQUIRE); i++) {
		struct map *next = grown(map), *untaken;
		struct test_piece piece = newest(next);

		untaken = ring_map_offer(d->ring, next);
		assert_int_equal(driver_add(d, &piece, 1, 1, 0), 0);
		assert_true(!untaken || untaken == offered);
		if (!untaken && offered) {
			free(held);
			held = offered;
		} else {
			free(untaken);
		}
		map = offered = next;
		used_await(worker);
	}
	__atomic_store_n(&worker->stop, true, __ATOMIC_RELEASE);
	free(held);
	return map;
}

static void chain_in_what_has_just_come_is_no_lie(void **state)
{
	for (unsigned round = 0; round < 20; round++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = round % 2, .size = 8 });
		struct worker worker = { .d = d };
		struct map *map;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, worker_run, &worker), 0);
		map = grow(&worker);
		pthread_join(thread, NULL);
		assert_null(ring_error(d->ring));
		assert_int_equal(worker.error, 0);
		for (unsigned i = d->map->count; i < map->count; i++)
			free(map->regions[i].host);
		free(map);
		driver_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offered_map_is_taken_by_the_next_pop),
		cmocka_unit_test(map_that_no_pop_takes_comes_back_with_the_next),
		cmocka_unit_test(address_that_no_map_has_is_a_lie),
		cmocka_unit_test(chain_in_what_has_just_come_is_no_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
