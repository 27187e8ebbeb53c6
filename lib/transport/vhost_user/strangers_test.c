/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/stubborn_test.h"
#include "transport/vhost_user/session_lab.h"

/*
 * Whatever a front end hands over, and the back end does not keep or keeps no more, is closed aside, for to close it
 * may take as long as its owner likes. Here nobody closes anything until the test says so: what the control thread closes
 * by itself is seen to be missing.
 */

static struct {
	void (*work)(void *argument);
	void *argument;
} calls[64];
static unsigned call_count;

static int aside(void *opaque, void (*work)(void *argument), void *argument)
{
	assert_true(call_count < ARRAY_SIZE(calls));
	calls[call_count].work = work;
	calls[call_count++].argument = argument;
	return 0;
}

static void aside_do(void)
{
	for (unsigned i = 0; i < call_count; i++)
		calls[i].work(calls[i].argument);
	call_count = 0;
}

static struct lab *lab_aside(void)
{
	const struct vireo_endpoint_config config = { .size = sizeof(config), .close_aside = aside };
	struct lab *lab = lab_make(&ops);

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	return lab;
}

static void lab_end(struct lab *lab)
{
	front_close(lab); /* the lab counts fds when all have gone */
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	assert_int_equal(lab->closed, 1);
	lab->endpoint = NULL;
	aside_do();
	lab_free(lab);
}

/* Is a file of an fd of ours that the test has closed by now still held? Its other end says so. */
struct witness {
	int seen, given;
};

static struct witness witness_new(void)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	return (struct witness){ ends[0], ends[1] };
}

static bool held(const struct witness *witness)
{
	struct pollfd poll_fd = { .fd = witness->seen };

	return !poll(&poll_fd, 1, 0); /* POLLHUP: nobody has the other end any more */
}

/* It was the back end's alone, and the control thread has not closed it; then it is closed aside. */
static void assert_closed_aside(struct witness *witness)
{
	assert_true(held(witness));
	aside_do();
	assert_false(held(witness));
	fd_close(&witness->seen);
}

static void hand(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes, struct witness *witness)
{
	struct packet p = packet(request, 0, payload, bytes);

	assert_int_equal(send_raw(lab->fd, &p, 12 + bytes, &witness->given, 1), 12 + bytes);
	fd_close(&witness->given);
	pump(lab);
}

static void fds_that_are_refused_are_closed_aside(void **state)
{
	static const uint8_t zeroes[40];
	static const struct {
		uint32_t request, bytes;
	} cases[] = {
		{ VU_GET_FEATURES, 0 }, /* none belongs there */
		{ VU_SET_VRING_NUM, 4 }, /* too short */
		{ VU_ADD_MEM_REG, 40 }, /* no memory */
		{ 99, 0 }, /* no such message */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lab *lab = lab_aside();
		struct witness witness = witness_new();

		negotiate(lab, P_ALL);
		hand(lab, cases[i].request, zeroes, cases[i].bytes, &witness);
		assert_true(hung_up(lab));
		assert_closed_aside(&witness);
		lab_end(lab);
	}
}

static void fds_beyond_what_a_message_may_carry_are_closed_aside(void **state)
{
	struct lab *lab = lab_aside();
	struct witness witness = witness_new();
	struct packet p = packet(VU_SET_VRING_KICK, 0, "\0\0\0\0\0\0\0", 8);
	int fds[VU_FDS_MAX + 1];

	negotiate(lab, P_ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = i < VU_FDS_MAX ? lab->fd : witness.given;
	send_raw(lab->fd, &p, 20, fds, ARRAY_SIZE(fds));
	fd_close(&witness.given);
	assert_true(hung_up(lab));
	assert_closed_aside(&witness);
	lab_end(lab);
}

static void notifiers_that_are_replaced_are_closed_aside(void **state)
{
	static const uint32_t requests[] = { VU_SET_VRING_CALL, VU_SET_VRING_ERR };
	const uint64_t none = 0x100;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct lab *lab = lab_aside();
		int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), before;
		uint64_t index = 0;

		negotiate(lab, P_ALL);
		say_fds(lab, requests[i], 0, &index, 8, &event, 1);
		aside_do();
		before = count_fds();
		say_fds(lab, requests[i], 0, &none, 8, NULL, 0);
		assert_int_equal(count_fds(), before); /* it waits to be closed */
		aside_do();
		assert_int_equal(count_fds(), before - 1);
		close(event);
		lab_end(lab);
	}
}

static void a_kick_that_is_a_pipe_is_closed_aside(void **state)
{
	struct lab *lab = lab_aside();
	struct witness witness = witness_new();
	uint64_t index = 0;

	negotiate(lab, P_ALL);
	hand(lab, VU_SET_VRING_KICK, &index, 8, &witness); /* polled, and not kept */
	assert_closed_aside(&witness);
	lab_end(lab);
}

static void fds_in_flight_are_closed_aside_with_the_session(void **state)
{
	struct lab *lab = lab_aside();
	struct witness witness = witness_new();
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);

	dial(lab);
	p.flags = 0; /* the session ends here, and nobody reads what follows */
	send_raw(lab->fd, &p, 12, NULL, 0);
	send_raw(lab->fd, &p, 12, &witness.given, 1);
	fd_close(&witness.given);
	assert_true(hung_up(lab));
	assert_closed_aside(&witness);
	lab_end(lab);
}

/* The second connection is never accepted: the first one holds the port. */
static void fds_in_the_backlog_are_closed_aside_with_the_port(void **state)
{
	struct lab *lab = lab_aside();
	struct witness witness = witness_new();
	int second;

	negotiate(lab, P_ALL);
	second = unix_dial(lab->path);
	send_raw(second, "x", 1, &witness.given, 1);
	fd_close(&witness.given);
	close(second);
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	lab->endpoint = NULL;
	assert_closed_aside(&witness);
	lab_free(lab);
}

/* Mapped memory holds its file, which may be large: to give it back takes its time. */
static void memory_is_unmapped_aside(void **state)
{
	struct lab *lab = lab_aside();
	char needle[] = "memfd:session";
	FILE *maps;
	char line[512];
	unsigned mapped = 0;

	negotiate(lab, P_ALL);
	share_memory(lab);
	front_close(lab);
	pump(lab);
	maps = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof(line), maps))
		mapped += strstr(line, needle) != NULL;
	fclose(maps);
	assert_int_equal(mapped, 1); /* the session is over */
	assert_int_equal(lab->type.disconnected, 1);
	aside_do();
	maps = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof(line), maps))
		assert_null(strstr(line, needle));
	fclose(maps);
	lab_end(lab);
}

/* Or a peer whose fds are never closed would take all that the process may have. */
static void a_session_whose_fds_are_not_closed_is_closed(void **state)
{
	struct lab *lab = lab_aside();
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t index = 0;

	negotiate(lab, P_ALL);
	for (unsigned i = 0; i < DROP_WAITING_MAX && !lab->type.disconnected; i++) {
		struct packet p = packet(VU_SET_VRING_ERR, 0, &index, 8);

		send_raw(lab->fd, &p, 20, &event, 1);
		pump(lab);
	}
	assert_int_equal(lab->type.disconnected, 0); /* an honest one may exchange as many */
	for (unsigned i = 0; i < 3; i++)
		send_raw(lab->fd, &(struct packet){ VU_SET_VRING_ERR, VU_VERSION, 8, { 0 } }, 20, &event, 1);
	assert_true(hung_up(lab));
	assert_non_null(strstr(lab->log, "cannot be closed"));
	dial(lab); /* the next one waits until they are */
	assert_int_equal(lab->type.connected, 1);
	assert_non_null(strstr(lab->log, "is not closed yet"));
	aside_do();
	while (lab->type.connected == 1)
		pump_wait(lab, 1000);
	close(event);
	lab_end(lab);
}

static void a_channel_is_a_unix_socket(void **state)
{
	struct lab *lab = lab_new();
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2], ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	negotiate(lab, P_ALL);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &tcp, 1), 1);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &ends[1], 1), 1);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1), 0);
	close(tcp);
	close(ends[0]);
	close(ends[1]);
	close(pair[0]);
	close(pair[1]);
	lab_free(lab);
}

/* Neither what it is, nor which file system it is of, is asked of who serves it. */
static void a_file_whose_server_never_answers_is_refused_in_every_place(void **state)
{
	static const struct {
		uint32_t request, bytes;
	} cases[] = { { VU_SET_VRING_KICK, 8 }, { VU_SET_VRING_CALL, 8 }, { VU_SET_VRING_ERR, 8 },
		      { VU_SET_BACKEND_REQ_FD, 0 }, { VU_ADD_MEM_REG, 40 } };
	static const mode_t types[] = { S_IFREG, S_IFIFO };

	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(types); i++) {
		uint32_t request = cases[i / 2].request, bytes = cases[i / 2].bytes;
		struct lab *lab = lab_aside();
		struct stubborn file;
		uint8_t zeroes[40] = { 0 };

		if (!stubborn_new(&file, types[i % 2], O_RDWR | O_NONBLOCK)) {
			lab_end(lab);
			skip();
		}
		negotiate(lab, P_ALL);
		say_fds(lab, request, VU_FLAG_NEED_REPLY, request == VU_ADD_MEM_REG ? (const void *)region_message : zeroes,
			bytes, &file.fd, 1);
		pump(lab);
		stubborn_kill(&file);
		close(file.fd);
		lab_end(lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fds_that_are_refused_are_closed_aside),
		cmocka_unit_test(fds_beyond_what_a_message_may_carry_are_closed_aside),
		cmocka_unit_test(notifiers_that_are_replaced_are_closed_aside),
		cmocka_unit_test(a_kick_that_is_a_pipe_is_closed_aside),
		cmocka_unit_test(fds_in_flight_are_closed_aside_with_the_session),
		cmocka_unit_test(fds_in_the_backlog_are_closed_aside_with_the_port),
		cmocka_unit_test(memory_is_unmapped_aside),
		cmocka_unit_test(a_session_whose_fds_are_not_closed_is_closed),
		cmocka_unit_test(a_channel_is_a_unix_socket),
		cmocka_unit_test(a_file_whose_server_never_answers_is_refused_in_every_place),
	};

	alarm(100); /* who waits for ever */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
