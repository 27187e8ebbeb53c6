/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "mem/view.h"
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Guest memory through an IOMMU's windows. */

#define PAGE 0x1000u
#define UADDR UINT64_C(0x7f0000000000)
#define RW (MAP_READ | MAP_WRITE)

/* Two regions, neighbours in user addresses: 16 pages each, each page beginning with its number. */
static struct map *memory_new(void)
{
	const struct map_spec specs[] = {
		{ .gpa = 0, .size_bytes = 16 * PAGE, .uaddr = UADDR },
		{ .gpa = 1u << 30, .size_bytes = 16 * PAGE, .uaddr = UADDR + 16 * PAGE },
	};
	struct map *map;
	const char *why;
	int fds[2];

	for (unsigned i = 0; i < 2; i++) {
		fds[i] = memfd_create("view", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fds[i], 16 * PAGE), 0);
		for (unsigned page = 0; page < 16; page++) {
			uint8_t number = (uint8_t)(i * 16 + page);

			assert_int_equal(pwrite(fds[i], &number, 1, page * PAGE), 1);
		}
	}
	assert_int_equal(map_new(NULL, specs, fds, 2, NULL, &map, &why), 0);
	close(fds[0]);
	close(fds[1]);
	return map;
}

static uint8_t *seen(const struct map *map, uint64_t iova, uint64_t *ret_usable)
{
	struct map_cache cache = { 0 };

	return map_gpa(map, &cache, iova, ret_usable);
}

static void windows_show_their_pages(void **state)
{
	const struct map_window windows[] = { { 0x10000, UADDR + 3 * PAGE, PAGE, RW },
					      { 0x20000, UADDR, PAGE, RW } };
	struct map *memory = memory_new(), *view;
	uint64_t usable;

	assert_int_equal(map_view(memory, windows, 2, &view, NULL), 0);
	map_unref(memory); /* the view holds what it needs */
	assert_int_equal(*seen(view, 0x10000, &usable), 3);
	assert_int_equal(usable, PAGE);
	assert_int_equal(*seen(view, 0x20000, &usable), 0);
	assert_null(seen(view, 0x11000, &usable));
	assert_null(seen(view, 0, &usable));
	assert_ptr_equal(map_uaddr(view, 0x10010, 16), (uint8_t *)seen(view, 0x10000, &usable) + 16);
	assert_null(map_uaddr(view, UADDR, 16));
	map_unref(view);
}

static void windows_that_go_on_are_one_region(void **state)
{
	const struct map_window windows[] = { { 0x10000, UADDR, PAGE, RW },
					      { 0x11000, UADDR + PAGE, PAGE, RW },
					      { 0x12000, UADDR + 3 * PAGE, PAGE, RW } };
	struct map *memory = memory_new(), *view;

	assert_int_equal(map_view(memory, windows, 3, &view, NULL), 0);
	assert_int_equal(view->count, 2);
	assert_non_null(map_uaddr(view, 0x10ff0, 32));
	assert_null(map_uaddr(view, 0x11ff0, 32));
	map_unref(view);
	map_unref(memory);
}

static void window_over_two_regions_is_two(void **state)
{
	const struct map_window window = { 0, UADDR + 15 * PAGE, 2 * PAGE, RW };
	struct map *memory = memory_new(), *view;
	uint64_t usable;

	assert_int_equal(map_view(memory, &window, 1, &view, NULL), 0);
	assert_int_equal(view->count, 2);
	assert_int_equal(*seen(view, 0, &usable), 15);
	assert_int_equal(*seen(view, PAGE, &usable), 16);
	map_unref(view);
	map_unref(memory);
}

static void window_outside_memory_is_named(void **state)
{
	const struct map_window windows[] = { { 0, UADDR, PAGE, RW },
					      { PAGE, UADDR + 31 * PAGE, 2 * PAGE, RW } };
	struct map *memory = memory_new(), *view = NULL;
	unsigned bad = 9;

	assert_int_equal(map_view(memory, windows, 2, &view, &bad), -EFAULT);
	assert_int_equal(bad, 1);
	assert_null(view);
	assert_int_equal(map_view(memory, windows, 0, &view, &bad), 0);
	assert_int_equal(view->count, 0);
	map_unref(view);
	map_unref(memory);
}

/* Pages that are neighbours in user addresses, in any order in the guest's: every other one of a file. */
static struct map *scattered(unsigned pages)
{
	struct map_spec *specs = test_calloc(pages, sizeof(*specs));
	int *fds = test_calloc(pages, sizeof(*fds)), fd = memfd_create("scattered", MFD_CLOEXEC);
	struct map *map;
	const char *why;

	assert_int_equal(ftruncate(fd, 2 * pages * PAGE), 0);
	for (unsigned i = 0; i < pages; i++) {
		uint16_t number = (uint16_t)i;

		fds[i] = fd;
		specs[i] = (struct map_spec){ .gpa = (uint64_t)(i * 7 % pages) * 2 * PAGE,
					      .size_bytes = PAGE,
					      .uaddr = UADDR + i * PAGE,
					      .mmap_offset = (uint64_t)i * 2 * PAGE };
		assert_int_equal(pwrite(fd, &number, sizeof(number), i * 2 * PAGE), sizeof(number));
	}
	assert_int_equal(map_new(NULL, specs, fds, pages, NULL, &map, &why), 0);
	close(fd);
	test_free(specs);
	test_free(fds);
	return map;
}

static void window_over_many_regions_finds_each(void **state)
{
	struct map *memory = scattered(500), *view;
	const struct map_window window = { 0, UADDR, 500 * PAGE, RW };
	uint64_t usable;

	assert_int_equal(map_view(memory, &window, 1, &view, NULL), 0);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(*(uint16_t *)(void *)seen(view, i * PAGE, &usable), i);
	map_unref(view);
	map_unref(memory);
}

static void view_of_too_many_parts_is_refused(void **state)
{
	struct map *memory = scattered(500), *view = NULL;
	struct map_window windows[MAP_VIEW_PARTS_MAX / 500 + 1];

	for (unsigned i = 0; i < MAP_VIEW_PARTS_MAX / 500 + 1; i++)
		windows[i] = (struct map_window){ (uint64_t)i << 30, UADDR, 500 * PAGE, RW };
	assert_int_equal(map_view(memory, windows, MAP_VIEW_PARTS_MAX / 500 + 1, &view, NULL), -E2BIG);
	assert_null(view);
	assert_int_equal(map_view(memory, windows, MAP_VIEW_PARTS_MAX / 500, &view, NULL), 0);
	map_unref(view);
	map_unref(memory);
}

/* Window by window: read, write, both, read. */
static void windows_permit_what_they_say(void **state)
{
	const struct map_window windows[] = { { 0, UADDR, PAGE, MAP_READ },
					      { PAGE, UADDR + PAGE, PAGE, MAP_WRITE },
					      { 2 * PAGE, UADDR + 2 * PAGE, PAGE, RW },
					      { 3 * PAGE, UADDR + 3 * PAGE, PAGE, MAP_READ } };
	struct map *memory = memory_new(), *view;
	struct map_cache cache = { 0 };
	struct iovec iov[4];
	uint64_t usable;

	assert_int_equal(map_view(memory, windows, 4, &view, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *read = map_at(view, &cache, i * PAGE + 16, false, &usable);
		const uint8_t *write = map_at(view, &cache, i * PAGE + 16, true, &usable);

		assert_int_equal(usable, PAGE - 16);
		assert_int_equal(!read, !(windows[i].access & MAP_READ));
		assert_int_equal(!write, !(windows[i].access & MAP_WRITE));
		assert_int_equal(!map_gpa(view, &cache, i * PAGE, &usable), windows[i].access != RW);
		assert_int_equal((read ? read : write)[-16], i);
	}
	assert_int_equal(map_pieces(view, &cache, 2 * PAGE, 2 * PAGE, false, iov, 4), 1);
	assert_int_equal(map_pieces(view, &cache, PAGE, 2 * PAGE, true, iov, 4), 1);
	assert_int_equal(map_pieces(view, &cache, 2 * PAGE, 2 * PAGE, true, iov, 4), -EFAULT);
	assert_int_equal(map_pieces(view, &cache, 0, 2 * PAGE, false, iov, 4), -EFAULT);
	assert_null(map_at(view, &cache, 4 * PAGE, false, &usable));
	map_unref(memory);
	map_unref(view);
}

static struct map *view_of(const struct map *memory, const struct map_window *windows, unsigned count)
{
	struct map *view;

	assert_int_equal(map_view(memory, windows, count, &view, NULL), 0);
	return view;
}

/* Of what is joined to its neighbour nothing is taken away; of what has become less permitted something is. */
static void view_keeps_what_it_shows_and_permits(void **state)
{
	static const struct {
		struct map_window now[3], then[3];
		unsigned now_count, then_count;
		bool kept;
	} cases[] = {
		{ { { 0, UADDR, PAGE, RW }, { PAGE, UADDR + PAGE, PAGE, RW } }, { { PAGE, UADDR + PAGE, PAGE, RW } }, 2, 1, true },
		{ { { 0, UADDR, PAGE, RW } }, { { 0, UADDR, 2 * PAGE, RW } }, 1, 1, false },
		{ { { PAGE, UADDR + PAGE, PAGE, RW } }, { { 0, UADDR, 2 * PAGE, RW } }, 1, 1, false },
		{ { { 0, UADDR + PAGE, PAGE, RW } }, { { 0, UADDR, PAGE, RW } }, 1, 1, false },
		{ { { 0, UADDR, PAGE, MAP_READ } }, { { 0, UADDR, PAGE, RW } }, 1, 1, false },
		{ { { 0, UADDR, PAGE, RW } }, { { 0, UADDR, PAGE, MAP_READ } }, 1, 1, true },
		{ { { 0, UADDR, PAGE, MAP_READ } }, { { 0, UADDR, PAGE, MAP_READ } }, 1, 1, true },
		{ { { 0, UADDR, PAGE, MAP_WRITE } }, { { 0, UADDR, PAGE, MAP_READ } }, 1, 1, false },
		{ { { 0, UADDR, 2 * PAGE, MAP_READ } }, { { PAGE, UADDR + PAGE, PAGE, MAP_READ } }, 1, 1, true },
	};
	struct map *memory = memory_new();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct map *now = view_of(memory, cases[i].now, cases[i].now_count);
		struct map *then = view_of(memory, cases[i].then, cases[i].then_count);

		if (map_keeps(now, then) != cases[i].kept)
			fail_msg("case %zu", i);
		map_unref(now);
		map_unref(then);
	}
	map_unref(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(view_keeps_what_it_shows_and_permits),
		cmocka_unit_test(windows_show_their_pages),
		cmocka_unit_test(windows_that_go_on_are_one_region),
		cmocka_unit_test(window_over_two_regions_is_two),
		cmocka_unit_test(window_outside_memory_is_named),
		cmocka_unit_test(window_over_many_regions_finds_each),
		cmocka_unit_test(view_of_too_many_parts_is_refused),
		cmocka_unit_test(windows_permit_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
