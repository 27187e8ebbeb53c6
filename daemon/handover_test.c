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
#include "daemon/parcel.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATER_US 20000000u /* never reached */

static struct {
	char folder[64], control[96], successor[96];
	struct daemon daemon;
	struct handover *handover;
	struct unix_listener listener;
	const char *fails; /* what is wrong once all has come to rest; NULL: nothing */
	const char *problem; /* what is wrong by now */
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
	return -EPIPE;
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

/* A successor asks; returns its end of the connection. */
static int asks(void)
{
	char call[256];
	int client, bytes, fd;

	bytes = snprintf(call, sizeof(call),
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"handover\",\"params\":{\"socket\":\"%s\",\"version\":\"1\"}}\n",
			 t.successor);
	assert_int_equal(unix_connect(t.control, NULL, &client), 0);
	assert_int_equal(write(client, call, (size_t)bytes), bytes);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_fails_while_all_comes_to_rest_keeps_the_old_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_comes_to_rest_well_is_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_manager_waits_is_handed_over, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
