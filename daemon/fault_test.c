/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "daemon/fault.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
/* after the above: */
#include <cmocka.h>

#define PAGES 8u
#define SKIPPED 77
#define AREAS 300u /* more than there is room for */

static size_t page_bytes;

/* By the test itself: cmocka has taken the signal when it begins. */
static void handler_open(void)
{
	struct vireo_fault_table *table;

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(fault_handler_open(&table), 0);
}

/* A file in memory of so many pages, of which all are mapped. */
static uint8_t *map_file(unsigned pages, int *ret_fd)
{
	uint8_t *at;

	*ret_fd = memfd_create("fault_test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(*ret_fd, (off_t)(pages * page_bytes)), 0);
	at = mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void a_page_that_a_file_lost_is_told_and_reads_as_zeroes(void **state)
{
	bool lost = false, other_lost = false;
	uint8_t *at, *other;
	int fd, other_fd;

	handler_open();
	at = map_file(PAGES, &fd);
	other = map_file(PAGES, &other_fd);
	memset(at, 1, PAGES * page_bytes);
	assert_int_equal(fault_watch(other, PAGES * page_bytes, &other_lost), 0);
	assert_int_equal(fault_watch(at, PAGES * page_bytes, &lost), 0);
	assert_int_equal(ftruncate(fd, (off_t)(4 * page_bytes)), 0);
	assert_int_equal(*(volatile uint8_t *)(at + 3 * page_bytes), 1);
	assert_false(lost);
	assert_int_equal(*(volatile uint8_t *)(at + 4 * page_bytes + 17), 0);
	assert_true(lost);
	lost = false;
	*(volatile uint8_t *)(at + PAGES * page_bytes - 1) = 7; /* the last byte that is watched */
	assert_true(lost);
	lost = false;
	*(volatile uint8_t *)(at + 4 * page_bytes) = 7; /* it is there now, and private */
	assert_false(lost);
	assert_false(other_lost);
	fault_unwatch(at);
	fault_unwatch(other);
	munmap(at, PAGES * page_bytes);
	munmap(other, PAGES * page_bytes);
	close(fd);
	close(other_fd);
	fault_handler_close();
}

/* A child touches what nobody watches (any more): the signal that it ends by. */
static int signal_of_touching(const uint8_t *at)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		(void)*(const volatile uint8_t *)at;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void what_nobody_watches_is_the_end(void **state)
{
	bool lost = false;
	uint8_t *at;
	int fd;

	handler_open();
	at = map_file(2, &fd);
	assert_int_equal(signal_of_touching(at + 2 * page_bytes), SIGBUS);
	assert_int_equal(fault_watch(at, 3 * page_bytes, &lost), 0);
	assert_int_equal(signal_of_touching(at + 2 * page_bytes), 0);
	assert_int_equal(signal_of_touching(at + 3 * page_bytes), SIGBUS); /* behind its end */
	fault_unwatch(at);
	assert_int_equal(signal_of_touching(at + 2 * page_bytes), SIGBUS);
	munmap(at, PAGES * page_bytes);
	close(fd);
	fault_handler_close();
}

/* As a guest may bring it to that the pages of whose memory go one by one. */
static void mappings_use_up(void)
{
	size_t pages = 1u << 22;
	uint8_t *at = mmap(NULL, pages * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		_exit(SKIPPED);
	for (size_t i = 1; i < pages; i += 2)
		if (mprotect(at + i * page_bytes, page_bytes, PROT_READ))
			return;
	_exit(SKIPPED); /* there may be more than that */
}

static void touch_without_mappings(uint8_t *at, const bool *lost)
{
	mappings_use_up();
	if (mprotect(at, page_bytes, PROT_READ) == 0)
		_exit(4); /* it can be cut out: this shows nothing */
	*(volatile uint8_t *)(at + 4 * page_bytes) = 7;
	if (!*lost || *(volatile uint8_t *)(at + 4 * page_bytes) != 7 || *(volatile uint8_t *)at || *(volatile uint8_t *)(at + PAGES * page_bytes - 1))
		_exit(5);
	_exit(0);
}

static void where_no_mapping_is_left_the_area_goes_and_not_the_process(void **state)
{
	bool lost = false;
	int fd, status;
	uint8_t *at;
	pid_t child;

	handler_open();
	at = map_file(PAGES, &fd);
	memset(at, 1, PAGES * page_bytes);
	assert_int_equal(fault_watch(at, PAGES * page_bytes, &lost), 0);
	assert_int_equal(ftruncate(fd, (off_t)(2 * page_bytes)), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		touch_without_mappings(at, &lost);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(*(volatile uint8_t *)(at + page_bytes), 1);
	fault_unwatch(at);
	munmap(at, PAGES * page_bytes);
	close(fd);
	fault_handler_close();
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void too_many_are_refused_and_room_is_used_again(void **state)
{
	static bool lost[AREAS];
	unsigned count = 0;
	uint8_t *at;
	int fd;

	handler_open();
	at = map_file(PAGES, &fd);
	/* Nobody touches these. */
	while (count < AREAS && !fault_watch(at + count, page_bytes, &lost[count]))
		count++;
	assert_in_range(count, 64, AREAS - 1);
	assert_int_equal(fault_watch(at + count, page_bytes, &lost[count]), -ENOSPC);
	fault_unwatch(at + 5);
	assert_int_equal(fault_watch(at + count, page_bytes, &lost[count]), 0);
	assert_int_equal(fault_watch(at + 5, page_bytes, &lost[5]), -ENOSPC);
	for (unsigned i = 0; i <= count; i++)
		fault_unwatch(at + i);
	munmap(at, PAGES * page_bytes);
	close(fd);
	fault_handler_close();
}

static void without_a_handler_nothing_is_watched(void **state)
{
	bool lost = false;
	int fd;
	uint8_t *at;

	handler_open();
	at = map_file(PAGES, &fd);
	fault_handler_close();
	assert_int_equal(fault_watch(at, page_bytes, &lost), -ENOSPC);
	munmap(at, PAGES * page_bytes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_that_a_file_lost_is_told_and_reads_as_zeroes),
		cmocka_unit_test(what_nobody_watches_is_the_end),
		cmocka_unit_test(where_no_mapping_is_left_the_area_goes_and_not_the_process),
		cmocka_unit_test(too_many_are_refused_and_room_is_used_again),
		cmocka_unit_test(without_a_handler_nothing_is_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
