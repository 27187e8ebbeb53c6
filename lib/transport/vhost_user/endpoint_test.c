/* SPDX-License-Identifier: BSD-3-Clause */
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

static void socket_has_the_mode_asked_for_whatever_the_umask(void **state)
{
	static const mode_t umasks[] = { 0, 0022, 0777 };

	for (size_t i = 0; i < ARRAY_SIZE(umasks); i++) {
		struct lab *lab = lab_make(&ops);
		struct vireo_endpoint_config config = { .size = sizeof(config), .mode = 0620 };
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
		.size = sizeof(config), .client = true, .reconnect_min_ms = 1, .reconnect_max_ms = 4
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
		for (int i = 0; i < 50 && lab->type.connected < round; i++)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(socket_has_the_mode_asked_for_whatever_the_umask),
		cmocka_unit_test(socket_somebody_answers_on_is_not_taken),
		cmocka_unit_test(stale_socket_is_taken_over),
		cmocka_unit_test(file_in_the_way_is_left_alone),
		cmocka_unit_test(socket_that_is_not_ours_any_more_is_not_unlinked),
		cmocka_unit_test(path_of_any_length_works),
		cmocka_unit_test(client_keeps_trying_and_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
