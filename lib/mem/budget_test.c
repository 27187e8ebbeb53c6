/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/fd.h"
#include "base/util.h"
#include "mem/budget.h"
#include "mem/map.h"
#include "mem/stitch.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define GREEDY 40u

static struct vireo_memory *memory;

struct later {
	void (*work)(void *argument);
	void *argument;
};

static void memory_start(uint64_t address_bytes, unsigned mappings)
{
	const struct vireo_memory_config config = {
		.size = sizeof(config), .address_bytes = address_bytes, .mappings = mappings
	};

	assert_int_equal(vireo_memory_new(&config, &memory), 0);
}

/* Takes pieces of `bytes` until it is refused; how many. */
static unsigned take_all(struct mem_account *account, uint64_t bytes)
{
	const char *why = NULL;
	unsigned n = 0;

	while (!mem_account_take(account, bytes, 1, &why))
		n++;
	assert_non_null(why);
	return n;
}

static void give_all(struct mem_account *account, uint64_t bytes)
{
	while (account->mappings)
		mem_account_give(account, bytes, 1);
}

static void who_takes_all_it_can_leaves_the_others_their_part(void **state)
{
	struct mem_account *greedy[GREEDY], *honest[GREEDY];
	unsigned all = 0;

	memory_start(UINT64_MAX / 4, 4000);
	for (unsigned i = 0; i < GREEDY; i++) {
		greedy[i] = mem_account_open(memory, 0);
		honest[i] = mem_account_open(memory, 0);
	}
	for (unsigned i = 0; i < GREEDY; i++)
		all += take_all(greedy[i], 1);
	assert_in_range(all, 4000 * 9 / 10, 4000 + 4000 / 4);
	for (unsigned i = 0; i < GREEDY; i++)
		all += take_all(honest[i], 1);
	assert_in_range(all, 4000 + 4000 / 4, 4000 + 4000 / 2);
	for (unsigned i = 0; i < GREEDY; i++) {
		struct vireo_memory_use use;

		mem_account_use(honest[i], &use);
		assert_in_range(use.mappings, 4000 / 2 / (2 * GREEDY), 4000);
		assert_in_range(use.mappings_max, 4000 / 2 / (2 * GREEDY), use.mappings);
	}
	for (unsigned i = 0; i < GREEDY; i++) {
		give_all(honest[i], 1);
		if (i)
			give_all(greedy[i], 1);
	}
	give_all(greedy[0], 1);
	assert_int_equal(take_all(greedy[0], 1), 2000); /* all has come back */
	give_all(greedy[0], 1);
	for (unsigned i = 0; i < GREEDY; i++) {
		mem_account_close(greedy[i]);
		mem_account_close(honest[i]);
	}
	vireo_memory_free(memory);
}

static void refusal_names_the_limit_and_what_to_do(void **state)
{
	struct mem_account *port, *other, *limited;
	const char *why;

	memory_start(1 << 20, 10);
	port = mem_account_open(memory, 0);
	other = mem_account_open(memory, 0);
	limited = mem_account_open(memory, 4 << 20);
	assert_int_equal(mem_account_take(port, (1 << 19) + 1, 1, &why), -ENOMEM);
	assert_non_null(strstr(why, "524289 bytes is more than this port's share of the process, 524288 bytes"));
	assert_non_null(strstr(why, "memory-max="));
	assert_int_equal(mem_account_take(other, 1, 6, &why), -ENOMEM);
	assert_non_null(strstr(why, "6 mappings is more than this port's share of the process, 5: raise vm.max_map_count"));
	/* Who was given a number of its own has that, and no more. */
	assert_int_equal(mem_account_take(limited, 2 << 20, 1, &why), 0);
	assert_int_equal(mem_account_map_check(limited, 4 << 20, &why), 0);
	assert_int_equal(mem_account_map_check(limited, (4 << 20) + 1, &why), -ENOMEM);
	assert_non_null(strstr(why, "at most 4194304 are permitted: raise memory-max="));
	mem_account_max_set(limited, (4 << 20) + 1);
	assert_int_equal(mem_account_map_check(limited, (4 << 20) + 1, &why), 0);
	mem_account_max_set(limited, 1 << 20); /* less than it has: that stays, and the next one is judged */
	assert_int_equal(mem_account_map_check(limited, (1 << 20) + 1, &why), -ENOMEM);
	assert_non_null(strstr(why, "at most 1048576 are permitted"));
	mem_account_max_set(limited, 0);
	assert_int_equal(mem_account_map_check(limited, UINT64_MAX, &why), 0); /* its share decides */
	assert_int_equal(mem_account_take(limited, 1 << 20, 1, &why), -ENOMEM);
	mem_account_max_set(NULL, 1);
	assert_int_equal(limited->mapped_bytes, 2 << 20); /* what was refused was not taken */
	assert_int_equal(port->mapped_bytes, 0);
	assert_int_equal(other->mappings, 0);
	mem_account_give(limited, 2 << 20, 1);
	mem_account_close(port);
	mem_account_close(other);
	mem_account_close(limited);
	vireo_memory_free(memory);
}

static void without_a_memory_nothing_is_refused(void **state)
{
	struct mem_account *account = mem_account_open(NULL, 0);
	struct vireo_memory_use use;
	const char *why;

	assert_int_equal(mem_account_take(NULL, UINT64_MAX, UINT_MAX, &why), 0);
	assert_int_equal(mem_account_map_check(NULL, UINT64_MAX, &why), 0);
	mem_account_give(NULL, 1, 1);
	assert_int_equal(mem_account_take(account, UINT64_MAX / 2, UINT_MAX, &why), 0);
	mem_account_use(account, &use);
	assert_true(use.mapped_bytes == UINT64_MAX / 2 && use.mapped_max_bytes == UINT64_MAX);
	assert_true(use.mappings == UINT_MAX && use.mappings_max == UINT_MAX);
	mem_account_give(account, UINT64_MAX / 2, UINT_MAX);
	mem_account_close(account);
	mem_account_close(NULL);
}

static void what_the_process_has_is_found_out(void **state)
{
	struct mem_account *one;
	struct vireo_memory_use use;

	assert_int_equal(vireo_memory_new(NULL, &memory), 0);
	one = mem_account_open(memory, 0);
	mem_account_use(one, &use);
	assert_true(use.mapped_max_bytes > UINT64_C(1) << 32); /* a third of what can be addressed */
	assert_in_range(use.mappings_max, 509, INT_MAX); /* QEMU's largest table */
	mem_account_close(one);
	vireo_memory_free(memory);
}

/* ---- maps ---- */

static int map_regions(struct mem_account *account, const struct map *old, unsigned count, uint64_t bytes, struct map **ret_map)
{
	const struct map_faults faults = { .event_fd = -1, .account = account };
	int fd = memfd_create("guest", MFD_CLOEXEC), fds[16], r;
	struct map_spec specs[16];
	const char *why;

	assert_true(count <= ARRAY_SIZE(specs));
	assert_int_equal(ftruncate(fd, (off_t)(count * bytes)), 0);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = fd;
		specs[i] = (struct map_spec){ .gpa = i * bytes, .uaddr = i * bytes, .size_bytes = bytes,
					      .mmap_offset = i * bytes };
	}
	r = map_new(old, specs, fds, count, &faults, ret_map, &why);
	fd_close(&fd);
	return r;
}

static void maps_take_and_give_back(void **state)
{
	struct mem_account *port;
	struct map *map;

	memory_start(UINT64_C(1) << 40, 8);
	port = mem_account_open(memory, 0);
	assert_int_equal(map_regions(port, NULL, 4, PAGE, &map), 0);
	assert_int_equal(port->mapped_bytes, 4 * PAGE);
	assert_int_equal(port->mappings, 4);
	map_unref(map);
	assert_int_equal(port->mapped_bytes, 0);
	assert_int_equal(port->mappings, 0);
	assert_int_equal(map_regions(port, NULL, 5, PAGE, &map), -ENOMEM); /* half of 8 */
	assert_int_equal(map_regions(port, NULL, 1, UINT64_C(1) << 40, &map), -ENOMEM);
	assert_int_equal(port->mapped_bytes, 0); /* the regions before the refused one included */
	assert_int_equal(port->mappings, 0);
	mem_account_close(port);
	vireo_memory_free(memory);
}

static void table_that_is_told_again_takes_nothing_more(void **state)
{
	const struct map_spec specs[2] = { { .size_bytes = PAGE },
					   { .gpa = PAGE, .uaddr = PAGE, .size_bytes = PAGE, .mmap_offset = PAGE } };
	struct mem_account *port = mem_account_open(NULL, 2 * PAGE);
	const struct map_faults faults = { .event_fd = -1, .account = port };
	int fd = memfd_create("guest", MFD_CLOEXEC), fds[2] = { fd, fd };
	struct map *map, *again, *more;
	const char *why;

	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	
	assert_int_equal(map_new(NULL, specs, fds, 1, &faults, &map, &why), 0);
	assert_int_equal(map_new(map, specs, fds, 1, &faults, &again, &why), 0);
	assert_int_equal(port->mapped_bytes, PAGE);
	assert_ptr_equal(again->regions[0].host, map->regions[0].host);
	assert_int_equal(map_new(map, specs, fds, 2, &faults, &more, &why), 0); /* the limit is the new table's */
	assert_int_equal(port->mapped_bytes, 2 * PAGE);
	map_unref(map);
	map_unref(again);
	map_unref(more);
	assert_int_equal(port->mapped_bytes, 0);
	fd_close(&fd);
	mem_account_close(port);
}

static void map_larger_than_permitted_is_refused(void **state)
{
	struct mem_account *port = mem_account_open(NULL, 4 * PAGE);
	struct map *map, *more;
	const struct map_spec spec = { .gpa = 1 << 20, .uaddr = 1 << 20, .size_bytes = PAGE };
	const struct map_faults faults = { .event_fd = -1, .account = port };
	int fd = memfd_create("more", MFD_CLOEXEC);
	const char *why;

	assert_int_equal(map_regions(port, NULL, 5, PAGE, &map), -ENOMEM);
	assert_int_equal(map_regions(port, NULL, 1, 5 * PAGE, &map), -ENOMEM);
	assert_int_equal(map_regions(port, NULL, 4, PAGE, &map), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(map_with(map, &spec, fd, &faults, &more, &why), -ENOMEM);
	assert_non_null(strstr(why, "20480 bytes, and at most 16384"));
	map_unref(map);
	assert_int_equal(port->mapped_bytes, 0);
	fd_close(&fd);
	mem_account_close(port);
}

/* A ring whose pages are scattered costs a mapping for each of them. */
static void stitched_rings_are_held_against_it(void **state)
{
	struct map_faults faults = { .event_fd = -1 };
	struct map_stitch *stitch;
	struct mem_account *port;
	struct map *map;

	memory_start(UINT64_C(1) << 40, 20);
	port = mem_account_open(memory, 0);
	faults.account = port;
	assert_int_equal(map_regions(port, NULL, 6, PAGE, &map), 0);
	assert_int_equal(map_stitch_new(map, 0, 3 * PAGE, true, &faults, &stitch), 0);
	assert_int_equal(port->mappings, 6 + 1 + 3);
	map_stitch_free(stitch);
	assert_int_equal(port->mappings, 6);
	assert_int_equal(map_stitch_new(map, 0, 4 * PAGE, true, &faults, &stitch), -ENOMEM);
	assert_int_equal(port->mappings, 6);
	assert_int_equal(port->mapped_bytes, 6 * PAGE);
	map_unref(map);
	mem_account_close(port);
	vireo_memory_free(memory);
}

static int run_later(void *opaque, void (*work)(void *argument), void *argument)
{
	struct later *later = opaque;

	later->work = work;
	later->argument = argument;
	return 0;
}

/* A peer whose files are slow to close can have as much memory wait behind them as it likes. */
static void what_waits_to_be_unmapped_is_still_had(void **state)
{
	const struct map_spec spec = { .size_bytes = PAGE };
	struct map_faults faults = { .event_fd = -1 };
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct later later = {0};
	struct mem_account *port;
	struct map *map;
	const char *why;

	memory_start(UINT64_C(1) << 40, 4);
	port = mem_account_open(memory, 0);
	vireo_memory_free(memory); /* which lives on with the account */
	faults.account = port;
	assert_int_equal(drop_new(run_later, &later, &faults.drop), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(map_new(NULL, &spec, &fd, 1, &faults, &map, &why), 0);
	map_unref(map);
	assert_int_equal(port->mappings, 1);
	assert_int_equal(port->mapped_bytes, PAGE);
	later.work(later.argument);
	assert_int_equal(port->mappings, 0);
	assert_int_equal(port->mapped_bytes, 0);
	assert_int_equal(map_new(NULL, &spec, &fd, 1, &faults, &map, &why), 0);
	map_unref(map);
	mem_account_close(port); /* and the account with what it has */
	later.work(later.argument);
	drop_unref(faults.drop);
	fd_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_takes_all_it_can_leaves_the_others_their_part),
		cmocka_unit_test(refusal_names_the_limit_and_what_to_do),
		cmocka_unit_test(without_a_memory_nothing_is_refused),
		cmocka_unit_test(what_the_process_has_is_found_out),
		cmocka_unit_test(maps_take_and_give_back),
		cmocka_unit_test(table_that_is_told_again_takes_nothing_more),
		cmocka_unit_test(map_larger_than_permitted_is_refused),
		cmocka_unit_test(stitched_rings_are_held_against_it),
		cmocka_unit_test(what_waits_to_be_unmapped_is_still_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
