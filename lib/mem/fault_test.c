/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "mem/fault.h"
#include "mem/map.h"
#include <errno.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define PAGES 16u
#define GPA UINT64_C(0x100000)
#define UADDR UINT64_C(0x7f0000000000)

static struct vireo_fault_table *handler_table; /* what a program's handler has, too */
static volatile sig_atomic_t handled;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	if (!vireo_fault_handle(handler_table, info->si_addr))
		_exit(66); /* not ours */
	handled++;
}

static int set_up(void **state)
{
	handled = 0;
	return vireo_fault_table_new(1024, &handler_table);
}

static int tear_down(void **state)
{
	vireo_fault_table_free(handler_table);
	return 0;
}

struct guest {
	int memfd, event_fd;
	unsigned faulted;
	struct map_faults faults;
	struct map *map;
};

static void guest_start(struct guest *g)
{
	const struct map_spec spec = { .gpa = GPA, .size_bytes = PAGES * PAGE, .uaddr = UADDR };
	const struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	const char *why;

	/* Here and not in set_up(): cmocka sets a handler of its own between the two, and undoes ours. */
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
	*g = (struct guest){ .memfd = memfd_create("guest", MFD_CLOEXEC) };
	assert_int_equal(ftruncate(g->memfd, PAGES * PAGE), 0);
	assert_int_equal(fd_event_new(&g->event_fd), 0);
	g->faults = (struct map_faults){ .table = handler_table,
					 .event_fd = g->event_fd,
					 .faulted = &g->faulted, .session = 1 };
	assert_int_equal(map_new(NULL, &spec, &g->memfd, 1, &g->faults, &g->map, &why), 0);
}

static volatile uint8_t *guest_byte(struct guest *g, uint64_t offset)
{
	struct map_cache cache = { 0 };
	uint64_t usable;

	return map_gpa(g->map, &cache, GPA + offset, &usable);
}

static bool guest_was_told(const struct guest *g)
{
	struct pollfd p = { .fd = g->event_fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && g->faulted;
}

static void guest_stop(struct guest *g)
{
	map_unref(g->map);
	fd_close(&g->memfd);
	fd_close(&g->event_fd);
}

static void truncated_memory_reads_as_zero_and_its_owner_is_told(void **state)
{
	struct guest liar, honest;

	guest_start(&liar);
	guest_start(&honest);
	*guest_byte(&liar, 0) = 1;
	*guest_byte(&liar, 5 * PAGE) = 2;
	*guest_byte(&honest, 5 * PAGE) = 3;
	assert_int_equal(ftruncate(liar.memfd, PAGE), 0);
	assert_false(guest_was_told(&liar));

	assert_int_equal(*guest_byte(&liar, 5 * PAGE), 0);
	assert_int_equal(handled, 1);
	assert_true(guest_was_told(&liar));
	*guest_byte(&liar, 5 * PAGE + 1) = 7; /* the page is there now */
	*guest_byte(&liar, PAGES * PAGE - 1) = 8; /* a write faults as well */
	assert_int_equal(handled, 2);
	assert_int_equal(*guest_byte(&liar, 5 * PAGE + 1), 7);
	assert_int_equal(*guest_byte(&liar, 0), 1); /* what was not cut off stays */

	assert_false(guest_was_told(&honest));
	assert_int_equal(*guest_byte(&honest, 5 * PAGE), 3);
	guest_stop(&liar);
	guest_stop(&honest);
}

static void whole_copy_survives_truncation_to_nothing(void **state)
{
	static uint8_t copy[PAGES * PAGE];
	struct guest g;

	guest_start(&g);
	memset(copy, 0xff, sizeof(copy));
	assert_int_equal(ftruncate(g.memfd, 0), 0);
	memcpy(copy, (const void *)(uintptr_t)guest_byte(&g, 0), sizeof(copy));
	for (size_t i = 0; i < sizeof(copy); i++)
		assert_int_equal(copy[i], 0);
	assert_true(handled >= 1 && handled <= (int)PAGES);
	assert_true(guest_was_told(&g));
	guest_stop(&g);
}

static void huge_page_is_replaced_as_a_whole(void **state)
{
	const uint64_t huge = UINT64_C(2) << 20;
	const struct map_spec spec = {
		.gpa = GPA, .size_bytes = 2 * huge, .uaddr = UADDR, .mmap_offset = 0xc0000
	};
	struct guest g;
	const char *why;
	void *host;

	guest_start(&g);
	map_unref(g.map);
	fd_close(&g.memfd);
	g.memfd = memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	if (g.memfd < 0 || ftruncate(g.memfd, (off_t)(3 * huge)) < 0)
		skip();
	assert_int_equal(map_new(NULL, &spec, &g.memfd, 1, &g.faults, &g.map, &why), 0);
	host = g.map->regions[0].host;
	assert_int_equal(ftruncate(g.memfd, 0), 0);
	*guest_byte(&g, 0) = 1;
	*guest_byte(&g, huge - 0xc0000 - 1) = 2; /* the last byte of the same page */
	assert_int_equal(handled, 1);
	assert_true(guest_was_told(&g));
	*guest_byte(&g, huge - 0xc0000) = 3;
	assert_int_equal(handled, 2);
	assert_int_equal(*guest_byte(&g, 0), 1);
	assert_int_equal(*guest_byte(&g, huge - 0xc0000 - 1), 2);
	guest_stop(&g);
	assert_int_equal(madvise((void *)((uintptr_t)host & ~(uintptr_t)(PAGE - 1)), PAGE, MADV_NORMAL), -1);
	assert_int_equal(errno, ENOMEM); /* unmapped, mixed as it was */
}

static void errno_survives_the_handler(void **state)
{
	struct guest g;

	guest_start(&g);
	assert_int_equal(ftruncate(g.memfd, 0), 0);
	errno = 77;
	assert_int_equal(*guest_byte(&g, 0), 0);
	assert_int_equal(errno, 77);
	guest_stop(&g);
}

static void memory_of_the_program_itself_is_not_repaired(void **state)
{
	int fd = memfd_create("own", MFD_CLOEXEC), status;
	struct guest g;
	pid_t child;
	void *own;

	guest_start(&g);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	own = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(own, MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(vireo_fault_handle(handler_table, own));
	assert_false(vireo_fault_handle(handler_table, NULL));
	assert_false(vireo_fault_handle(handler_table, (char *)g.map->regions[0].host + PAGES * PAGE));
	assert_false(vireo_fault_handle(handler_table, (char *)g.map->regions[0].host - 1));
	assert_false(vireo_fault_handle(NULL, own));
	child = fork();
	if (!child)
		_exit(*(volatile char *)own);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 66);
	munmap(own, PAGE);
	fd_close(&fd);
	guest_stop(&g);
}

static void unmapped_memory_is_forgotten(void **state)
{
	struct guest g;
	void *host;

	guest_start(&g);
	host = g.map->regions[0].host;
	map_ref(g.map);
	map_unref(g.map);
	guest_stop(&g);
	assert_false(vireo_fault_handle(handler_table, host));
	assert_false(g.faulted);
}

static void full_table_refuses_and_slots_are_used_again(void **state)
{
	static uint8_t pages[4][PAGE] __attribute__((aligned(PAGE)));
	struct fault_area area = { .bytes = PAGE, .page_bytes = PAGE, .event_fd = -1 };
	struct vireo_fault_table *table;
	unsigned slots[2], slot = 99;

	assert_int_equal(vireo_fault_table_new(2, &table), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 2; i++) {
			area.start = pages[i];
			assert_int_equal(fault_area_add(table, &area, &slots[i]), 0);
		}
		area.start = pages[2];
		assert_int_equal(fault_area_add(table, &area, &slot), -ENOMEM);
		assert_int_equal(slot, 99);
		fault_area_remove(table, slots[round & 1]);
		fault_area_remove(table, slots[!(round & 1)]);
	}
	assert_false(vireo_fault_handle(table, pages[0]));
	vireo_fault_table_free(table);
	vireo_fault_table_free(NULL);
	assert_int_equal(vireo_fault_table_new(0, &table), 0);
	vireo_fault_table_free(table);
}

static void map_that_finds_the_table_full_is_refused(void **state)
{
	const struct map_spec specs[2] = {
		{ .gpa = GPA, .size_bytes = PAGE, .uaddr = UADDR },
		{ .gpa = GPA + PAGE, .size_bytes = PAGE, .uaddr = UADDR + PAGE, .mmap_offset = PAGE },
	};
	struct map_faults faults = { .event_fd = -1 };
	struct map *map = NULL;
	const char *why = NULL;
	int memfd = memfd_create("guest", MFD_CLOEXEC), fds[] = { memfd, memfd };

	assert_int_equal(ftruncate(memfd, 2 * PAGE), 0);
	assert_int_equal(vireo_fault_table_new(1, &faults.table), 0);
	assert_int_equal(map_new(NULL, specs, fds, 2, &faults, &map, &why), -ENOMEM);
	assert_string_equal(why, "the fault table is full");
	assert_null(map);
	assert_int_equal(map_new(NULL, specs, fds, 1, &faults, &map, &why), 0); /* nothing was leaked */
	map_unref(map);
	vireo_fault_table_free(faults.table);
	fd_close(&memfd);
}

static void page_of_the_files_own_size_is_replaced(void **state)
{
	const size_t big = 4 * PAGE; /* stands for a huge page */
	struct vireo_fault_table *table;
	struct fault_area area;
	unsigned faulted = 0;
	uint8_t *base, *start;
	unsigned slot;

	base = mmap(NULL, 4 * big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	start = base + (big - (uintptr_t)base % big) % big;
	memset(start, 1, 3 * big);
	area = (struct fault_area){ start, 3 * big, big, -1, &faulted, 1 };
	assert_int_equal(vireo_fault_table_new(1, &table), 0);
	assert_int_equal(fault_area_add(table, &area, &slot), 0);
	assert_true(vireo_fault_handle(table, start + big + PAGE + 5));
	assert_true(faulted);
	for (size_t i = 0; i < 3 * big; i++)
		assert_int_equal(start[i], i / big != 1);
	fault_area_remove(table, slot);
	vireo_fault_table_free(table);
	munmap(base, 4 * big);
}

/* Adds and removes areas of its own while the main thread looks one up that stays. */
static void *churn(void *opaque)
{
	static uint8_t pages[8][PAGE] __attribute__((aligned(PAGE)));
	const bool *stop = opaque;
	unsigned slots[8];

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < 8; i++) {
			struct fault_area area = { pages[i], PAGE, PAGE, -1, NULL };

			if (fault_area_add(handler_table, &area, &slots[i]))
				return opaque;
		}
		for (int i = 0; i < 8; i++)
			fault_area_remove(handler_table, slots[i]);
	}
	return NULL;
}

static void lookup_goes_on_while_others_come_and_go(void **state)
{
	bool stop = false;
	pthread_t thread;
	struct guest g;
	void *failed;

	guest_start(&g);
	assert_int_equal(pthread_create(&thread, NULL, churn, &stop), 0);
	for (int i = 0; i < 2000; i++) {
		assert_true(vireo_fault_handle(handler_table, g.map->regions[0].host));
		assert_false(vireo_fault_handle(handler_table, &stop));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, &failed);
	assert_null(failed);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(truncated_memory_reads_as_zero_and_its_owner_is_told, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(whole_copy_survives_truncation_to_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(huge_page_is_replaced_as_a_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errno_survives_the_handler, set_up, tear_down),
		cmocka_unit_test_setup_teardown(memory_of_the_program_itself_is_not_repaired, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(unmapped_memory_is_forgotten, set_up, tear_down),
		cmocka_unit_test(full_table_refuses_and_slots_are_used_again),
		cmocka_unit_test(map_that_finds_the_table_full_is_refused),
		cmocka_unit_test(page_of_the_files_own_size_is_replaced),
		cmocka_unit_test_setup_teardown(lookup_goes_on_while_others_come_and_go, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
