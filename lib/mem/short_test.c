/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/drop.h"
#include "base/short_test.h"
#include "mem/budget.h"
#include "mem/charge.h"
#include "mem/dirty.h"
#include "mem/fault.h"
#include "mem/iotlb.h"
#include "mem/late.h"
#include "mem/map.h"
#include "mem/stitch.h"
#include "mem/view.h"
#include <string.h>
#include <unistd.h>

/* What is made of guest memory where memory of our own, fds or mappings are short: it is told, nothing is left over, and what was there is as it was. */

#define PAGE  4096u
#define BYTES (16 * PAGE)
#define UADDR UINT64_C(0x7f0000000000)

static const struct map_spec specs[] = {
	{ .gpa = 0, .size_bytes = BYTES, .uaddr = UADDR },
	{ .gpa = 0x100000, .size_bytes = BYTES, .uaddr = UADDR + BYTES },
};

static int files[2] = { -1, -1 };

static void files_open(void)
{
	for (unsigned i = 0; i < 2; i++) {
		files[i] = memfd_create("short", MFD_CLOEXEC);
		assert_int_equal(ftruncate(files[i], BYTES), 0);
	}
}

static void files_close(void)
{
	close(files[0]);
	close(files[1]);
}

/* True: it was made. Else it says that something is short, unless nothing was. */
static bool made(int err)
{
	if (!err)
		return true;
	assert_true(shortage_was());
	assert_true(err == -ENOMEM || err == -EMFILE);
	return false;
}

static struct map *whole_map(void)
{
	struct map *map;
	const char *why;

	files_open();
	assert_int_equal(map_new(NULL, specs, files, 2, NULL, &map, &why), 0);
	return map;
}

/* With all that a device has for it: an account, late pages, a list of what is let go of, kept fds. */
static void a_map_is_made_and_changed(void)
{
	struct vireo_memory *memory = NULL;
	struct vireo_memory_config config = { .size = sizeof(config), .made_bytes = 1u << 30 };
	struct mem_account *account = NULL;
	struct map_faults faults = { .event_fd = -1, .keep = true };
	struct map *map = NULL, *more = NULL, *less = NULL, *again = NULL;
	const char *why = NULL;

	files_open();
	shortage.on = true;
	if (made(vireo_memory_new(&config, &memory))) {
		account = mem_account_open(memory, 0);
		assert_true(account || shortage_was());
	}
	faults.account = account;
	if (account && made(map_new(NULL, specs, files, 1, &faults, &map, &why)) &&
	    made(map_with(map, &specs[1], files[1], &faults, &more, &why)) &&
	    made(map_with(more, &specs[1], files[1], &faults, &again, &why)) && made(map_without(more, &specs[0], &less))) {
		assert_int_equal(more->count, 2);
		assert_int_equal(again->regions[1].times, 2);
		assert_int_equal(less->count, 1);
	}
	shortage.on = false;
	assert_true(!map || map->count == 1);
	map_unref(again);
	map_unref(less);
	map_unref(more);
	map_unref(map);
	if (account) {
		struct vireo_memory_use use;

		mem_account_use(account, &use);
		assert_int_equal(use.mapped_bytes, 0);
		mem_account_close(account);
	}
	vireo_memory_free(memory);
	files_close();
}

static void windows_are_looked_through(void)
{
	const struct map_window windows[] = { { 0x10000, UADDR + PAGE, PAGE, MAP_READ | MAP_WRITE },
					      { 0x20000, UADDR + BYTES - PAGE, 2 * PAGE, MAP_READ } };
	struct map *memory = whole_map(), *view = NULL, *through = NULL;
	struct iotlb *iotlb = test_calloc(1, sizeof(*iotlb));
	uint64_t usable;

	iotlb_update(iotlb, &windows[0]);
	iotlb_update(iotlb, &windows[1]);
	shortage.on = true;
	if (made(map_view(memory, windows, 2, &view, NULL)) && made(iotlb_view(iotlb, memory, &through))) {
		struct map_cache cache = { 0 };

		assert_non_null(map_gpa(through, &cache, 0x10000, &usable));
	}
	shortage.on = false;
	assert_int_equal(iotlb->count, 2);
	map_unref(through);
	map_unref(view);
	map_unref(memory);
	test_free(iotlb);
	files_close();
}

static void what_lies_apart_is_stitched(void)
{
	const struct map_spec near[] = { specs[0], { .gpa = BYTES, .size_bytes = BYTES, .uaddr = UADDR + BYTES } };
	struct map_faults faults = { .event_fd = -1 };
	struct map_stitch *stitch = NULL;
	struct map *map;
	const char *why;

	files_open();
	assert_int_equal(map_new(NULL, near, files, 2, NULL, &map, &why), 0);
	shortage.on = true;
	if (made(map_stitch_new(map, BYTES - PAGE, 2 * PAGE, true, &faults, &stitch)))
		assert_non_null(map_stitch_host(stitch));
	shortage.on = false;
	map_stitch_free(stitch);
	map_unref(map);
	files_close();
}

static void a_log_is_mapped(void)
{
	struct dirty_log *log = NULL, *next = NULL;
	struct map_faults faults = { .event_fd = -1 };
	const char *why = NULL;

	files_open();
	shortage.on = true;
	if (made(dirty_log_new(files[0], 0, PAGE, &faults, &log, &why)) && made(dirty_log_new(files[1], PAGE, PAGE, &faults, &next, &why)))
		dirty_log_mark(next, 0, PAGE);
	else
		assert_non_null(why);
	shortage.on = false;
	dirty_log_unref(log);
	dirty_log_unref(next);
	files_close();
}

static void pages_come_late(void)
{
	struct map_faults faults = { .event_fd = -1 };
	struct map *map = NULL;
	const char *why = NULL;
	int fd = -1;

	files_open();
	shortage.on = true;
	if (made(late_new(&faults.late))) {
		fd = late_fd_dup(faults.late);
		if (made(fd < 0 ? fd : 0))
			made(map_new(NULL, specs, files, 2, &faults, &map, &why));
		shortage.on = false;
		late_end(faults.late);
		late_unref(faults.late);
	}
	shortage.on = false;
	map_unref(map);
	if (fd >= 0)
		close(fd);
	files_close();
}

/* Whoever cannot look for its own cgroup goes by the machine. */
static void what_there_is_is_looked_for(void)
{
	uint64_t limit;
	int fd;

	shortage.on = true;
	limit = charge_limit();
	fd = charge_open();
	shortage.on = false;
	assert_true(limit > 0);
	if (fd >= 0)
		close(fd);
}

SHORT(a_map_is_made_and_changed, 0)
SHORT(windows_are_looked_through, 0)
SHORT(what_lies_apart_is_stitched, 0)
SHORT(a_log_is_mapped, 0)
SHORT(what_there_is_is_looked_for, 0)

static void pages_come_late_where_something_is_short(void **state)
{
	struct late *late;

	if (late_new(&late))
		skip(); /* this kernel has no userfaultfd, or not for us */
	late_unref(late);
	for (unsigned kind = 0; kind < SHORT_KINDS; kind++)
		shortage_run((enum shortage_kind)kind, pages_come_late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_is_made_and_changed_where_something_is_short),
		cmocka_unit_test(windows_are_looked_through_where_something_is_short),
		cmocka_unit_test(what_lies_apart_is_stitched_where_something_is_short),
		cmocka_unit_test(a_log_is_mapped_where_something_is_short),
		cmocka_unit_test(what_there_is_is_looked_for_where_something_is_short),
		cmocka_unit_test(pages_come_late_where_something_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
