/* SPDX-License-Identifier: BSD-3-Clause */
/* The new process's side. The old one is a child of this process, which says what the test wants of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/unix_socket.h"
#include "daemon/daemon.h"
#include "daemon/handover.h"
#include "daemon/parcel.h"
#include "daemon/takeover.h"
#include "daemon/watchdog.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LATER_US 20000000u /* never reached */
#define ANSWERED 0	   /* exit statuses of the old one */
#define LEFT	 1
#define BROKEN	 2

static struct {
	char folder[64], control[96];
	struct daemon_options options;
	struct daemon daemon;
	struct unix_listener listener;
	struct takeover *takeover;
	uint64_t stopped_us; /* as the old one says it, in so many bytes */
	size_t stopped_bytes;
	char line[128];
} t;

static int set_up(void **state)
{
	struct unix_listen_config listen = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .backlog = 1};

	memset(&t, 0, sizeof(t));
	strcpy(t.folder, "/tmp/takeover-test-XXXXXX");
	assert_non_null(mkdtemp(t.folder));
	snprintf(t.control, sizeof(t.control), "%s/control", t.folder);
	t.options.control = t.control;
	t.daemon.options = &t.options;
	t.daemon.signal_fd = -1;
	assert_int_equal(loop_new(&t.daemon.loop), 0);
	listen.path = t.control;
	assert_int_equal(unix_listen(&listen, &t.listener), 0);
	setenv("NOTIFY_SOCKET", "@nobody", 1);
	return 0;
}

static int tear_down(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	watchdog_free(t.daemon.watchdog);
	unix_unlisten(&t.listener, NULL);
	loop_free(t.daemon.loop);
	assert_int_equal(rmdir(t.folder), 0);
	return 0;
}

/* Connects to who takes over, and answers `result` then. Returns the connection, or -1. */
static int serve(const char *result)
{
	char path[128], text[1024];
	struct pollfd comes = {.fd = t.listener.fd, .events = POLLIN};
	int client, fd, bytes;

	if (poll(&comes, 1, LATER_US / 1000) != 1)
		return -1;
	client = accept(t.listener.fd, NULL, NULL);
	if (client < 0 || read(client, text, sizeof(text)) <= 0)
		return -1;
	snprintf(path, sizeof(path), "%s.%d", t.control, (int)getppid());
	if (unix_connect(path, NULL, &fd) || parcel_socket(fd))
		return -1;
	bytes = snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":%s}\n", result);
	return write(client, text, (size_t)bytes) == bytes ? fd : -1;
}

/* The old process: hands over nothing, and goes if it is answered. */
static pid_t old_one(const char *result)
{
	struct parcel parcel;
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = serve(result);
	if (fd < 0)
		_exit(BROKEN);
	if (parcel_receive(fd, clock_now_us() + LATER_US, &parcel))
		_exit(LEFT);
	if (parcel.kind != HANDOVER_READY || parcel_send(fd, clock_now_us() + LATER_US, HANDOVER_GO, &t.stopped_us, t.stopped_bytes, NULL, 0))
		_exit(BROKEN);
	_exit(ANSWERED);
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static pid_t begin(const char *result)
{
	pid_t old = old_one(result);

	assert_true(old > 0);
	assert_int_equal(takeover_new(&t.daemon, "test", "daemon", 1, 0, NULL, &t.takeover), 0);
	return old;
}

/* What the old one answers is taken, and it goes when there is a timer for that. */
static void expect_signs_of_life(const char *result, uint64_t watchdog_us)
{
	pid_t old = begin(result);

	assert_int_equal(t.daemon.watchdog_us, watchdog_us);
	assert_int_equal(takeover_answer(t.takeover), 0);
	assert_non_null(t.daemon.watchdog);
	takeover_free(t.takeover);
	assert_int_equal(exit_status(old), ANSWERED);
}

static void signs_of_life_are_given_as_the_old_one_says(void **state)
{
	expect_signs_of_life("{\"watchdog_us\":7000000}", 7000000);
}

static void an_older_one_that_says_nothing_of_them_may_have_given_some(void **state)
{
	expect_signs_of_life("{}", 30000000);
}

/* Else it would end with all that it has taken over. */
static void without_a_timer_for_them_the_old_one_goes_on(void **state)
{
	pid_t old = begin("{\"watchdog_us\":30000000}");
	struct rlimit before, none;
	int next = dup(t.listener.fd);

	assert_true(next > 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next; /* the lowest that is free */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(takeover_answer(t.takeover), -1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	takeover_free(t.takeover);
	assert_int_equal(exit_status(old), LEFT);
}

static void keep_line(void *opaque, enum vireo_log_level level, const char *line)
{
	snprintf(t.line, sizeof(t.line), "%s", line);
}

/* What is logged when all goes on, and the old one has said this. */
static const char *line_after(uint64_t stopped_us, size_t bytes)
{
	pid_t old;

	t.stopped_us = stopped_us;
	t.stopped_bytes = bytes;
	old = begin("{\"watchdog_us\":0}");
	assert_int_equal(takeover_answer(t.takeover), 0);
	t.daemon.log = (struct vireo_log){.write = keep_line, .max_level = VIREO_LOG_INFO};
	t.line[0] = '\0';
	takeover_gone_on(t.takeover);
	t.daemon.log = (struct vireo_log){0};
	takeover_free(t.takeover);
	assert_int_equal(exit_status(old), ANSWERED);
	return t.line;
}

static void for_how_long_nothing_was_served_is_told(void **state)
{
	uint64_t begin_us = clock_now_us();
	double ms = 0;

	assert_int_equal(sscanf(line_after(begin_us - 5000, 8), "taken over: nothing was served for %lf ms", &ms), 1);
	assert_true(ms >= 5 && ms <= 5 + (double)(clock_now_us() - begin_us) / 1000);
}

/* One that does not say it, or by another clock. */
static void a_time_that_cannot_be_is_not_told(void **state)
{
	assert_string_equal(line_after(0, 0), "");
	assert_string_equal(line_after(clock_now_us(), 4), "");
	assert_string_equal(line_after(0, 8), "");
	assert_string_equal(line_after(clock_now_us() - 3600000000u, 8), "");
	assert_string_equal(line_after(clock_now_us() + 3600000000u, 8), "");
	assert_string_equal(line_after(UINT64_MAX, 8), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(signs_of_life_are_given_as_the_old_one_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_older_one_that_says_nothing_of_them_may_have_given_some, set_up, tear_down),
		cmocka_unit_test_setup_teardown(for_how_long_nothing_was_served_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_time_that_cannot_be_is_not_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_timer_for_them_the_old_one_goes_on, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
