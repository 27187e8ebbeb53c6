/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/parcel.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x6c637270u
#define LATER (clock_now_us() + 20000000) /* never reached */
#define MANY 130u			  /* fds, in three messages */

static int ends[2];

static int set_up(void **state)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(parcel_socket(ends[0]), 0);
	assert_int_equal(parcel_socket(ends[1]), 0);
	return 0;
}

static int tear_down(void **state)
{
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	return 0;
}

/* The next number that an fd gets: one more for each that has been left open. */
static int next_fd(void)
{
	int fd = dup(ends[1]);

	close(fd);
	return fd;
}

static void parcel_arrives_with_all_its_fds_in_their_order(void **state)
{
	int pipes[2], fds[MANY];
	struct parcel parcel;
	struct stat wanted, got;

	assert_int_equal(pipe(pipes), 0);
	for (unsigned i = 0; i < MANY; i++)
		fds[i] = pipes[i % 2];
	assert_int_equal(parcel_send(ends[0], LATER, 7, "text", 4, fds, MANY), 0);
	assert_int_equal(parcel_send(ends[0], LATER, 8, NULL, 0, NULL, 0), 0);
	assert_int_equal(parcel_receive(ends[1], LATER, &parcel), 0);
	assert_int_equal(parcel.kind, 7);
	assert_int_equal(parcel.fd_count, MANY);
	assert_memory_equal(parcel.data, "text", 5);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(fcntl(parcel.fds[i], F_GETFL) & O_ACCMODE, i % 2 ? O_WRONLY : O_RDONLY);
	assert_int_equal(fstat(pipes[0], &wanted), 0);
	assert_int_equal(fstat(parcel.fds[MANY - 2], &got), 0);
	assert_int_equal(got.st_ino, wanted.st_ino);
	parcel_free(&parcel);
	assert_int_equal(parcel_receive(ends[1], LATER, &parcel), 0);
	assert_int_equal(parcel.kind, 8);
	assert_int_equal(parcel.bytes, 0);
	parcel_free(&parcel);
	close(pipes[0]);
	close(pipes[1]);
}

static void send_raw(uint32_t magic, uint32_t bytes, uint32_t fds)
{
	const uint32_t header[] = {magic, 1, bytes, fds};

	assert_int_equal(write(ends[0], header, sizeof(header)), sizeof(header));
}

static void send_byte_with(const int *fds, unsigned count)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int) * 8)] __attribute__((aligned(8))) = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
	assert_int_equal(sendmsg(ends[0], &msg, 0), 1);
}

static void what_is_no_parcel_is_refused(void **state)
{
	static const uint32_t headers[][3] = {{MAGIC + 1, 0, 0}, {MAGIC, PARCEL_BYTES_MAX + 1, 0}, {MAGIC, 0, PARCEL_FDS_MAX + 1}};
	struct parcel parcel;

	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++) {
		send_raw(headers[i][0], headers[i][1], headers[i][2]);
		assert_int_equal(parcel_receive(ends[1], LATER, &parcel), -EPROTO);
	}
	assert_int_equal(parcel_send(ends[0], LATER, 1, "", PARCEL_BYTES_MAX + 1, NULL, 0), -EMSGSIZE);
}

/* Nor is memory beyond that of the number that was told written to. */
static void parcel_with_more_or_fewer_fds_than_it_says_leaves_none_open(void **state)
{
	const int fds[] = {ends[0], ends[0], ends[0], ends[0]};
	struct parcel parcel;
	int next = next_fd();

	for (unsigned says = 1; says < 4; says++) {
		send_raw(MAGIC, 0, says);
		send_byte_with(fds, says + 1);
		assert_int_equal(parcel_receive(ends[1], LATER, &parcel), 0);
		assert_int_equal(parcel.fd_count, says);
		parcel_free(&parcel);
		send_raw(MAGIC, 0, says + 1);
		send_byte_with(fds, says);
		assert_int_equal(parcel_receive(ends[1], LATER, &parcel), -EMFILE);
	}
	send_raw(MAGIC, 0, 1);
	assert_int_equal(write(ends[0], "x", 1), 1);
	assert_int_equal(parcel_receive(ends[1], LATER, &parcel), -EMFILE);
	assert_int_equal(next_fd(), next);
}

static void parcel_that_is_cut_leaves_nothing_behind(void **state)
{
	struct parcel parcel;
	int fds[] = {ends[0]}, next = next_fd();

	send_raw(MAGIC, 100, 1);
	send_byte_with(fds, 1);
	assert_int_equal(write(ends[0], "half", 4), 4);
	assert_int_equal(parcel_receive(ends[1], clock_now_us() + 1000, &parcel), -ETIMEDOUT);
	assert_int_equal(next_fd(), next);
	send_raw(MAGIC, 100, 0);
	shutdown(ends[0], SHUT_WR);
	assert_int_equal(parcel_receive(ends[1], LATER, &parcel), -ECONNRESET);
}

/* However little at a time it takes: the end of the wait is the whole call's. */
static void who_takes_nothing_is_not_waited_for(void **state)
{
	static char much[4u << 20];
	struct parcel parcel;

	assert_int_equal(parcel_send(ends[0], clock_now_us() + 1000, 1, much, sizeof(much), NULL, 0), -ETIMEDOUT);
	assert_int_equal(parcel_receive(ends[0], 0, &parcel), -ETIMEDOUT);
	shutdown(ends[1], SHUT_RD);
	assert_int_equal(parcel_send(ends[0], LATER, 1, NULL, 0, NULL, 0), -EPIPE);
}

static void what_is_no_unix_socket_is_refused(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(parcel_socket(fds[0]), -ENOTSOCK);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parcel_arrives_with_all_its_fds_in_their_order),
		TEST(what_is_no_parcel_is_refused),
		TEST(parcel_with_more_or_fewer_fds_than_it_says_leaves_none_open),
		TEST(parcel_that_is_cut_leaves_nothing_behind),
		TEST(who_takes_nothing_is_not_waited_for),
		TEST(what_is_no_unix_socket_is_refused),
	};

	return cmocka_run_group_tests_name("parcel", tests, NULL, NULL);
}
