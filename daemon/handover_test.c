/* SPDX-License-Identifier: BSD-3-Clause */
/* The old process's side, with a client, a successor and the loop in one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/unix_socket.h"
#include "base/util.h"
#include "ctl/server.h"
#include "daemon/daemon.h"
#include "daemon/handover.h"
#include "daemon/notify.h"
#include "daemon/parcel.h"
#include "daemon/signals.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LATER_US 20000000u /* never reached */

static struct {
	char folder[64], control[96], successor[96];
	struct daemon daemon;
	struct handover *handover;
	struct unix_listener listener;
	const char *fails; /* what is wrong once all has come to rest; NULL: nothing */
	const char *problem; /* what is wrong by now */
	bool gives; /* all that there is; or it finds nobody */
	unsigned asked, held, given, went_on;
	char answer[256]; /* of the control socket */
} t;

static const char *refused(void *opaque, char why[HANDOVER_WHY_BYTES])
{
	t.asked++;
	return t.problem;
}

/* What was under way ends, and may fail. */
static void hold(struct handover *handover, void *opaque)
{
	t.held++;
	handover_waits(handover);
	t.problem = t.fails;
	handover_rests(handover);
}

static void go_on(void *opaque)
{
	t.went_on++;
}

static int give(struct handover *handover, void *opaque)
{
	t.given++;
	return t.gives ? 0 : -EPIPE;
}

static const struct handover_ops ops = {
	.what = "daemon", .late = "late", .version = 1, .refused = refused, .hold = hold, .go_on = go_on, .give = give,
};

static void serve(struct rpc_call *call, void *opaque)
{
	handover_serve(t.handover, call);
}

static const struct ctl_command commands[] = {{"handover", "handover", "SOCKET VERSION", 0, "", serve, NULL}};

static int set_up(void **state)
{
	const struct ctl_server_config control = {.path = t.control, .commands = commands, .command_count = ARRAY_SIZE(commands)};
	const struct unix_listen_config listen = {.path = t.successor, .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .backlog = 1};

	memset(&t, 0, sizeof(t));
	strcpy(t.folder, "/tmp/handover-test-XXXXXX");
	assert_non_null(mkdtemp(t.folder));
	snprintf(t.control, sizeof(t.control), "%s/control", t.folder);
	snprintf(t.successor, sizeof(t.successor), "%s/successor", t.folder);
	assert_int_equal(loop_new(&t.daemon.loop), 0);
	assert_int_equal(ctl_server_new(&control, t.daemon.loop, &t.daemon.control), 0);
	assert_int_equal(handover_new(&t.daemon, &ops, NULL, &t.handover), 0);
	assert_int_equal(unix_listen(&listen, &t.listener), 0);
	return 0;
}

static int tear_down(void **state)
{
	handover_close(t.handover);
	ctl_server_free(t.daemon.control);
	unix_unlisten(&t.listener, NULL);
	loop_free(t.daemon.loop);
	assert_int_equal(rmdir(t.folder), 0);
	return 0;
}

/* Returns the connection to the control socket. */
static int call_handover(void)
{
	char call[256];
	int client, bytes;

	bytes = snprintf(call, sizeof(call),
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"handover\",\"params\":{\"socket\":\"%s\",\"version\":\"1\"}}\n",
			 t.successor);
	assert_int_equal(unix_connect(t.control, NULL, &client), 0);
	assert_int_equal(write(client, call, (size_t)bytes), bytes);
	return client;
}

/* A successor asks; returns its end of the connection. */
static int asks(void)
{
	int client = call_handover(), bytes, fd;

	for (uint64_t end = clock_now_us() + LATER_US; !t.went_on && clock_now_us() < end;)
		loop_dispatch(t.daemon.loop, 10);
	bytes = (int)read(client, t.answer, sizeof(t.answer) - 1);
	assert_true(bytes > 0);
	t.answer[bytes] = '\0';
	close(client);
	fd = accept(t.listener.fd, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(parcel_socket(fd), 0);
	return fd;
}

static void assert_is_told(int fd, const char *why)
{
	struct parcel parcel;

	assert_int_equal(parcel_receive(fd, clock_now_us() + LATER_US, &parcel), 0);
	assert_int_equal(parcel.kind, HANDOVER_NOT);
	assert_string_equal((const char *)parcel.data, why);
	parcel_free(&parcel);
	close(fd);
}

/* The manager tells the first process only. */
static void what_the_manager_waits_is_handed_over(void **state)
{
	t.daemon.watchdog_us = 30000000;
	t.fails = "enough";
	assert_is_told(asks(), "enough");
	assert_non_null(strstr(t.answer, "\"watchdog_us\":30000000"));
}

static void what_fails_while_all_comes_to_rest_keeps_the_old_one(void **state)
{
	int fd;

	t.fails = "a flush has failed";
	fd = asks();
	assert_is_told(fd, "a flush has failed");
	assert_int_equal(t.held, 1);
	assert_int_equal(t.given, 0);
	assert_int_equal(t.went_on, 1);
	assert_false(handover_under_way(t.handover));
}

/* Else it is given, which here finds nobody. */
static void what_comes_to_rest_well_is_given(void **state)
{
	assert_is_told(asks(), "the process that was to take over has ended");
	assert_int_equal(t.held, 1);
	assert_int_equal(t.given, 1);
	assert_int_equal(t.went_on, 1);
	assert_true(t.asked >= 2);
}

/* A manager that reads nothing, and has no room any more. */
static int busy_manager(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[64];

	snprintf(name, sizeof(name), "@vireo-handover-test-%d", (int)getpid());
	memcpy(addr.sun_path + 1, name + 1, strlen(name) - 1);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	for (unsigned i = 0; i < 2000; i++) /* more than any kernel keeps for it */
		notify("WATCHDOG=1", false);
	return fd;
}

/* Another process, which serves until it is ended. */
static pid_t old_one(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (signals_open() < 0)
		_exit(1);
	while (loop_dispatch(t.daemon.loop, -1) >= 0)
		continue;
	_exit(2);
}

/* It waits for the manager, with copies of all that it has handed over: no signal is left for a loop that is dispatched no more. */
static void who_has_handed_over_ends_when_it_is_told_to(void **state)
{
	uint64_t begin_us = clock_now_us(), stopped_us;
	int manager = busy_manager(), client, fd, status;
	struct parcel parcel;
	struct pollfd comes = {.fd = t.listener.fd, .events = POLLIN};
	pid_t old;

	t.gives = true;
	old = old_one();
	assert_true(old > 0);
	client = call_handover();
	assert_int_equal(poll(&comes, 1, LATER_US / 1000), 1);
	fd = accept(t.listener.fd, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(parcel_socket(fd), 0);
	assert_int_equal(parcel_send(fd, clock_now_us() + LATER_US, HANDOVER_READY, NULL, 0, NULL, 0), 0);
	assert_int_equal(parcel_receive(fd, clock_now_us() + LATER_US, &parcel), 0);
	assert_int_equal(parcel.kind, HANDOVER_GO);
	assert_int_equal(parcel.bytes, sizeof(stopped_us));
	memcpy(&stopped_us, parcel.data, sizeof(stopped_us));
	assert_true(stopped_us >= begin_us && stopped_us <= clock_now_us());
	parcel_free(&parcel);
	assert_int_equal(kill(old, SIGTERM), 0);
	assert_int_equal(waitpid(old, &status, 0), old);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	close(fd);
	close(client);
	close(manager);
	unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_fails_while_all_comes_to_rest_keeps_the_old_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_comes_to_rest_well_is_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_manager_waits_is_handed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_has_handed_over_ends_when_it_is_told_to, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
