/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"

/* The device's state, from one device to another by way of a front end that may be anybody. */

#define SAVE 0u
#define LOAD 1u
#define HEADER_BYTES 24u
#define NO_FD UINT64_C(0x100)

/* Waits for the reply to SET_DEVICE_STATE_FD; returns its fd, or -1 and what it says. */
static int reply_of(struct lab *lab, uint64_t *ret_value)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct packet p;
	struct iovec iov = { .iov_base = &p, .iov_len = 20 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	int fd = -1;

	assert_int_equal(recvmsg(lab->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), 20);
	assert_int_equal(p.request, VU_SET_DEVICE_STATE_FD);
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	memcpy(ret_value, p.payload, sizeof(*ret_value));
	assert_int_equal(*ret_value, fd < 0 ? NO_FD | 1 : 0); /* an error and an fd never come together */
	return fd;
}

/* The front end brings a pipe, as it must; what counts is the fd that comes back. */
static int transfer(struct lab *lab, uint32_t direction, uint32_t phase)
{
	const uint32_t words[] = { direction, phase };
	uint64_t value;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_fds(lab, VU_SET_DEVICE_STATE_FD, 0, words, sizeof(words), &ends[direction == SAVE], 1);
	close(ends[0]);
	close(ends[1]);
	return reply_of(lab, &value);
}

static uint64_t check(struct lab *lab)
{
	return ask_u64(lab, VU_CHECK_DEVICE_STATE);
}

/* All of it, with read(2) until there is no more, as from a pipe. */
static size_t save(struct lab *lab, uint8_t *data, size_t room)
{
	int fd = transfer(lab, SAVE, 0);
	size_t have = 0;
	ssize_t got;

	assert_true(fd >= 0);
	while ((got = read(fd, data + have, room - have)) > 0)
		have += (size_t)got;
	assert_int_equal(got, 0);
	close(fd);
	assert_int_equal(check(lab), 0);
	return have;
}

static uint64_t load(struct lab *lab, const void *data, size_t bytes)
{
	int fd = transfer(lab, LOAD, 0);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	close(fd);
	return check(lab);
}

static struct lab *lab_with(uint8_t first)
{
	struct lab *lab = lab_new();

	for (unsigned i = 0; i < sizeof(lab->state); i++)
		lab->state[i] = (uint8_t)(first + i);
	negotiate(lab, P_ALL);
	return lab;
}

static void state_goes_from_one_device_to_another(void **state)
{
	struct lab *from = lab_with(3), *to = lab_with(100);
	uint8_t data[200];
	size_t bytes = save(from, data, sizeof(data));

	assert_int_equal(bytes, HEADER_BYTES + sizeof(from->state));
	assert_int_equal(load(to, data, bytes), 0);
	assert_memory_equal(from->state, to->state, sizeof(to->state));
	assert_int_equal(check(to), 0); /* and it is still so */
	lab_free(to);
	lab_free(from);
}

static void state_that_comes_byte_by_byte_is_loaded_when_its_end_comes(void **state)
{
	struct lab *from = lab_with(3), *to = lab_with(100);
	uint8_t data[200];
	size_t bytes = save(from, data, sizeof(data));
	int fd = transfer(to, LOAD, 0);

	for (size_t i = 0; i < bytes; i++) {
		assert_int_equal(write(fd, data + i, 1), 1);
		pump(to);
		assert_int_equal(to->state[0], 100);
	}
	close(fd);
	pump(to); /* nobody has asked yet */
	assert_memory_equal(from->state, to->state, sizeof(to->state));
	assert_int_equal(check(to), 0);
	lab_free(to);
	lab_free(from);
}

static void device_that_keeps_nothing_has_a_state_all_the_same(void **state)
{
	struct lab *lab = lab_make(&bare_ops);
	uint8_t data[200];

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, NULL, &lab->endpoint), 0);
	dial(lab);
	say_u64(lab, VU_SET_PROTOCOL_FEATURES, P(DEVICE_STATE));
	assert_int_equal(save(lab, data, sizeof(data)), HEADER_BYTES);
	assert_int_equal(load(lab, data, HEADER_BYTES), 0);
	data[16] = 1; /* one byte more, and it is there */
	assert_int_equal(load(lab, data, HEADER_BYTES + 1), 1);
	lab_free(lab);
}

static void state_that_lies_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		unsigned at;
		uint8_t xor;
		const char *why;
	} lies[] = {
		{ 0, 1, "it is no state of a device of ours" },
		{ 7, 0x80, "it is no state of a device of ours" },
		{ 8, 2, "its version is not known here" },
		{ 12, 1, "it belongs to a device of another type" },
		{ 16, 0x10, "it is longer than it says" },
		{ 16, 1, "it is cut short" },
		{ 19, 0x80, "it is cut short" },
		{ 20, 1, "its version is not known here" },
		{ HEADER_BYTES, 0xfc, "of the wrong kind" },
	};
	struct lab *lab = lab_with(3);
	uint8_t data[200], honest[200], before[16];
	size_t bytes = save(lab, honest, sizeof(honest));

	memset(lab->state, 9, sizeof(lab->state));
	memcpy(before, lab->state, sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		memcpy(data, honest, bytes);
		data[lies[i].at] ^= lies[i].xor;
		*lab->log = '\0';
		assert_int_equal(load(lab, data, bytes), 1);
		assert_non_null(strstr(lab->log, lies[i].why));
		assert_null(strstr(strstr(lab->log, "refused") + 1, "refused")); /* one line */
		assert_memory_equal(lab->state, before, sizeof(before));
	}
	assert_int_equal(load(lab, honest, bytes), 0);
	lab_free(lab);
}

static void state_that_is_cut_short_anywhere_is_refused(void **state)
{
	struct lab *lab = lab_with(3);
	uint8_t data[200];
	size_t bytes = save(lab, data, sizeof(data));

	lab->state[0] = 77;
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(load(lab, data, i), 1);
	assert_int_equal(lab->state[0], 77);
	assert_int_equal(load(lab, data, bytes), 0);
	lab_free(lab);
}

/* Not more of it is kept than a device of this type can have, however much is on its way. */
static void state_without_end_is_refused_at_once(void **state)
{
	struct lab *lab = lab_with(3);
	static const uint8_t zeroes[4096];
	int fd = transfer(lab, LOAD, 0);

	send(fd, zeroes, sizeof(zeroes), MSG_DONTWAIT | MSG_NOSIGNAL);
	pump(lab);
	assert_non_null(strstr(lab->log, "it is longer than this device's can be"));
	assert_int_equal(send(fd, zeroes, 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1); /* nobody is there any more */
	assert_int_equal(check(lab), 1);
	close(fd);
	lab_free(lab);
}

static void state_whose_end_does_not_come_is_refused(void **state)
{
	struct lab *lab = lab_with(3);
	uint8_t data[200];
	size_t bytes = save(lab, data, sizeof(data));
	int fd = transfer(lab, LOAD, 0);

	assert_int_equal(write(fd, data, bytes), bytes);
	assert_int_equal(check(lab), 1);
	assert_non_null(strstr(lab->log, "its end has not come"));
	close(fd);
	pump(lab);
	assert_int_equal(check(lab), 1); /* it stays refused */
	assert_int_equal(load(lab, data, bytes), 0);
	lab_free(lab);
}

static void fds_in_a_state_are_refused_and_let_go_of(void **state)
{
	struct lab *lab = lab_with(3);
	int fd = transfer(lab, LOAD, 0), event = eventfd(0, EFD_CLOEXEC);

	send_raw(fd, "x", 1, &event, 1);
	close(event);
	pump(lab);
	assert_non_null(strstr(lab->log, "file descriptors are in it"));
	close(fd);
	assert_int_equal(check(lab), 1);
	lab_free(lab);
}

static void nothing_is_transferred_while_a_ring_runs(void **state)
{
	struct lab *lab = lab_new();
	uint32_t words[2];
	int fd;

	ready(lab);
	assert_int_equal(transfer(lab, SAVE, 0), -1);
	assert_int_equal(transfer(lab, LOAD, 0), -1);
	assert_non_null(strstr(lab->log, "SET_DEVICE_STATE_FD refused: rings run"));
	assert_int_equal(check(lab), 1);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	fd = transfer(lab, SAVE, 0);
	assert_true(fd >= 0);
	close(fd);
	lab_free(lab);
}

static void ring_that_starts_before_the_state_has_come_keeps_it_out(void **state)
{
	struct lab *lab = lab_with(3);
	uint8_t data[200];
	size_t bytes = save(lab, data, sizeof(data));
	int fd = transfer(lab, LOAD, 0);

	lab->state[0] = 77;
	assert_int_equal(write(fd, data, bytes), bytes);
	share_memory(lab);
	ring(lab, 0);
	close(fd);
	assert_int_equal(check(lab), 1);
	assert_int_equal(lab->state[0], 77);
	assert_non_null(lab->type.running[0]); /* and the session goes on */
	lab_free(lab);
}

static void transfer_that_makes_no_sense_is_refused(void **state)
{
	struct lab *lab = lab_with(3);

	assert_int_equal(check(lab), 1); /* of nothing */
	assert_int_equal(transfer(lab, 2, 0), -1);
	assert_int_equal(transfer(lab, SAVE, 1), -1);
	assert_int_equal(transfer(lab, UINT32_MAX, UINT32_MAX), -1);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

/* Each of them is the last one's end; lab_free() counts fds. */
static void transfers_by_the_hundred_leave_nothing_behind(void **state)
{
	struct lab *lab = lab_with(3);

	for (unsigned i = 0; i < 300; i++)
		close(transfer(lab, i & 1, 0));
	lab_free(lab);
}

static void front_end_that_hangs_up_in_the_middle_leaves_nothing_behind(void **state)
{
	for (uint32_t direction = SAVE; direction <= LOAD; direction++) {
		struct lab *lab = lab_with(3);
		int fd = transfer(lab, direction, 0);

		if (direction == LOAD)
			assert_int_equal(write(fd, "vireodev", 8), 8);
		front_close(lab);
		pump(lab);
		assert_int_equal(lab->type.disconnected, 1);
		close(fd);
		pump(lab);
		assert_int_equal(lab->state[0], 3);
		lab_free(lab);
	}
}

/* The reply, with the fd in it, waits for a peer that does not read: nothing hangs on it, and nothing of it is left. */
static void replies_with_fds_that_nobody_reads_are_let_go_of(void **state)
{
	struct lab *lab = lab_with(3);
	const uint32_t words[] = { SAVE, 0 };
	int event = eventfd(0, EFD_CLOEXEC);
	struct packet p = packet(VU_SET_DEVICE_STATE_FD, 0, words, sizeof(words));

	assert_int_equal(fcntl(lab->fd, F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 3000 && send_raw(lab->fd, &p, 20, &event, 1) > 0; i++)
		if (i % 10 == 0)
			pump(lab);
	close(event);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_goes_from_one_device_to_another),
		cmocka_unit_test(state_that_comes_byte_by_byte_is_loaded_when_its_end_comes),
		cmocka_unit_test(device_that_keeps_nothing_has_a_state_all_the_same),
		cmocka_unit_test(state_that_lies_is_refused_and_changes_nothing),
		cmocka_unit_test(state_that_is_cut_short_anywhere_is_refused),
		cmocka_unit_test(state_without_end_is_refused_at_once),
		cmocka_unit_test(state_whose_end_does_not_come_is_refused),
		cmocka_unit_test(fds_in_a_state_are_refused_and_let_go_of),
		cmocka_unit_test(nothing_is_transferred_while_a_ring_runs),
		cmocka_unit_test(ring_that_starts_before_the_state_has_come_keeps_it_out),
		cmocka_unit_test(transfer_that_makes_no_sense_is_refused),
		cmocka_unit_test(transfers_by_the_hundred_leave_nothing_behind),
		cmocka_unit_test(front_end_that_hangs_up_in_the_middle_leaves_nothing_behind),
		cmocka_unit_test(replies_with_fds_that_nobody_reads_are_let_go_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
