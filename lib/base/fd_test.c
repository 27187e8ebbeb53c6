/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void closing_empties_and_taking_moves_out(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), taken;

	taken = fd_take(&fd);
	assert_int_equal(fd, -1);
	assert_true(taken >= 0);
	fd_close(&fd); /* empty: nothing happens */
	assert_int_equal(fcntl(taken, F_GETFD), FD_CLOEXEC);
	fd = taken;
	errno = 77;
	fd_close(&taken);
	assert_int_equal(errno, 77);
	assert_int_equal(taken, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void event_is_raised_and_cleared_without_blocking(void **state)
{
	uint64_t full = UINT64_MAX - 1;
	int fd;

	assert_int_equal(fd_event_new(&fd), 0);
	assert_false(readable(fd));
	fd_event_clear(fd); /* nothing there */
	fd_event_raise(fd);
	fd_event_raise(fd);
	assert_true(readable(fd));
	fd_event_clear(fd);
	assert_false(readable(fd));
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	errno = 77;
	fd_event_raise(fd);
	assert_int_equal(errno, 77);
	assert_true(readable(fd));
	fd_close(&fd);
}

static void eventfd_may_notify_and_becomes_nonblocking(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(fd_notifier_take(event), 0);
	assert_true(fcntl(event, F_GETFL) & O_NONBLOCK);
	fd_close(&event);
}

static void borrowed_eventfd_stays_as_it_is(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(fd_notifier_borrow(event), 0);
	assert_false(fcntl(event, F_GETFL) & O_NONBLOCK);
	fd_close(&event);
}

/* Its owner may hold its lock for as long as a read of his takes. */
static void pipe_may_not_notify(void **state)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fd_notifier_take(ends[1]), -EINVAL);
	assert_int_equal(fd_notifier_borrow(ends[1]), -EINVAL);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
}

static void assert_no_notifier(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	assert_true(fd >= 0);
	assert_int_equal(fd_notifier_take(fd), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFL), flags);
	close(fd);
}

static void files_sockets_and_other_anonymous_inodes_may_not_notify(void **state)
{
	int fd;

	assert_no_notifier(memfd_create("notifier", MFD_CLOEXEC));
	assert_no_notifier(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	assert_no_notifier(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_no_notifier(open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_no_notifier(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	assert_no_notifier(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	assert_no_notifier(epoll_create1(EPOLL_CLOEXEC));
	fd = -1;
	assert_int_equal(fd_notifier_take(fd), -EINVAL);
}

static void file_that_is_named_like_an_eventfd_may_not_notify(void **state)
{
	char dir[] = "/tmp/vireo-fd-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/anon_inode:[eventfd]", dir);
	assert_no_notifier(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	unlink(path);
	rmdir(dir);
}

/* Binds, connects and removes a socket at `path` by way of fd_unix_address(). */
static void assert_socket_works(const char *path)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;
	socklen_t len;
	struct stat st;
	int dir_fd;

	assert_int_equal(fd_unix_address(path, &addr, &len, &dir_fd), 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	fd_close(&dir_fd);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));

	assert_int_equal(fd_unix_address(path, &addr, &len, &dir_fd), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, len), 0);
	fd_close(&dir_fd);
	fd_close(&client);
	fd_close(&listener);
	assert_int_equal(unlink(path), 0);
}

#define DEPTH 5

static void unix_address_may_have_any_length(void **state)
{
	char path[1024], dirs[DEPTH][512], name[128];
	int used = snprintf(path, sizeof(path), "/tmp/vireo-fd-%d", (int)getpid());

	for (int i = 0; i < DEPTH; i++) {
		used += snprintf(path + used, sizeof(path) - (size_t)used, "/%030d", i);
		memcpy(dirs[i], path, sizeof(dirs[i]));
		if (!i) {
			char *top = strrchr(dirs[0], '/');

			*top = 0;
			assert_int_equal(mkdir(dirs[0], 0700), 0);
			*top = '/';
		}
		assert_int_equal(mkdir(path, 0700), 0);
	}
	/* Around the limit of sun_path, then far beyond it. */
	for (size_t target = 104; target <= 112; target++) {
		size_t base = strlen(dirs[1]);

		memset(name, 'n', sizeof(name));
		name[target - base - 1] = 0;
		assert_int_equal(snprintf(path, sizeof(path), "%s/%s", dirs[1], name), (int)target);
		assert_socket_works(path);
	}
	snprintf(path, sizeof(path), "%s/sock", dirs[DEPTH - 1]);
	assert_true(strlen(path) > 150);
	assert_socket_works(path);

	for (int i = DEPTH - 1; i >= 0; i--)
		assert_int_equal(rmdir(dirs[i]), 0);
	*strrchr(dirs[0], '/') = 0;
	assert_int_equal(rmdir(dirs[0]), 0);
}

static void unix_address_that_cannot_be_is_refused(void **state)
{
	struct sockaddr_un addr = { .sun_family = 99 };
	socklen_t len = 99;
	int dir_fd = 99;
	char path[300];

	assert_int_equal(fd_unix_address("", &addr, &len, &dir_fd), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0; /* one component, too long for any address */
	assert_int_equal(fd_unix_address(path, &addr, &len, &dir_fd), -ENAMETOOLONG);
	path[0] = '/';
	path[200] = '/'; /* in a directory that is not there */
	path[220] = 0;
	assert_int_equal(fd_unix_address(path, &addr, &len, &dir_fd), -ENOENT);
	assert_int_equal(addr.sun_family, 99);
	assert_int_equal(len, 99);
	assert_int_equal(dir_fd, 99);
}

static void raise_does_not_wait_on_a_full_file_that_was_made_blocking_again(void **state)
{
	uint64_t most = UINT64_MAX - 1;
	int fd;

	assert_int_equal(fd_event_new(&fd), 0);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	alarm(100); /* a raise that waits ends the test */
	fd_event_raise(fd);
	alarm(0);
	fd_close(&fd);
}

static void clear_does_not_wait_on_an_eventfd_that_was_made_blocking_again(void **state)
{
	int fd;

	assert_int_equal(fd_event_new(&fd), 0);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	alarm(100);
	fd_event_clear(fd);
	fd_event_raise(fd);
	fd_event_clear(fd);
	alarm(0);
	assert_false(readable(fd));
	fd_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closing_empties_and_taking_moves_out),
		cmocka_unit_test(event_is_raised_and_cleared_without_blocking),
		cmocka_unit_test(eventfd_may_notify_and_becomes_nonblocking),
		cmocka_unit_test(borrowed_eventfd_stays_as_it_is),
		cmocka_unit_test(pipe_may_not_notify),
		cmocka_unit_test(files_sockets_and_other_anonymous_inodes_may_not_notify),
		cmocka_unit_test(file_that_is_named_like_an_eventfd_may_not_notify),
		cmocka_unit_test(unix_address_may_have_any_length),
		cmocka_unit_test(unix_address_that_cannot_be_is_refused),
		cmocka_unit_test(raise_does_not_wait_on_a_full_file_that_was_made_blocking_again),
		cmocka_unit_test(clear_does_not_wait_on_an_eventfd_that_was_made_blocking_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
