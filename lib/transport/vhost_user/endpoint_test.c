/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/unix_socket.h"
#include "transport/vhost_user/session_lab.h"

/* Where a device is offered: paths, modes, stale sockets, and clients that come back. */

static void bad_addresses_are_refused(void **state)
{
	struct lab *lab = lab_make(&ops);
	char address[200];

	assert_int_equal(vireo_endpoint_open(lab->device, "nothing:/x", NULL, &lab->endpoint), -EINVAL);
	assert_int_equal(vireo_endpoint_open(lab->device, "vhost-user:", NULL, &lab->endpoint), -EINVAL);
	snprintf(address, sizeof(address), "vhost-user:%s/no/such/folder", lab->folder);
	assert_int_equal(vireo_endpoint_open(lab->device, address, NULL, &lab->endpoint), -ENOENT);
	assert_null(lab->endpoint);
	lab_free(lab);
}

/* What a later header has put there cannot be honoured, and is not passed over. */
static void reserved_word_that_is_not_zero_is_refused(void **state)
{
	struct vireo_endpoint_config config = { .size = sizeof(config) };
	uint64_t *const words[] = { &config.vhost_user.reserved[4], &config.vduse.reserved[0], &config.cuse.reserved[3] };
	struct lab *lab = lab_make(&ops);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		*words[i] = 1;
		assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), -EINVAL);
		*words[i] = 0;
	}
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	lab_free(lab);
}

static void socket_has_the_mode_asked_for_whatever_the_umask(void **state)
{
	static const mode_t umasks[] = { 0, 0022, 0777 };

	for (size_t i = 0; i < ARRAY_SIZE(umasks); i++) {
		struct lab *lab = lab_make(&ops);
		struct vireo_endpoint_config config = { .size = sizeof(config), .vhost_user.access.mode = 0620 };
		mode_t old = umask(umasks[i]);
		struct stat st;

		assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
		umask(old);
		assert_int_equal(lstat(lab->path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0620);
		lab_free(lab);
	}
}

static void socket_somebody_answers_on_is_not_taken(void **state)
{
	struct lab *lab = lab_new();
	struct lab *other = lab_make(&ops);

	assert_int_equal(vireo_endpoint_open(other->device, lab->address, NULL, &other->endpoint),
			 -EADDRINUSE);
	assert_null(other->endpoint);
	pump(lab);
	lab_free(other);
	dial(lab);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

static void stale_socket_is_taken_over(void **state)
{
	struct lab *lab = lab_make(&ops);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(addr.sun_path, lab->path, sizeof(addr.sun_path) - 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	listen(fd, 1);
	close(fd);
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, NULL, &lab->endpoint), 0);
	dial(lab);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

static void file_in_the_way_is_left_alone(void **state)
{
	struct lab *lab = lab_make(&ops);
	int fd = open(lab->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, NULL, &lab->endpoint), -EEXIST);
	assert_int_equal(access(lab->path, F_OK), 0);
	close(fd);
	unlink(lab->path);
	lab_free(lab);
}

static void socket_that_is_not_ours_any_more_is_not_unlinked(void **state)
{
	struct lab *lab = lab_new();
	int fd;

	unlink(lab->path);
	fd = open(lab->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	lab->endpoint = NULL;
	assert_int_equal(access(lab->path, F_OK), 0);
	unlink(lab->path);
	close(fd);
	lab_free(lab);
}

static void path_of_any_length_works(void **state)
{
	struct lab *lab = lab_make(&ops);
	char folder[200], address[300], here[300];
	int fd;

	snprintf(folder, sizeof(folder), "%s/%0120d", lab->folder, 7);
	assert_int_equal(mkdir(folder, 0700), 0);
	snprintf(address, sizeof(address), "vhost-user:%s/socket", folder);
	assert_int_equal(vireo_endpoint_open(lab->device, address, NULL, &lab->endpoint), 0);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(folder), 0);
	fd = unix_dial("socket");
	assert_int_equal(chdir(here), 0);
	lab->fd = fd;
	pump(lab);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	lab->endpoint = NULL;
	assert_int_equal(rmdir(folder), 0);
	lab_free(lab);
}

static void client_keeps_trying_and_comes_back(void **state)
{
	struct lab *lab = lab_make(&ops);
	struct vireo_endpoint_config config = {
		.size = sizeof(config), .vhost_user = { .client = true, .reconnect_min_ms = 1, .reconnect_max_ms = 4 }
	};
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int server;

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	for (int i = 0; i < 5; i++)
		pump_wait(lab, 100);
	assert_false(vireo_endpoint_connected(lab->endpoint));
	assert_ptr_equal(strstr(lab->log, "trying again"), strrchr(lab->log, ';') + 2); /* one line */
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strncpy(addr.sun_path, lab->path, sizeof(addr.sun_path) - 1);
	assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(server, 4), 0);
	for (unsigned round = 1; round <= 3; round++) {
		for (int i = 0; i < 200 && lab->type.connected < round; i++)
			pump_wait(lab, 100);
		assert_int_equal(lab->type.connected, round);
		lab->fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
		fd_close(&lab->fd);
		pump(lab);
	}
	close(server);
	unlink(lab->path);
	lab_free(lab);
}

/* A server that asks one question and hangs up costs a try a second in the end, and not one each 50 ms. */
static void only_a_session_whose_rings_ran_shortens_the_pause(void **state)
{
	struct lab *lab = lab_make(&ops);
	struct vireo_endpoint_config config = {
		.size = sizeof(config), .vhost_user = { .client = true, .reconnect_min_ms = 1, .reconnect_max_ms = 3600000 }
	};
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t closed_ms = 0;
	unsigned rounds;

	strncpy(addr.sun_path, lab->path, sizeof(addr.sun_path) - 1);
	assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(server, 4), 0);
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	for (rounds = 0; rounds < 8; rounds++) { /* 1 + 2 + 4 + ... ms */
		for (int i = 0; i < 500 && lab->type.connected <= rounds; i++)
			pump_wait(lab, 100);
		assert_int_equal(lab->type.connected, rounds + 1);
		assert_true(clock_now_ms() - closed_ms >= (1u << rounds) / 2);
		lab->fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
		closed_ms = clock_now_ms();
		fd_close(&lab->fd);
		pump(lab);
	}
	close(server);
	unlink(lab->path);
	lab_free(lab);
}

/* ---- sockets that were handed over ---- */

static int handed_listener(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int open_handed(struct lab *lab, int fd, const struct vireo_endpoint_config *config)
{
	char address[64];

	snprintf(address, sizeof(address), "vhost-user:fd:%d", fd);
	return vireo_endpoint_open(lab->device, address, config, &lab->endpoint);
}

static void socket_that_listens_is_served_and_listens_on_for_its_giver(void **state)
{
	struct lab *lab = lab_make(&ops);
	int ours = handed_listener(lab->path), theirs = dup(ours);
	struct pollfd waiting = { .fd = ours, .events = POLLIN };

	assert_int_equal(open_handed(lab, theirs, NULL), 0);
	assert_int_equal(fcntl(theirs, F_GETFD), FD_CLOEXEC);
	pump(lab);
	for (unsigned round = 0; round < 2; round++) {
		dial(lab);
		assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
		fd_close(&lab->fd);
		pump(lab);
	}
	vireo_endpoint_close(lab->endpoint, NULL, NULL);
	lab->endpoint = NULL;
	assert_int_equal(fcntl(theirs, F_GETFD), -1); /* closed, and neither shut down nor removed */
	assert_int_equal(access(lab->path, F_OK), 0);
	assert_int_equal(unix_connect(lab->path, NULL, &lab->fd), 0);
	assert_int_equal(poll(&waiting, 1, 20000), 1);
	close(ours);
	unlink(lab->path);
	lab_free(lab);
}

static void socket_that_is_connected_is_served_and_lost_with_its_peer(void **state)
{
	struct lab *lab = lab_make(&ops);
	struct pollfd told = { .events = POLLIN };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(open_handed(lab, fds[1], NULL), 0);
	pump(lab);
	assert_int_equal(lab->type.connected, 1);
	lab->fd = fds[0];
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	fd_close(&lab->fd);
	for (int i = 0; i < 5 && vireo_endpoint_connected(lab->endpoint); i++) {
		told.fd = vireo_endpoint_fd(lab->endpoint);
		poll(&told, 1, 20000);
		assert_int_equal(vireo_endpoint_dispatch(lab->endpoint), 0);
	}
	assert_int_equal(poll(&told, 1, 20000), 1); /* to tell: */
	assert_int_equal(vireo_endpoint_dispatch(lab->endpoint), -ENOTCONN);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	lab_free(lab);
}

/* One that was not served yet goes with its endpoint, too. */
static void socket_that_is_connected_is_closed_with_the_endpoint(void **state)
{
	struct lab *lab = lab_make(&ops);
	char byte;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(open_handed(lab, fds[1], NULL), 0);
	vireo_endpoint_close(lab->endpoint, NULL, NULL);
	lab->endpoint = NULL;
	assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0);
	close(fds[0]);
	lab_free(lab);
}

static void assert_not_taken(struct lab *lab, int fd, const struct vireo_endpoint_config *config, int err)
{
	int flags = fcntl(fd, F_GETFL), fd_flags = fcntl(fd, F_GETFD);

	assert_int_equal(open_handed(lab, fd, config), err);
	assert_null(lab->endpoint);
	assert_int_equal(fcntl(fd, F_GETFL), flags);
	assert_int_equal(fcntl(fd, F_GETFD), fd_flags);
}

static void fd_that_is_no_such_socket_is_refused_and_stays_the_callers(void **state)
{
	struct vireo_endpoint_config client = { .size = sizeof(client), .vhost_user.client = true };
	struct vireo_endpoint_config mode = { .size = sizeof(mode), .vhost_user.access.mode = 0600 };
	static const char *const addresses[] = { "fd:", "fd:x", "fd:-1", "fd:3x", "fd: 3", "fd:99999999999" };
	struct lab *lab = lab_make(&ops);
	struct lab *other = lab_new();
	int file = memfd_create("no socket", 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
	int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0), idle = socket(AF_UNIX, SOCK_STREAM, 0), fds[2];
	char address[64];

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		snprintf(address, sizeof(address), "vhost-user:%s", addresses[i]);
		assert_int_equal(vireo_endpoint_open(lab->device, address, NULL, &lab->endpoint), -EINVAL);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_not_taken(lab, file, NULL, -ENOTSOCK);
	assert_not_taken(lab, tcp, NULL, -EPROTONOSUPPORT);
	assert_not_taken(lab, datagrams, NULL, -EPROTONOSUPPORT);
	assert_not_taken(lab, idle, NULL, -ENOTCONN);
	assert_not_taken(lab, fds[0], &client, -EINVAL);
	assert_not_taken(lab, fds[0], &mode, -EINVAL);
	snprintf(address, sizeof(address), "vhost-user:fd:%d", fds[0]);
	assert_int_equal(vireo_endpoint_open(other->device, address, NULL, &lab->endpoint), -EBUSY); /* it has one */
	assert_true(fcntl(fds[0], F_GETFD) == 0);
	close(fds[0]);
	assert_not_taken(lab, fds[0], NULL, -EBADF);
	for (size_t i = 0; i < 5; i++)
		close((int[]){ file, tcp, datagrams, idle, fds[1] }[i]);
	lab_free(other);
	lab_free(lab);
}

static struct lab *lab_hello(unsigned hello_ms)
{
	struct lab *lab = lab_make(&ops);
	struct vireo_endpoint_config config = { .size = sizeof(config), .vhost_user.hello_ms = hello_ms };

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	return lab;
}

/* Does whoever waits get its turn, though `first` keeps the connection? */
static bool next_one_is_served(struct lab *lab, int first, unsigned tries)
{
	bool served = false;

	lab->fd = unix_dial(lab->path);
	for (unsigned i = 0; i < tries && lab->type.connected < 2; i++)
		pump_wait(lab, 10);
	if (lab->type.connected == 2)
		served = ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL;
	close(first);
	pump(lab);
	return served;
}

static void peer_that_says_nothing_gives_way_to_one_that_waits(void **state)
{
	static const uint8_t half[12 + 4] = { VU_SET_FEATURES, [4] = VU_VERSION, [8] = 8 };
	static const size_t said_bytes[] = { 0, 6, sizeof(half) };

	for (size_t i = 0; i < ARRAY_SIZE(said_bytes); i++) {
		struct lab *lab = lab_hello(20);
		int first = unix_dial(lab->path);

		pump(lab);
		if (said_bytes[i])
			assert_int_equal(send(first, half, said_bytes[i], 0), said_bytes[i]);
		pump(lab);
		assert_true(next_one_is_served(lab, first, 2000));
		assert_non_null(strstr(lab->log, "another front end waits; process "));
		assert_non_null(strstr(lab->log, "session closed"));
		lab_free(lab);
	}
}

/* Whoever waits for the socket already profits, too; and a longer time takes nobody's turn away. */
static void peer_that_says_nothing_has_the_time_that_is_set_last(void **state)
{
	struct lab *lab = lab_hello(3600000);
	int first = unix_dial(lab->path), second;

	pump(lab);
	second = unix_dial(lab->path);
	for (int i = 0; i < 5; i++)
		pump_wait(lab, 5);
	assert_non_null(strstr(lab->log, "another front end waits; process "));
	assert_int_equal(lab->type.disconnected, 0);
	assert_int_equal(vireo_endpoint_hello_set(lab->endpoint, 1), 0);
	for (unsigned i = 0; i < 2000 && lab->type.connected < 2; i++)
		pump_wait(lab, 10);
	assert_int_equal(lab->type.connected, 2);
	assert_int_equal(vireo_endpoint_hello_set(lab->endpoint, 0), 0); /* the default: 10 s */
	lab->fd = unix_dial(lab->path);
	for (int i = 0; i < 5; i++)
		pump_wait(lab, 5);
	assert_int_equal(lab->type.disconnected, 1);
	close(first);
	close(second);
	lab_free(lab);
}

static void who_listens_nowhere_has_no_time_to_set(void **state)
{
	struct lab *lab = lab_make(&ops);
	struct vireo_endpoint_config config = { .size = sizeof(config), .vhost_user.client = true };

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	assert_int_equal(vireo_endpoint_hello_set(lab->endpoint, 1), -EOPNOTSUPP);
	lab_free(lab);
}

/* It may be a machine in its firmware, whatever else waits. */
static void peer_that_has_negotiated_stays(void **state)
{
	struct lab *lab = lab_hello(1);
	struct vireo_endpoint_peer peer = { .size = sizeof(peer) };
	int first;

	assert_false(vireo_endpoint_peer(lab->endpoint, &peer));
	negotiate(lab, P_ALL);
	assert_true(vireo_endpoint_peer(lab->endpoint, &peer));
	assert_int_equal(peer.process, getpid());
	assert_false(peer.started);
	first = lab->fd;
	lab->fd = -1;
	assert_false(next_one_is_served(lab, first, 20));
	assert_null(strstr(lab->log, "session closed"));
	assert_int_equal(lab->type.connected, 2); /* once the first has gone */
	lab_free(lab);
}

/* While nobody waits. */
static void peer_that_says_nothing_may_take_its_time(void **state)
{
	struct lab *lab = lab_hello(1);
	struct vireo_endpoint_peer peer = { .size = sizeof(peer) };

	dial(lab);
	for (int i = 0; i < 20; i++)
		pump_wait(lab, 5);
	assert_int_equal(lab->type.disconnected, 0);
	ready(lab); /* a new connection, after the first has gone */
	assert_true(vireo_endpoint_peer(lab->endpoint, &peer));
	assert_true(peer.started);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(reserved_word_that_is_not_zero_is_refused),
		cmocka_unit_test(socket_has_the_mode_asked_for_whatever_the_umask),
		cmocka_unit_test(socket_somebody_answers_on_is_not_taken),
		cmocka_unit_test(stale_socket_is_taken_over),
		cmocka_unit_test(file_in_the_way_is_left_alone),
		cmocka_unit_test(socket_that_is_not_ours_any_more_is_not_unlinked),
		cmocka_unit_test(path_of_any_length_works),
		cmocka_unit_test(socket_that_listens_is_served_and_listens_on_for_its_giver),
		cmocka_unit_test(socket_that_is_connected_is_served_and_lost_with_its_peer),
		cmocka_unit_test(socket_that_is_connected_is_closed_with_the_endpoint),
		cmocka_unit_test(fd_that_is_no_such_socket_is_refused_and_stays_the_callers),
		cmocka_unit_test(client_keeps_trying_and_comes_back),
		cmocka_unit_test(only_a_session_whose_rings_ran_shortens_the_pause),
		cmocka_unit_test(peer_that_says_nothing_gives_way_to_one_that_waits),
		cmocka_unit_test(peer_that_says_nothing_has_the_time_that_is_set_last),
		cmocka_unit_test(who_listens_nowhere_has_no_time_to_set),
		cmocka_unit_test(peer_that_has_negotiated_stays),
		cmocka_unit_test(peer_that_says_nothing_may_take_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
