/* SPDX-License-Identifier: BSD-3-Clause */
/* What the environment says is foreign, too; and signs of life that reach a manager's socket. */
#include "daemon/watchdog.h"
#include "base/loop.h"
#include "daemon/notify.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static uint64_t period(const char *usec, const char *pid)
{
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (usec)
		setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	return watchdog_period_ms(watchdog_us());
}

static void the_period_is_half_of_what_the_manager_waits(void **state)
{
	char self[32], other[32];

	snprintf(self, sizeof(self), "%d", (int)getpid());
	snprintf(other, sizeof(other), "%d", (int)getpid() + 1);
	assert_int_equal(period("30000000", NULL), 15000);
	assert_int_equal(period("30000000", self), 15000);
	assert_int_equal(period("30000000", other), 0);
	assert_int_equal(period("10", NULL), 1);
}

static void what_is_no_number_is_no_watchdog(void **state)
{
	const char *const bad[] = {"", "0", "-1", " 1000000", "1000000x", "1e6", "1000000000001", "99999999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(period(bad[i], NULL), 0);
	assert_int_equal(period("1000000", ""), 0);
	assert_int_equal(period("1000000", "me"), 0);
	assert_int_equal(period(NULL, NULL), 0);
}

static void who_takes_over_gives_signs_as_the_one_before_did(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(watchdog_us_taken(0, 7000000), 7000000);
	assert_int_equal(watchdog_us_taken(5000000, 7000000), 5000000);
	assert_int_equal(watchdog_us_taken(0, 0), 0);
	assert_int_equal(watchdog_us_taken(0, -7), 0);
	assert_int_equal(watchdog_us_taken(0, INT64_MAX), 0);
	assert_int_equal(watchdog_us_taken(0, WATCHDOG_UNTOLD), 0); /* nobody hears them */
	setenv("NOTIFY_SOCKET", "@nobody", 1);
	assert_int_equal(watchdog_us_taken(0, WATCHDOG_UNTOLD), 30000000);
	assert_int_equal(watchdog_us_taken(5000000, WATCHDOG_UNTOLD), 5000000);
	assert_int_equal(watchdog_us_taken(0, 0), 0);
}

/* An abstract address, which nobody has to remove. */
static int manager_open(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int len = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "vireo-watchdog-test-%d", (int)getpid());
	char name[64];

	snprintf(name, sizeof(name), "@vireo-watchdog-test-%d", (int)getpid());
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void signs_of_life_come_again_and_again(void **state)
{
	struct watchdog *watchdog = NULL;
	int manager = manager_open(), signs = 0;
	struct loop *loop;
	char text[64];

	assert_int_equal(period("2000", NULL), 1);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(watchdog_open(loop, watchdog_us(), &watchdog), 0);
	assert_non_null(watchdog);
	for (int turn = 0; turn < 1000 && signs < 3; turn++) {
		ssize_t n;

		assert_true(loop_dispatch(loop, 20000) > 0);
		while ((n = recv(manager, text, sizeof(text), 0)) > 0) {
			assert_int_equal(n, strlen("WATCHDOG=1"));
			assert_memory_equal(text, "WATCHDOG=1", n);
			signs++;
		}
	}
	assert_true(signs >= 3);
	watchdog_free(watchdog);
	loop_free(loop);
	close(manager);
}

/* Whoever takes over comes when the last one is nearly due. */
static void the_first_sign_of_life_comes_at_once(void **state)
{
	struct watchdog *watchdog = NULL;
	int manager = manager_open();
	struct loop *loop;
	char text[64];

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(watchdog_open(loop, UINT64_C(600000000), &watchdog), 0);
	assert_int_equal(loop_dispatch(loop, 20000), 1);
	assert_int_equal(recv(manager, text, sizeof(text), 0), strlen("WATCHDOG=1"));
	watchdog_free(watchdog);
	loop_free(loop);
	close(manager);
}

/* Whose socket is full first: this ends when there is room, and it is told. */
static void *reads_later(void *argument)
{
	const int *manager = argument;
	char text[64];
	ssize_t n;

	usleep(50000);
	do {
		n = recv(*manager, text, sizeof(text) - 1, 0);
		if (n < 0)
			usleep(1000);
		else
			text[n] = '\0';
	} while (n < 0 || !strncmp(text, "WATCHDOG", 8));
	return strdup(text);
}

static void the_manager_is_told_who_is_the_main_process(void **state)
{
	int manager = manager_open();
	char wanted[32];
	void *said;
	pthread_t reader;

	for (unsigned i = 0; i < 2000; i++) /* more than any kernel keeps for it */
		notify("WATCHDOG=1", false);
	assert_int_equal(pthread_create(&reader, NULL, reads_later, &manager), 0);
	notify_main_pid(4711, 60000);
	assert_int_equal(pthread_join(reader, &said), 0);
	snprintf(wanted, sizeof(wanted), "MAINPID=%d\nWATCHDOG=1", 4711);
	assert_string_equal(said, wanted);
	free(said);
	close(manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_period_is_half_of_what_the_manager_waits),
		cmocka_unit_test(what_is_no_number_is_no_watchdog),
		cmocka_unit_test(who_takes_over_gives_signs_as_the_one_before_did),
		cmocka_unit_test(signs_of_life_come_again_and_again),
		cmocka_unit_test(the_first_sign_of_life_comes_at_once),
		cmocka_unit_test(the_manager_is_told_who_is_the_main_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
