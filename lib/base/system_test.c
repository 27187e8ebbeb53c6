/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/system.h"
#include "base/refused_test.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define WAIT_NS (2u * NS_PER_MS + 1)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void skip_unless(bool ran)
{
	if (ran)
		return;
	print_message("skipped: no system call can be refused here\n");
	skip();
}

/* ---- waiting ---- */

static int watched(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	assert_true(epoll_fd >= 0);
	assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
	return epoll_fd;
}

/* A wait that returns at once where it should not is a loop that spins: neither a short one nor a long one may. */
static void waits(void)
{
	static const uint64_t waits_ns[] = { 1, NS_PER_MS - 1, WAIT_NS };
	int fd = eventfd(0, EFD_CLOEXEC), epoll_fd = watched(fd);
	struct epoll_event events[4] = { 0 };
	uint64_t one = 1;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t begin_ns = now_ns();

		assert_int_equal(system_epoll_wait_ns(epoll_fd, events, 4, waits_ns[i]), 0);
		assert_true(now_ns() - begin_ns >= waits_ns[i]);
	}
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(system_epoll_wait_ns(epoll_fd, events, 4, NS_PER_S - 1), 1);
	assert_int_equal(events[0].data.fd, fd);
	close(epoll_fd);
	close(fd);
}

static void a_wait_in_ns_waits(void **state)
{
	waits();
}

static void a_wait_in_ns_waits_where_the_kernel_or_a_filter_refuses_it(void **state)
{
	static const int errors[] = { ENOSYS, EPERM, EACCES };

	for (unsigned i = 0; i < 3; i++)
		skip_unless(refused_run(SYS_epoll_pwait2, errors[i], waits));
}

static void is_interrupted(void)
{
	int fd = eventfd(0, EFD_CLOEXEC), epoll_fd = watched(fd);
	struct epoll_event event;

	assert_int_equal(system_epoll_wait_ns(epoll_fd, &event, 1, NS_PER_S - 1), -1);
	assert_int_equal(errno, EINTR);
	close(epoll_fd);
	close(fd);
}

static void a_wait_that_is_interrupted_does_not_begin_again(void **state)
{
	skip_unless(refused_run(SYS_epoll_pwait2, EINTR, is_interrupted));
}

/* ---- reading ---- */

/* The file blocks: a read that waits would be for ever. */
static void reads_what_is_there(void)
{
	int fd = eventfd(3, EFD_CLOEXEC);
	uint64_t value = 0;

	assert_int_equal(system_read_now(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 3);
	assert_int_equal(system_read_now(fd, &value, sizeof(value)), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
}

static void a_read_now_waits_for_nothing(void **state)
{
	reads_what_is_there();
}

static void a_read_now_waits_for_nothing_where_it_is_refused(void **state)
{
	static const int errors[] = { ENOSYS, EPERM, EOPNOTSUPP };

	for (unsigned i = 0; i < 3; i++)
		skip_unless(refused_run(SYS_preadv2, errors[i], reads_what_is_there));
}

/* ---- processes ---- */

static void an_fd_of_a_process_is_taken(void **state)
{
	int pidfd = system_pidfd_open(getpid()), fd = eventfd(5, EFD_CLOEXEC), taken;
	uint64_t value = 0;

	if (pidfd < 0 && errno == ENOSYS)
		skip();
	assert_true(pidfd >= 0);
	taken = system_pidfd_getfd(pidfd, fd);
	if (taken < 0 && (errno == ENOSYS || errno == EPERM))
		skip();
	assert_true(taken >= 0);
	assert_int_equal(read(taken, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 5);
	close(taken);
	close(fd);
	close(pidfd);
}

static void a_process_that_is_not_there_has_no_pidfd(void **state)
{
	assert_int_equal(system_pidfd_open(-1), -1);
	assert_int_equal(system_pidfd_getfd(-1, 0), -1);
}

/* ---- files ---- */

static void a_file_is_what_stat_says(void **state)
{
	struct system_statx stx;
	struct stat st;

	memset(&stx, 0, sizeof(stx));
	assert_int_equal(system_statx(AT_FDCWD, "/", 0, STATX_TYPE | STATX_INO, &stx), 0);
	assert_int_equal(stat("/", &st), 0);
	assert_int_equal(stx.mask & (STATX_TYPE | STATX_INO), STATX_TYPE | STATX_INO);
	assert_int_equal(stx.mode & S_IFMT, S_IFDIR);
	assert_int_equal(stx.ino, st.st_ino);
	assert_int_equal(makedev(stx.dev_major, stx.dev_minor), st.st_dev);
	assert_int_equal(system_statx(-1, "", AT_EMPTY_PATH, STATX_TYPE, &stx), -1);
	assert_int_equal(errno, EBADF);
}

/* ---- errors ---- */

static void each_errno_has_a_text(void **state)
{
	assert_string_equal(system_errno_text(ENOENT), "No such file or directory");
	for (int err = 0; err < 200; err++)
		assert_true(*system_errno_text(err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_in_ns_waits),
		cmocka_unit_test(a_wait_in_ns_waits_where_the_kernel_or_a_filter_refuses_it),
		cmocka_unit_test(a_wait_that_is_interrupted_does_not_begin_again),
		cmocka_unit_test(a_read_now_waits_for_nothing),
		cmocka_unit_test(a_read_now_waits_for_nothing_where_it_is_refused),
		cmocka_unit_test(an_fd_of_a_process_is_taken),
		cmocka_unit_test(a_process_that_is_not_there_has_no_pidfd),
		cmocka_unit_test(a_file_is_what_stat_says),
		cmocka_unit_test(each_errno_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
