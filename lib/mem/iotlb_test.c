/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/util.h"
#include "mem/iotlb.h"
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The table of what a guest's IOMMU permits. */

static void update(struct iotlb *iotlb, uint64_t iova, uint64_t bytes)
{
	iotlb_update(iotlb, &(struct map_window){ iova, iova + 0x100000, bytes, MAP_READ | MAP_WRITE });
}

static void windows_are_sorted(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x3000, 0x1000);
	update(iotlb, 0x1000, 0x1000);
	update(iotlb, 0x2000, 0x1000);
	assert_int_equal(iotlb->count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(iotlb->windows[i].gpa, 0x1000 * (i + 1));
	free(iotlb);
}

static void window_takes_the_place_of_what_it_overlaps(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x1000, 0x1000);
	update(iotlb, 0x2000, 0x1000);
	update(iotlb, 0x4000, 0x1000);
	update(iotlb, 0x1fff, 0x2);
	assert_int_equal(iotlb->count, 2);
	assert_int_equal(iotlb->windows[0].gpa, 0x1fff);
	assert_int_equal(iotlb->windows[1].gpa, 0x4000);
	free(iotlb);
}

static void invalidate_forgets_whole_windows(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	for (unsigned i = 0; i < 8; i++)
		update(iotlb, 0x1000 * i, 0x1000);
	iotlb_invalidate(iotlb, 0x2fff, 2);
	assert_int_equal(iotlb->count, 6);
	iotlb_invalidate(iotlb, 0x2000, 0x2000); /* nothing is there any more */
	assert_int_equal(iotlb->count, 6);
	iotlb_invalidate(iotlb, 0, UINT64_MAX);
	assert_int_equal(iotlb->count, 0);
	iotlb_invalidate(iotlb, 0, 1);
	free(iotlb);
}

/* 2^64 bytes have no number: their size is told as 0. A range may end with the last byte. */
static void invalidate_reaches_the_top_of_the_address_space(void **state)
{
	static const struct {
		uint64_t iova, size;
		unsigned left;
	} ranges[] = {
		{ 0, 0, 0 },
		{ 0, UINT64_MAX, 0 },
		{ UINT64_C(1) << 63, UINT64_C(1) << 63, 1 },
		{ UINT64_MAX, 1, 2 }, /* no window has it */
		{ UINT64_MAX - 1, 2, 1 },
	};
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		update(iotlb, 0x1000, 0x1000);
		update(iotlb, UINT64_MAX - 0x1fff, 0x1fff);
		iotlb_invalidate(iotlb, ranges[i].iova, ranges[i].size);
		assert_int_equal(iotlb->count, ranges[i].left);
	}
	free(iotlb);
}

static void range_touches_windows_that_it_would_take_away(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	assert_false(iotlb_touches(iotlb, 0, 0));
	update(iotlb, 0x1000, 0x1000);
	update(iotlb, 0x4000, 0x1000);
	assert_false(iotlb_touches(iotlb, 0, 0x1000));
	assert_true(iotlb_touches(iotlb, 0, 0x1001));
	assert_true(iotlb_touches(iotlb, 0x1fff, 1));
	assert_false(iotlb_touches(iotlb, 0x2000, 0x2000));
	assert_true(iotlb_touches(iotlb, 0x2000, 0x2001));
	assert_false(iotlb_touches(iotlb, 0x5000, UINT64_MAX - 0x5000));
	assert_true(iotlb_touches(iotlb, 0, 0));
	free(iotlb);
}

static void full_table_forgets_the_oldest(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x10000000, 0x1000);
	for (unsigned i = 1; i < IOTLB_WINDOWS_MAX + 1; i++)
		update(iotlb, 0x1000 * i, 0x1000);
	assert_int_equal(iotlb->count, IOTLB_WINDOWS_MAX);
	assert_int_equal(iotlb->windows[IOTLB_WINDOWS_MAX - 1].gpa, 0x1000 * IOTLB_WINDOWS_MAX);
	free(iotlb);
}

#define PAGE 0x1000u
#define REGIONS 500u

/* So many regions of a page each, neighbours for the front end, and far from each other for the guest. */
static struct map *memory_new(unsigned count)
{
	struct map_spec specs[REGIONS];
	struct map *map;
	const char *why;
	int fds[REGIONS], fd = memfd_create("iotlb", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, REGIONS * PAGE), 0);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = fd;
		specs[i] = (struct map_spec){ .gpa = (uint64_t)i << 30,
					      .size_bytes = PAGE,
					      .uaddr = 0x100000 + i * PAGE,
					      .mmap_offset = (count - 1 - i) * PAGE };
	}
	assert_int_equal(map_new(NULL, specs, fds, count, NULL, &map, &why), 0);
	close(fd);
	return map;
}

static void view_of_too_many_parts_forgets_the_oldest_windows(void **state)
{
	unsigned windows = MAP_VIEW_PARTS_MAX / REGIONS + 2;
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));
	struct map *memory = memory_new(REGIONS), *view;

	for (unsigned i = windows; i--;)
		iotlb_update(iotlb, &(struct map_window){ (uint64_t)i << 30, 0x100000, REGIONS * PAGE,
							  MAP_READ | MAP_WRITE });
	assert_int_equal(iotlb_view(iotlb, memory, &view), 0);
	assert_int_equal(iotlb->count, windows - 2);
	assert_non_null(map_find(view, 0));
	assert_null(map_find(view, (uint64_t)(windows - 1) << 30));
	map_unref(view);
	map_unref(memory);
	free(iotlb);
}

/* A new table: what the windows showed will be asked for again. */
static void window_outside_memory_forgets_all(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));
	struct map *memory = memory_new(2), *view;

	iotlb_update(iotlb, &(struct map_window){ 0x10000, 0x100000, 2 * PAGE, MAP_READ | MAP_WRITE });
	assert_int_equal(iotlb_view(iotlb, memory, &view), 0);
	assert_non_null(map_find(view, 0x10000));
	map_unref(view);
	map_unref(memory);
	memory = memory_new(1);
	assert_int_equal(iotlb_view(iotlb, memory, &view), 0);
	assert_int_equal(iotlb->count, 0);
	assert_int_equal(view->count, 0);
	map_unref(view);
	map_unref(memory);
	free(iotlb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_are_sorted),
		cmocka_unit_test(window_takes_the_place_of_what_it_overlaps),
		cmocka_unit_test(invalidate_forgets_whole_windows),
		cmocka_unit_test(invalidate_reaches_the_top_of_the_address_space),
		cmocka_unit_test(range_touches_windows_that_it_would_take_away),
		cmocka_unit_test(full_table_forgets_the_oldest),
		cmocka_unit_test(view_of_too_many_parts_forgets_the_oldest_windows),
		cmocka_unit_test(window_outside_memory_forgets_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
