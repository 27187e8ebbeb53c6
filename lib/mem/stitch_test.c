/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "mem/stitch.h"
#include "mem/view.h"
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Pages that are neighbours in a driver's addresses alone. */

#define PAGE 0x1000u
#define PAGES 8u
#define UADDR UINT64_C(0x7f0000000000)
#define IOVA UINT64_C(0x10000)
#define RW (MAP_READ | MAP_WRITE)

/* Page i of the driver's is the file's page order[i]. */
static struct map *view_of(const unsigned *order, unsigned count, unsigned access, int *ret_fd)
{
	const struct map_spec spec = { .gpa = 0, .size_bytes = PAGES * PAGE, .uaddr = UADDR };
	struct map_window windows[PAGES];
	int fd = memfd_create("stitch", MFD_CLOEXEC);
	struct map *memory, *view;
	const char *why;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	assert_int_equal(map_new(NULL, &spec, &fd, 1, NULL, &memory, &why), 0);
	for (unsigned i = 0; i < count; i++)
		windows[i] = (struct map_window){ IOVA + i * PAGE, UADDR + order[i] * PAGE, PAGE, access };
	assert_int_equal(map_view(memory, windows, count, &view, NULL), 0);
	map_unref(memory);
	*ret_fd = fd;
	return view;
}

static void scattered_pages_are_one_piece(void **state)
{
	static const unsigned order[] = { 5, 2, 3, 0 };
	struct map_stitch *stitch;
	uint8_t *host, byte;
	struct map *view;
	int fd;

	view = view_of(order, 4, RW, &fd);
	assert_int_equal(map_stitch_new(view, IOVA + 0x10, 4 * PAGE - 0x20, true, NULL, &stitch), 0);
	map_unref(view); /* it needs none */
	host = map_stitch_host(stitch);
	assert_int_equal((uintptr_t)host % PAGE, 0x10);
	for (unsigned i = 0; i < 4; i++) {
		host[i * PAGE] = (uint8_t)(i + 1);
		assert_int_equal(pread(fd, &byte, 1, order[i] * PAGE + 0x10), 1);
		assert_int_equal(byte, i + 1);
	}
	host[4 * PAGE - 0x21] = 9;
	assert_int_equal(pread(fd, &byte, 1, order[3] * PAGE + PAGE - 0x11), 1);
	assert_int_equal(byte, 9);
	map_stitch_free(stitch);
	close(fd);
}

static void what_is_not_all_there_is_not_stitched(void **state)
{
	static const unsigned order[] = { 5, 2 };
	struct map_stitch *stitch = NULL;
	struct map *view;
	int fd;

	view = view_of(order, 2, MAP_READ, &fd);
	assert_int_equal(map_stitch_new(view, IOVA, 2 * PAGE, false, NULL, &stitch), 0);
	map_stitch_free(stitch);
	stitch = NULL;
	assert_int_equal(map_stitch_new(view, IOVA, 2 * PAGE + 1, false, NULL, &stitch), -EFAULT);
	/* It is to be read only. */
	assert_int_equal(map_stitch_new(view, IOVA, 2 * PAGE, true, NULL, &stitch), -EFAULT);
	assert_null(stitch);
	map_unref(view);
	close(fd);
}

static void pieces_of_less_than_a_page_are_refused(void **state)
{
	const struct map_spec spec = { .gpa = 0, .size_bytes = PAGES * PAGE, .uaddr = UADDR };
	const struct map_window windows[] = { { IOVA, UADDR, 0x800, RW },
					      { IOVA + 0x800, UADDR + 3 * PAGE, PAGE, RW },
					      { IOVA + 0x1800, UADDR + 5 * PAGE + 0x800, 0x800, RW } };
	int fd = memfd_create("stitch", MFD_CLOEXEC);
	struct map_stitch *stitch = NULL;
	struct map *memory, *view;
	const char *why;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	assert_int_equal(map_new(NULL, &spec, &fd, 1, NULL, &memory, &why), 0);
	assert_int_equal(map_view(memory, windows, 3, &view, NULL), 0);
	assert_int_equal(map_stitch_new(view, IOVA, PAGE, true, NULL, &stitch), -EINVAL);
	assert_int_equal(map_stitch_new(view, IOVA + 0x800, 0x1800, true, NULL, &stitch), -EINVAL);
	assert_null(stitch);
	map_unref(memory);
	map_unref(view);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scattered_pages_are_one_piece),
		cmocka_unit_test(what_is_not_all_there_is_not_stitched),
		cmocka_unit_test(pieces_of_less_than_a_page_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
