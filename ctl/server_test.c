/* SPDX-License-Identifier: BSD-3-Clause */
/* Server and clients in one thread: the loop is turned by hand between a client's steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/unix_socket.h"
#include "ctl/client.h"
#include "ctl/peer.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[256];
static struct loop *loop;
static struct ctl_server *server;
static struct rpc_call *parked;

static void serve_ping(struct rpc_call *call, void *opaque)
{
	rpc_call_reply(call, json_string("pong"));
}

static void serve_park(struct rpc_call *call, void *opaque)
{
	parked = call;
}

static void serve_big(struct rpc_call *call, void *opaque)
{
	size_t bytes = 4u << 20;
	char *text = malloc(bytes);

	memset(text, 'x', bytes);
	rpc_call_reply(call, json_stringn(text, bytes));
	free(text);
}

static int taken_fd;

static void serve_take(struct rpc_call *call, void *opaque)
{
	taken_fd = rpc_call_fd(call);
	rpc_call_fd_take(call);
	rpc_call_reply(call, json_boolean(taken_fd >= 0));
}

static const struct ctl_command commands[] = {
	{"take", "take", "", CTL_FD, "", serve_take, NULL},
	{"ping", "ping", "", 0, "", serve_ping, NULL},
	{"park", "park", "", 0, "", serve_park, NULL},
	{"big", "big", "", 0, "", serve_big, NULL},
};

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n"
#define PARK "{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":1}\n"
#define BIG "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n"
#define TAKE "{\"jsonrpc\":\"2.0\",\"method\":\"take\",\"id\":1}\n"
#define TAKEN "{\"jsonrpc\":\"2.0\",\"result\":true,\"id\":1}\n"
#define NOTHING "{\"jsonrpc\":\"2.0\",\"result\":false,\"id\":1}\n"
#define PONG "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1}\n"

/* What is to be done aside, until the test does it: see what_clients_hand_over_is_closed_aside(). */
static struct {
	void (*work)(void *argument);
	void *argument;
} asides[16];
static unsigned aside_count;

static int aside(void *opaque, void (*work)(void *argument), void *argument)
{
	assert_true(aside_count < ARRAY_SIZE(asides));
	asides[aside_count].work = work;
	asides[aside_count++].argument = argument;
	return 0;
}

static void asides_do(void)
{
	for (unsigned i = 0; i < aside_count; i++)
		asides[i].work(asides[i].argument);
	aside_count = 0;
}

static int server_start(struct ctl_server **ret)
{
	const struct ctl_server_config config = {
		.path = path,
		.commands = commands,
		.command_count = ARRAY_SIZE(commands),
		.stall_ms = 600,
		.close_aside = aside,
	};

	return ctl_server_new(&config, loop, ret);
}

static int setup(void **state)
{
	taken_fd = -1;
	strcpy(folder, "/tmp/ctl-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	parked = NULL;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(server_start(&server), 0);
	return 0;
}

static int teardown(void **state)
{
	ctl_server_free(server);
	asides_do();
	if (parked)
		rpc_call_reply(parked, json_object());
	loop_free(loop);
	unlink(path);
	assert_int_equal(rmdir(folder), 0); /* the server has taken its socket away */
	return 0;
}

static void turn(unsigned ms)
{
	for (unsigned i = 0; i < ms / 10 + 3; i++)
		loop_dispatch(loop, ms ? 10 : 0);
}

static int connect_raw(void)
{
	struct sockaddr_un addr;
	socklen_t len;
	int dir_fd, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(fd_unix_address(path, &addr, &len, &dir_fd), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, len), 0);
	fd_close(&dir_fd);
	return fd;
}

static void assert_reads(int fd, const char *expected)
{
	char text[256];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

/* The peer has been dropped: end of file, or a reset if it left bytes unread. */
static void assert_dropped(int fd)
{
	char text[4096];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		;
	if (n < 0)
		assert_int_equal(errno, ECONNRESET);
}

static void a_request_in_pieces_is_answered_once_it_is_whole(void **state)
{
	int fd = connect_raw();

	for (const char *at = PING; *at; at++) {
		char text[1];

		assert_int_equal(read(fd, text, 1), -1);
		assert_int_equal(write(fd, at, 1), 1);
		turn(0);
	}
	assert_reads(fd, PONG);
	close(fd);
}

static void several_requests_at_once_are_answered_in_order(void **state)
{
	int fd = connect_raw();

	assert_true(write(fd, PING "\n" PING "x\n", strlen(PING "\n" PING "x\n")) > 0);
	turn(0);
	assert_reads(
		fd, PONG PONG
		"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"not JSON\"},\"id\":null}\n");
	close(fd);
}

static void a_last_line_without_newline_is_served_at_end_of_file(void **state)
{
	int fd = connect_raw();

	assert_true(write(fd, PING, strlen(PING) - 1) > 0);
	shutdown(fd, SHUT_WR);
	turn(0);
	assert_reads(fd, PONG);
	assert_dropped(fd);
	close(fd);
}

static void a_mebibyte_without_newline_drops_the_client(void **state)
{
	char chunk[4096];
	int fd = connect_raw(), other = connect_raw();
	size_t sent = 0;

	memset(chunk, ' ', sizeof(chunk));
	while (sent < 2 * CTL_LINE_MAX_BYTES) {
		ssize_t n = send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		turn(0);
	}
	assert_true(sent >= CTL_LINE_MAX_BYTES);
	assert_true(sent < 2 * CTL_LINE_MAX_BYTES);
	assert_true(write(other, PING, strlen(PING)) > 0);
	turn(0);
	assert_reads(other, PONG);
	close(fd);
	close(other);
}

static void a_client_that_does_not_read_is_dropped_and_delays_nobody(void **state)
{
	int fd = connect_raw(), other = connect_raw();

	assert_true(write(fd, BIG BIG, strlen(BIG BIG)) > 0);
	turn(20);
	assert_true(write(other, PING, strlen(PING)) > 0);
	turn(0);
	assert_reads(other, PONG);
	turn(1700);
	assert_dropped(fd);
	close(fd);
	close(other);
}

static void a_client_that_reads_slowly_gets_all(void **state)
{
	int fd = connect_raw();
	size_t got = 0;
	char chunk[32768];

	assert_true(write(fd, BIG, strlen(BIG)) > 0);
	for (int i = 0; i < 10000 && got < (4u << 20); i++) {
		ssize_t n;

		turn(0);
		n = read(fd, chunk, sizeof(chunk));
		got += n > 0 ? (size_t)n : 0;
	}
	assert_true(got >= (4u << 20));
	assert_int_equal(chunk[0] == 'x' || chunk[0] == '}', 1);
	close(fd);
}

static void a_client_that_floods_requests_leaves_turns_to_others(void **state)
{
	int fd = connect_raw(), other = connect_raw();
	char *flood = malloc(4000 * strlen(PING) + 1);

	for (int i = 0; i < 4000; i++)
		memcpy(flood + (size_t)i * strlen(PING), PING, strlen(PING));
	assert_true(send(fd, flood, 4000 * strlen(PING), MSG_NOSIGNAL) > 0);
	assert_true(write(other, PING, strlen(PING)) > 0);
	turn(0);
	assert_reads(other, PONG);
	free(flood);
	close(fd);
	close(other);
}

static void a_reply_that_comes_later_is_sent(void **state)
{
	int fd = connect_raw();

	assert_true(write(fd, PARK PING, strlen(PARK PING)) > 0);
	turn(0);
	assert_non_null(parked);
	rpc_call_reply(parked, json_string("late"));
	parked = NULL;
	turn(0);
	assert_reads(fd, "{\"jsonrpc\":\"2.0\",\"result\":\"late\",\"id\":1}\n" PONG);
	close(fd);
}

static void a_client_may_leave_before_its_reply(void **state)
{
	int fd = connect_raw();

	assert_true(write(fd, PARK, strlen(PARK)) > 0);
	turn(0);
	close(fd);
	turn(0);
	assert_non_null(parked);
	rpc_call_reply(parked, json_string("late"));
	parked = NULL;
	turn(0);
}

static void a_server_that_ends_abandons_pending_calls(void **state)
{
	int fd = connect_raw();

	assert_true(write(fd, PARK, strlen(PARK)) > 0);
	turn(0);
	ctl_server_free(server);
	server = NULL;
	rpc_call_reply(parked, json_string("late"));
	parked = NULL;
	assert_dropped(fd);
	close(fd);
}

static void one_client_too_many_drops_the_idlest(void **state)
{
	int fds[CTL_CLIENTS_MAX + 1];

	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		fds[i] = connect_raw();
		turn(0);
	}
	usleep(5000);
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		assert_true(i == 5 || write(fds[i], PING, strlen(PING)) > 0);
	turn(10);
	fds[CTL_CLIENTS_MAX] = connect_raw();
	turn(10);
	assert_true(write(fds[CTL_CLIENTS_MAX], PING, strlen(PING)) > 0);
	turn(10);
	for (unsigned i = 0; i <= CTL_CLIENTS_MAX; i++) {
		if (i == 5)
			assert_dropped(fds[i]);
		else
			assert_reads(fds[i], PONG);
		close(fds[i]);
	}
}

static void clients_of_a_server_that_pauses_wait(void **state)
{
	int early = connect_raw(), late;
	char byte;

	turn(0);
	ctl_server_pause(server, true);
	late = connect_raw();
	assert_int_equal(write(early, PING, strlen(PING)), strlen(PING));
	assert_int_equal(write(late, PING, strlen(PING)), strlen(PING));
	turn(0);
	assert_int_equal(recv(early, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(recv(late, &byte, 1, MSG_DONTWAIT), -1);
	ctl_server_pause(server, false);
	turn(0);
	assert_reads(early, PONG);
	assert_reads(late, PONG);
	close(early);
	close(late);
}

static void a_socket_that_is_handed_over_is_served_on(void **state)
{
	int listener = dup(ctl_server_fd(server)), fd;
	const struct ctl_server_config config = {
		.path = path, .commands = commands, .command_count = ARRAY_SIZE(commands), .listener_fd = &listener};
	struct ctl_server *successor;

	ctl_server_pause(server, true);
	fd = connect_raw(); /* in between */
	assert_int_equal(ctl_server_new(&config, loop, &successor), 0);
	assert_int_equal(listener, -1);
	assert_int_equal(write(fd, PING, strlen(PING)), strlen(PING));
	turn(0);
	assert_reads(fd, PONG);
	close(fd);
	ctl_server_free(successor); /* and takes it away */
	assert_int_equal(access(path, F_OK), -1);
}

static void a_socket_that_is_served_is_not_taken_over(void **state)
{
	struct ctl_server *second = NULL;

	assert_int_equal(server_start(&second), -EADDRINUSE);
	assert_null(second);
	assert_int_equal(access(path, F_OK), 0);
}

static void a_stale_socket_is_taken_over(void **state)
{
	char kept[sizeof(path) + 8];

	/* What a daemon that was killed leaves behind: a socket file without a listener. */
	snprintf(kept, sizeof(kept), "%s.kept", path);
	assert_int_equal(link(path, kept), 0);
	ctl_server_free(server);
	server = NULL;
	assert_int_equal(rename(kept, path), 0);
	assert_int_equal(server_start(&server), 0);
	a_last_line_without_newline_is_served_at_end_of_file(state);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	int fd;

	ctl_server_free(server);
	server = NULL;
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(server_start(&server), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
}

static void only_the_owner_may_open_the_socket(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_path_longer_than_an_address_works(void **state)
{
	char short_path[256], deep[200];

	ctl_server_free(server);
	server = NULL;
	memcpy(short_path, path, sizeof(short_path));
	snprintf(deep, sizeof(deep), "%s/%0120d", folder, 7);
	assert_int_equal(mkdir(deep, 0700), 0);
	snprintf(path, sizeof(path), "%s/sock", deep);
	assert_int_equal(server_start(&server), 0);
	a_last_line_without_newline_is_served_at_end_of_file(state);
	ctl_server_free(server);
	server = NULL;
	assert_int_equal(rmdir(deep), 0);
	memcpy(path, short_path, sizeof(path));
}

/* In a child with another user: is it let in? */
static bool allowed_as(uid_t uid, gid_t gid, bool set_group, gid_t group)
{
	int pair[2], ready[2], status;
	char byte;
	pid_t child;
	bool allowed;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);

	assert_int_equal(bind(listener, (const struct sockaddr *)&addr, len), 0); /* abstract, any name */
	assert_int_equal(listen(listener, 1), 0);
	len = sizeof(addr);
	getsockname(listener, (struct sockaddr *)&addr, &len);
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		close(ready[1]);
		if (setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ||
		    connect(fd, (const struct sockaddr *)&addr, len))
			_exit(1);
		_exit(read(ready[0], &byte, 1) != 0);
	}
	pair[0] = accept(listener, NULL, NULL);
	allowed = ctl_peer_allowed(pair[0], set_group, group);
	close(pair[0]);
	close(listener);
	close(ready[0]);
	close(ready[1]);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	return allowed;
}

static void only_the_daemons_user_root_and_the_group_are_let_in(void **state)
{
	if (geteuid() != 0) {
		assert_true(allowed_as(geteuid(), getegid(), false, 0));
		return;
	}
	assert_true(allowed_as(0, 0, false, 0));
	assert_false(allowed_as(65534, 65534, false, 0));
	assert_false(allowed_as(65534, 65534, true, 4242));
	assert_true(allowed_as(65534, 4242, true, 4242));
}

#define WAIT_MS 20000u

static bool stop_thread;

static void *loop_thread(void *opaque)
{
	while (!__atomic_load_n(&stop_thread, __ATOMIC_RELAXED))
		loop_dispatch(loop, 10);
	return NULL;
}

static void the_client_gets_results_and_errors(void **state)
{
	struct ctl_failure failure;
	struct ctl_client *client;
	json_t *result = NULL;
	pthread_t thread;

	stop_thread = false;
	assert_int_equal(pthread_create(&thread, NULL, loop_thread, NULL), 0);
	assert_int_equal(ctl_client_new(path, WAIT_MS, &client), 0);
	assert_int_equal(ctl_client_call(client, "ping", json_object(), &result, &failure), 0);
	assert_string_equal(json_string_value(result), "pong");
	json_decref(result);
	assert_int_equal(ctl_client_call(client, "big", json_object(), &result, &failure), 0);
	assert_int_equal(json_string_length(result), 4u << 20);
	json_decref(result);
	assert_int_equal(ctl_client_call(client, "nope", json_object(), &result, &failure), -EREMOTEIO);
	assert_int_equal(failure.code, RPC_METHOD_NOT_FOUND);
	assert_string_equal(failure.message, "no such method");
	__atomic_store_n(&stop_thread, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ctl_server_free(server);
	server = NULL;
	assert_int_equal(ctl_client_call(client, "ping", json_object(), &result, &failure), -ECONNRESET);
	ctl_client_free(client);
	assert_int_equal(ctl_client_new(path, WAIT_MS, &client), -ENOENT);
}

/* What the peer of a client that gives up soon does: `drip` a byte now and then, or nothing at all. */
struct bad_server {
	int listener_fd;
	bool drip;
};

static void *bad_server_thread(void *opaque)
{
	const struct bad_server *bad = opaque;
	int fd = accept(bad->listener_fd, NULL, NULL);

	while (!__atomic_load_n(&stop_thread, __ATOMIC_RELAXED)) {
		if (bad->drip && send(fd, " ", 1, MSG_NOSIGNAL) < 0)
			break;
		usleep(10000);
	}
	close(fd);
	return NULL;
}

static void call_bad_server(bool drip, json_t *params)
{
	struct bad_server bad = {.drip = drip};
	struct ctl_failure failure;
	const struct unix_listen_config config = {path, 0600, (uid_t)-1, (gid_t)-1, 1, NULL};
	struct unix_listener listener = {.fd = -1};
	struct ctl_client *client;
	json_t *result = NULL;
	pthread_t thread;

	ctl_server_free(server); /* its path is ours */
	server = NULL;
	assert_int_equal(unix_listen(&config, &listener), 0);
	fcntl(listener.fd, F_SETFL, 0);
	bad.listener_fd = listener.fd;
	stop_thread = false;
	assert_int_equal(pthread_create(&thread, NULL, bad_server_thread, &bad), 0);
	assert_int_equal(ctl_client_new(path, 300, &client), 0);
	assert_int_equal(ctl_client_call(client, "ping", params, &result, &failure), -ETIMEDOUT);
	assert_null(result);
	__atomic_store_n(&stop_thread, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ctl_client_free(client);
	unix_unlisten(&listener, NULL);
}

static void the_client_gives_up_a_server_that_drips_bytes(void **state)
{
	call_bad_server(true, json_object());
}

static void the_client_gives_up_a_server_that_reads_nothing(void **state)
{
	size_t bytes = 4u << 20;
	char *text = malloc(bytes);

	memset(text, 'x', bytes);
	call_bad_server(false, json_pack("{s:s%}", "text", text, bytes));
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Of a pipe: one end is handed over, and the other tells whether that is still open. */
static bool held(int seen)
{
	struct pollfd poll_fd = {.fd = seen};

	return !poll(&poll_fd, 1, 0);
}

static void hand(int fd, const char *text, int given)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.align), &given, sizeof(given));
	assert_int_equal(sendmsg(fd, &msg, 0), strlen(text));
	close(given);
}

/* One descriptor, with the line that it came with; what no command has taken is closed aside. */
static void a_command_takes_what_comes_with_it_and_others_do_not(void **state)
{
	int taken[2], first[2], other[2], fd = connect_raw();

	assert_int_equal(pipe2(taken, O_CLOEXEC) | pipe2(first, O_CLOEXEC) | pipe2(other, O_CLOEXEC), 0);
	hand(fd, "{\"jsonrpc\":\"2.0\",", first[1]);
	turn(0);
	hand(fd, &TAKE[strlen("{\"jsonrpc\":\"2.0\",")], taken[1]);
	turn(0);
	assert_reads(fd, TAKEN);
	asides_do();
	assert_false(held(first[0])); /* the last one counts */
	assert_true(held(taken[0]));
	close(taken_fd);
	assert_false(held(taken[0]));
	hand(fd, PING TAKE, other[1]);
	turn(0);
	assert_reads(fd, PONG NOTHING);
	asides_do();
	assert_false(held(other[0]));
	close(fd);
	close(taken[0]);
	close(first[0]);
	close(other[0]);
}

/* To close it may take as long as its owner likes, so that is done where nobody waits for it. */
static void what_clients_hand_over_is_closed_aside(void **state)
{
	int with_a_request[2], in_flight[2], unaccepted[2], fd = connect_raw(), other;

	assert_int_equal(pipe2(with_a_request, O_CLOEXEC) | pipe2(in_flight, O_CLOEXEC) | pipe2(unaccepted, O_CLOEXEC), 0);
	hand(fd, PING, with_a_request[1]);
	turn(0);
	assert_reads(fd, PONG);
	assert_true(held(with_a_request[0]));
	asides_do();
	assert_false(held(with_a_request[0]));

	hand(fd, PARK, dup(1)); /* nothing more is read until it is answered */
	turn(0);
	hand(fd, PING, in_flight[1]);
	close(fd);
	other = connect_raw();
	hand(other, PING, unaccepted[1]);
	close(other);
	ctl_server_free(server);
	server = NULL;
	assert_true(held(in_flight[0]));
	assert_true(held(unaccepted[0]));
	asides_do();
	assert_false(held(in_flight[0]));
	assert_false(held(unaccepted[0]));
	close(with_a_request[0]);
	close(in_flight[0]);
	close(unaccepted[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_in_pieces_is_answered_once_it_is_whole),
		TEST(several_requests_at_once_are_answered_in_order),
		TEST(a_last_line_without_newline_is_served_at_end_of_file),
		TEST(a_mebibyte_without_newline_drops_the_client),
		TEST(a_client_that_does_not_read_is_dropped_and_delays_nobody),
		TEST(a_client_that_reads_slowly_gets_all),
		TEST(a_client_that_floods_requests_leaves_turns_to_others),
		TEST(a_reply_that_comes_later_is_sent),
		TEST(a_client_may_leave_before_its_reply),
		TEST(a_server_that_ends_abandons_pending_calls),
		TEST(one_client_too_many_drops_the_idlest),
		TEST(clients_of_a_server_that_pauses_wait),
		TEST(a_socket_that_is_handed_over_is_served_on),
		TEST(a_socket_that_is_served_is_not_taken_over),
		TEST(a_stale_socket_is_taken_over),
		TEST(a_file_that_is_no_socket_is_left_alone),
		TEST(only_the_owner_may_open_the_socket),
		TEST(a_path_longer_than_an_address_works),
		TEST(only_the_daemons_user_root_and_the_group_are_let_in),
		TEST(the_client_gets_results_and_errors),
		TEST(the_client_gives_up_a_server_that_drips_bytes),
		TEST(the_client_gives_up_a_server_that_reads_nothing),
		TEST(what_clients_hand_over_is_closed_aside),
		TEST(a_command_takes_what_comes_with_it_and_others_do_not),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
