/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/notifier.h"
#include "base/fd.h"
#include "vireo/notifier.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static struct vireo_notifier *make(void)
{
	struct vireo_notifier *notifier = NULL;
	int err = vireo_notifier_new(&notifier);

	if (err == -ENOSYS || err == -EPERM) /* a container without kernel AIO */
		skip();
	assert_int_equal(err, 0);
	return notifier;
}

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	assert_int_equal(fd_nonblocking(fd), 0);
	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void each_raise_counts_once(void **state)
{
	struct vireo_notifier *notifier = make();
	int fd = eventfd(0, EFD_CLOEXEC);

	errno = 77;
	for (int i = 0; i < 10000; i++) /* far more than the context has places */
		notifier_raise(notifier, fd);
	assert_int_equal(errno, 77);
	assert_int_equal(count_of(fd), 10000);
	fd_close(&fd);
	vireo_notifier_free(notifier);
}

static void raise_does_not_wait_on_a_full_blocking_eventfd(void **state)
{
	struct vireo_notifier *notifier = make();
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	alarm(100); /* a raise that waits ends the test */
	for (int i = 0; i < 1000; i++)
		notifier_raise(notifier, fd);
	alarm(0);
	assert_true(count_of(fd) >= most);
	fd_close(&fd);
	vireo_notifier_free(notifier);
}

static void no_notifier_means_a_write(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	notifier_raise(NULL, fd);
	assert_int_equal(count_of(fd), 1);
	fd_close(&fd);
	vireo_notifier_free(NULL);
}

#define THREADS 4
#define RAISES 20000

static struct vireo_notifier *shared;
static int shared_fd;

static void *raiser(void *opaque)
{
	for (int i = 0; i < RAISES; i++)
		notifier_raise(shared, shared_fd);
	return NULL;
}

static void threads_share_a_notifier(void **state)
{
	pthread_t threads[THREADS];

	shared = make();
	shared_fd = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, raiser, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(count_of(shared_fd), THREADS * RAISES);
	fd_close(&shared_fd);
	vireo_notifier_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_raise_counts_once),
		cmocka_unit_test(raise_does_not_wait_on_a_full_blocking_eventfd),
		cmocka_unit_test(no_notifier_means_a_write),
		cmocka_unit_test(threads_share_a_notifier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
