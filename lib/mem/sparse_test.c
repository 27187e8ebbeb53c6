/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "mem/backing.h"
#include "mem/budget.h"
#include "mem/fault.h"
#include "mem/map.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define PAGES 64u
#define SHARE 8u /* pages of one port: half of what there are */

static struct vireo_fault_table *handler_table;
static struct vireo_memory *memory;
static volatile sig_atomic_t handled;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	if (!vireo_fault_handle(handler_table, info->si_addr))
		_exit(66);
	handled++;
}

/* What the kernel says that we are charged for. */
static void charged_set(unsigned bytes)
{
	int stat = memfd_create("stat", MFD_CLOEXEC);

	assert_true(dprintf(stat, "anon 0\nshmem %u\n", bytes) > 0);
	mem_shared_file_set(memory, stat, 0);
	fd_close(&stat);
}

static int set_up(void **state)
{
	const struct vireo_memory_config config = { .size = sizeof(config), .made_bytes = 2 * SHARE * PAGE };

	handled = 0;
	if (vireo_fault_table_new(1024, &handler_table) || vireo_memory_new(&config, &memory))
		return -1;
	charged_set(1000 * PAGE);
	return 0;
}

static int tear_down(void **state)
{
	vireo_memory_free(memory);
	vireo_fault_table_free(handler_table);
	return 0;
}

struct guest {
	int memfd;
	unsigned faulted;
	struct map_faults faults;
	struct map *map;
};

static void map_start(struct guest *g, unsigned flags)
{
	const struct map_spec spec = { .size_bytes = PAGES * PAGE };
	const char *why;

	g->memfd = memfd_create("guest", MFD_CLOEXEC | flags);
	assert_int_equal(ftruncate(g->memfd, PAGES * PAGE), 0);
	assert_int_equal(map_new(NULL, &spec, &g->memfd, 1, &g->faults, &g->map, &why), 0);
}

static void map_stop(struct guest *g)
{
	map_unref(g->map);
	fd_close(&g->memfd);
}

static void guest_start(struct guest *g)
{
	const struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	if (vireo_memory_watch_error(memory)) {
		print_message("no userfaultfd: %s\n", strerror(-vireo_memory_watch_error(memory)));
		skip();
	}
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
	*g = (struct guest){ .faults = { .table = handler_table, .faulted = &g->faulted, .session = 1 } };
	assert_int_equal(fd_event_new(&g->faults.event_fd), 0);
	g->faults.account = mem_account_open(memory, 0);
	map_start(g, 0);
}

static void guest_stop(struct guest *g)
{
	map_stop(g);
	mem_account_close(g->faults.account);
	fd_close(&g->faults.event_fd);
}

static volatile uint8_t *page_of(struct guest *g, unsigned page)
{
	return g->map->regions[0].host + (size_t)page * PAGE;
}

static unsigned pages_in_file(const struct guest *g)
{
	struct stat st;

	assert_int_equal(fstat(g->memfd, &st), 0);
	return (unsigned)(st.st_blocks * 512 / PAGE);
}

static void pages_that_are_there_cost_nothing(void **state)
{
	uint8_t page[PAGE] = { 7 };
	struct guest g;

	guest_start(&g);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(pwrite(g.memfd, page, sizeof(page), i * PAGE), PAGE);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(*page_of(&g, i), 7);
	assert_int_equal(handled, 0);
	assert_int_equal(g.faults.account->made_bytes, 0);
	guest_stop(&g);
}

static void untouched_pages_are_made_up_to_a_share(void **state)
{
	struct guest liar, other;

	guest_start(&liar);
	guest_start(&other);
	for (unsigned i = 0; i < SHARE; i++)
		*page_of(&liar, 3 * i) = (uint8_t)(i + 1);
	assert_int_equal(handled, SHARE);
	assert_int_equal(pages_in_file(&liar), SHARE);
	assert_int_equal(liar.faults.account->made_bytes, SHARE * PAGE);
	assert_false(liar.faulted);
	for (unsigned i = 0; i < SHARE; i++) {
		uint8_t byte;

		assert_int_equal(pread(liar.memfd, &byte, 1, 3 * i * PAGE), 1);
		assert_int_equal(byte, i + 1); /* the page is the guest's own */
	}

	*page_of(&liar, 1) = 1;
	assert_int_equal(*page_of(&liar, 2), 0);
	assert_true(liar.faulted);
	assert_int_equal(liar.faults.account->refusal, MEM_REFUSED_SHARE);
	assert_int_equal(pages_in_file(&liar), SHARE);
	assert_int_equal(liar.faults.account->made_bytes, SHARE * PAGE);

	*page_of(&other, 1) = 1; /* there is something left for the others */
	assert_false(other.faulted);
	assert_int_equal(pages_in_file(&other), 1);
	guest_stop(&liar);
	guest_stop(&other);
}

static void truncation_is_one_beside_untouched_pages(void **state)
{
	struct guest g;

	guest_start(&g);
	*page_of(&g, 0) = 1;
	assert_int_equal(ftruncate(g.memfd, 2 * PAGE), 0);
	assert_int_equal(*page_of(&g, 1), 0); /* untouched, and in the file */
	assert_false(g.faulted);
	assert_int_equal(*page_of(&g, 2), 0);
	assert_true(g.faulted);
	assert_int_equal(g.faults.account->refusal, MEM_REFUSED_NOTHING);
	assert_int_equal(g.faults.account->made_bytes, 2 * PAGE);
	guest_stop(&g);
}

/* Who hangs up and comes again with another file has not given back the pages of the first. */
static void what_was_made_counts_beyond_the_session(void **state)
{
	struct guest g;
	int first;

	guest_start(&g);
	for (unsigned i = 0; i < SHARE; i++)
		*page_of(&g, i) = 1;
	first = dup(g.memfd);
	map_stop(&g);
	map_start(&g, 0);
	*page_of(&g, 0) = 1;
	assert_true(g.faulted);
	assert_int_equal(pages_in_file(&g), 0);
	fd_close(&first);
	guest_stop(&g);
}

static void what_the_kernel_says_is_gone_counts_no_more(void **state)
{
	struct guest g;

	guest_start(&g);
	for (unsigned i = 0; i < SHARE; i++)
		*page_of(&g, i) = 1;
	map_stop(&g);
	map_start(&g, 0);
	charged_set(3 * PAGE);
	*page_of(&g, 0) = 1;
	assert_false(g.faulted);
	assert_int_equal(g.faults.account->made_bytes, 4 * PAGE); /* the three at most, and this one */
	guest_stop(&g);
}

/* The file stays as it is where a session was handed over; one that begins finds another, which tells of some pages too late. */
static void what_the_kernel_says_is_looked_for_again_by_sessions_that_begin(void **state)
{
	for (unsigned handed = 0; handed < 2; handed++) {
		struct guest g;

		guest_start(&g);
		for (unsigned i = 0; i < SHARE; i++)
			*page_of(&g, i) = 1;
		map_stop(&g);
		map_start(&g, 0);
		charged_set(3 * PAGE);
		mem_account_session(g.faults.account, handed);
		*page_of(&g, 0) = 1;
		assert_int_equal(g.faulted, !handed);
		assert_int_equal(g.faults.account->made_bytes, (handed ? 4 : SHARE) * PAGE);
		guest_stop(&g);
		vireo_memory_free(memory);
		vireo_fault_table_free(handler_table);
		assert_int_equal(set_up(NULL), 0);
	}
}

/* The port's whole account is taken off, with a page in it that is being made: by the guest, as it turns out. */
static void an_account_never_has_less_than_nothing(void **state)
{
	struct vireo_memory_use use;
	struct guest g, gone;

	guest_start(&g);
	guest_start(&gone);
	for (unsigned i = 0; i < SHARE / 4; i++)
		*page_of(&gone, i) = 1;
	for (unsigned i = 0; i < SHARE - SHARE / 8; i++)
		*page_of(&g, i) = 1;
	charged_set(0);
	assert_true(mem_account_make(g.faults.account, (void *)(uintptr_t)page_of(&g, 0), PAGE));
	mem_account_use(g.faults.account, &use);
	assert_int_equal(use.made_bytes, 0);
	for (unsigned i = 0; i < SHARE; i++)
		*page_of(&g, SHARE + i) = 1;
	assert_false(g.faulted);
	guest_stop(&g);
	guest_stop(&gone);
}

static void system_call_gets_what_was_touched_before(void **state)
{
	int pipes[2];
	struct guest g;
	struct iovec piece;

	guest_start(&g);
	piece = (struct iovec){ (void *)(uintptr_t)(page_of(&g, 1) - 1), PAGE + 2 }; /* of three pages */
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(writev(pipes[1], &piece, 1), -1);
	assert_int_equal(errno, EFAULT);
	vireo_memory_touch(&piece, 1);
	assert_int_equal(handled, 3);
	assert_int_equal(writev(pipes[1], &piece, 1), PAGE + 2);
	vireo_memory_touch(&(struct iovec){ NULL, 0 }, 1);
	fd_close(&pipes[0]);
	fd_close(&pipes[1]);
	guest_stop(&g);
}

/* A page that is mapped privately and made would not be the file's: what the guest writes later was not seen. */
static void private_mapping_sees_what_comes_later(void **state)
{
	const struct map_spec spec = { .size_bytes = PAGES * PAGE };
	const bool read_only = true;
	uint8_t byte = 5;
	struct guest g;
	const char *why;

	guest_start(&g);
	map_unref(g.map);
	assert_int_equal(map_new_vouched(NULL, &spec, &g.memfd, &read_only, 1, &g.faults, &g.map, &why), 0);
	assert_int_equal(*page_of(&g, 0), 0);
	assert_int_equal(pwrite(g.memfd, &byte, 1, 0), 1);
	assert_int_equal(*page_of(&g, 0), 5);
	assert_int_equal(handled, 0);
	guest_stop(&g);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(pages_that_are_there_cost_nothing),
		TEST(untouched_pages_are_made_up_to_a_share),
		TEST(truncation_is_one_beside_untouched_pages),
		TEST(what_was_made_counts_beyond_the_session),
		TEST(what_the_kernel_says_is_gone_counts_no_more),
		TEST(what_the_kernel_says_is_looked_for_again_by_sessions_that_begin),
		TEST(an_account_never_has_less_than_nothing),
		TEST(system_call_gets_what_was_touched_before),
		TEST(private_mapping_sees_what_comes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
