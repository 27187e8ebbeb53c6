/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"

/* Lies: each costs its session, with one line in the log, and leaves no fd behind. */

/* In an honest session, with memory and a ring, the message costs the session and leaves no fd behind. */
static void closes_fds(uint32_t request, uint32_t flags, const void *payload, uint32_t bytes,
		       uint64_t protocol, const int *fds, unsigned fd_count)
{
	struct lab *lab = lab_new();
	struct packet p = packet(request, 0, payload, bytes);

	negotiate(lab, protocol);
	p.flags = flags;
	send_raw(lab->fd, &p, 12 + bytes, fds, fd_count);
	if (!hung_up(lab))
		fail_msg("message %u with %u bytes, %u fds was taken", request, bytes, fd_count);
	assert_int_equal(lab->type.disconnected, 1);
	assert_non_null(strstr(lab->log, "session closed"));
	lab_free(lab);
}

static void closes(uint32_t request, const void *payload, uint32_t bytes)
{
	closes_fds(request, VU_VERSION, payload, bytes, P_ALL, NULL, 0);
}

static const struct {
	uint32_t request, bytes;
} sized[] = {
	{ VU_SET_FEATURES, 8 },	    { VU_SET_VRING_NUM, 8 },  { VU_SET_VRING_ADDR, 40 },
	{ VU_SET_VRING_BASE, 8 },   { VU_GET_VRING_BASE, 8 }, { VU_SET_VRING_KICK, 8 },
	{ VU_SET_VRING_CALL, 8 },   { VU_SET_VRING_ERR, 8 },  { VU_SET_PROTOCOL_FEATURES, 8 },
	{ VU_SET_VRING_ENABLE, 8 }, { VU_SEND_RARP, 8 },      { VU_NET_SET_MTU, 8 },
	{ VU_SET_STATUS, 8 },	    { VU_ADD_MEM_REG, 40 },   { VU_REM_MEM_REG, 40 },
	{ VU_SET_DEVICE_STATE_FD, 8 },
};

static const uint32_t empty[] = { VU_GET_FEATURES,	    VU_SET_OWNER,     VU_RESET_OWNER,
				  VU_GET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_RESET_DEVICE,
				  VU_GET_MAX_MEM_SLOTS,	    VU_GET_STATUS,    VU_CHECK_DEVICE_STATE };

static const uint8_t zeroes[600];

static void payload_of_the_wrong_size_closes_the_session(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sized); i++) {
		closes(sized[i].request, zeroes, 0);
		closes(sized[i].request, zeroes, sized[i].bytes - 1);
		closes(sized[i].request, zeroes, sized[i].bytes + 1);
		closes(sized[i].request, zeroes, 600);
	}
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
		closes(empty[i], zeroes, 8);
}

static void payload_size_of_four_gigabytes_closes_the_session(void **state)
{
	static const uint32_t sizes[] = { 4097, 1u << 20, 0x80000000, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lab *lab = lab_new();
		struct packet p = packet(VU_SET_FEATURES, 0, zeroes, 8);

		dial(lab);
		p.size = sizes[i];
		send_raw(lab->fd, &p, 20, NULL, 0);
		assert_true(hung_up(lab));
		lab_free(lab);
	}
}

static void unknown_messages_close_the_session(void **state)
{
	static const uint32_t unknown[] = { 0,	6,  7,	22, 23, 26, 28, 31,	  32,	     33,
					    35, 41, 45, 46, 99, 1u << 31, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		closes(unknown[i], zeroes, 0);
		closes(unknown[i], zeroes, 8);
	}
}

/* It exists, and the line says why it is not for us. */
static void messages_of_other_devices_and_byte_orders_are_refused_with_their_reason(void **state)
{
	static const struct {
		uint32_t request;
		const char *why;
	} known[] = {
		{ 23, "SET_VRING_ENDIAN (23), 8 bytes, 0 fds: rings of another byte order are legacy's" },
		{ 26, "CREATE_CRYPTO_SESSION (26), 8 bytes, 0 fds: the device is no crypto device" },
		{ 27, "CLOSE_CRYPTO_SESSION (27), 8 bytes, 0 fds: the device is no crypto device" },
		{ 33, "GPU_SET_SOCKET (33), 8 bytes, 0 fds: the device is no GPU" },
		{ 41, "GET_SHARED_OBJECT (41), 8 bytes, 0 fds: the device shares no objects" },
		{ 44, "GET_SHMEM_CONFIG (44), 8 bytes, 0 fds: the device has no shared memory regions" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct lab *lab = lab_new();

		negotiate(lab, P_ALL);
		say(lab, known[i].request, zeroes, 8);
		assert_true(hung_up(lab));
		assert_non_null(strstr(lab->log, known[i].why));
		lab_free(lab);
	}
}

static void wrong_version_and_reply_flag_close_the_session(void **state)
{
	static const uint32_t flags[] = { 0, 2, 3, VU_VERSION | VU_FLAG_REPLY, VU_VERSION | 16 };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		closes_fds(VU_GET_FEATURES, flags[i], NULL, 0, P_ALL, NULL, 0);
}

static void message_behind_a_gate_closes_the_session(void **state)
{
	static const uint32_t gated[] = { VU_SEND_RARP, VU_NET_SET_MTU, VU_SET_STATUS };
	static const uint32_t gated_empty[] = { VU_GET_QUEUE_NUM, VU_RESET_DEVICE, VU_GET_MAX_MEM_SLOTS,
						VU_GET_STATUS, VU_CHECK_DEVICE_STATE };
	int fd = eventfd(0, EFD_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(gated); i++)
		closes_fds(gated[i], VU_VERSION, zeroes, 8, 0, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(gated_empty); i++)
		closes_fds(gated_empty[i], VU_VERSION, NULL, 0, 0, NULL, 0);
	closes_fds(VU_ADD_MEM_REG, VU_VERSION, zeroes, 40, 0, &fd, 1);
	closes_fds(VU_REM_MEM_REG, VU_VERSION, zeroes, 40, 0, NULL, 0);
	closes_fds(VU_SET_DEVICE_STATE_FD, VU_VERSION, zeroes, 8, 0, &fd, 1);
	closes_fds(VU_GET_CONFIG, VU_VERSION, zeroes, 12, 0, NULL, 0);
	closes_fds(VU_SET_CONFIG, VU_VERSION, zeroes, 12, 0, NULL, 0);
	closes_fds(VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL, 0, 0, &fd, 1);
	close(fd);
}

static void wrong_number_of_fds_closes_the_session(void **state)
{
	int fds[64];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
		closes_fds(empty[i], VU_VERSION, NULL, 0, P_ALL, fds, 1);
	closes_fds(VU_SET_VRING_NUM, VU_VERSION, zeroes, 8, P_ALL, fds, 3);
	closes_fds(VU_SET_VRING_KICK, VU_VERSION, zeroes, 8, P_ALL, fds, 2);
	closes_fds(VU_SET_VRING_KICK, VU_VERSION, zeroes, 8, P_ALL, NULL, 0);
	closes_fds(VU_SET_VRING_CALL, VU_VERSION, "\0\1\0\0\0\0\0", 8, P_ALL, fds, 1);
	closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &one_region, 40, P_ALL, NULL, 0);
	closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &one_region, 40, P_ALL, fds, 2);
	closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &one_region, 40, P_ALL, fds, 9);
	closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &one_region, 40, P_ALL, fds, 64);
	closes_fds(VU_ADD_MEM_REG, VU_VERSION, region_message, 40, P_ALL, NULL, 0);
	closes_fds(VU_REM_MEM_REG, VU_VERSION, region_message, 40, P_ALL, fds, 2);
	closes_fds(VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL, 0, P_ALL, NULL, 0);
	closes_fds(VU_SET_LOG_FD, VU_VERSION, NULL, 0, P_ALL, NULL, 0);
	closes_fds(VU_SET_LOG_FD, VU_VERSION, NULL, 0, P_ALL, fds, 2);
	closes_fds(VU_SET_LOG_FD, VU_VERSION, zeroes, 8, P_ALL, fds, 1);
	closes_fds(VU_SET_DEVICE_STATE_FD, VU_VERSION, zeroes, 8, P_ALL, NULL, 0);
	closes_fds(VU_SET_DEVICE_STATE_FD, VU_VERSION, zeroes, 8, P_ALL, fds, 2);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void region_count_that_lies_closes_the_session(void **state)
{
	static const uint32_t counts[] = { 0, 2, 9, 0x10001, UINT32_MAX };
	struct table table = one_region;
	int fd = memfd_create("lies", MFD_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		table.count = counts[i];
		closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &table, 40, P_ALL, &fd, 1);
	}
	table.count = 9;
	closes_fds(VU_SET_MEM_TABLE, VU_VERSION, &table, 8 + 9 * 32, P_ALL, &fd, 1);
	close(fd);
}

static void fds_with_every_byte_are_not_collected_without_end(void **state)
{
	struct lab *lab = lab_new();
	struct packet p = packet(VU_SET_VRING_KICK, 0, zeroes, 8);
	int fd = eventfd(0, EFD_CLOEXEC);

	negotiate(lab, P_ALL);
	for (unsigned i = 0; i < 20; i++) {
		if (send_raw(lab->fd, (uint8_t *)&p + i, 1, &fd, 1) != 1)
			break;
		pump(lab);
	}
	assert_true(hung_up(lab));
	close(fd);
	lab_free(lab);
}

static void end_in_the_middle_of_a_message_leaves_no_fd(void **state)
{
	for (unsigned bytes = 1; bytes < 52; bytes += 10) {
		struct lab *lab = lab_new();
		struct packet p = packet(VU_SET_MEM_TABLE, 0, &one_region, 40);
		int fd = eventfd(0, EFD_CLOEXEC);

		negotiate(lab, P_ALL);
		send_raw(lab->fd, &p, bytes, &fd, 1);
		close(fd);
		pump(lab);
		front_close(lab);
		pump(lab);
		assert_int_equal(lab->type.disconnected, 1);
		lab_free(lab);
	}
}

static void refusal_is_answered_and_the_session_goes_on(void **state)
{
	static const uint32_t indexes[] = { QUEUES + ABSENT, 255, 256, 0x10000, 0x80000000, UINT32_MAX };
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		struct addr_message addr = ring_addr(indexes[i]);

		assert_int_equal(ack_pair(lab, VU_SET_VRING_NUM, indexes[i], 8), 1);
		assert_int_equal(ack_pair(lab, VU_SET_VRING_BASE, indexes[i], 0), 1);
		assert_int_equal(ack_pair(lab, VU_SET_VRING_ENABLE, indexes[i], 1), 1);
		assert_int_equal(ack(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr)), 1);
	}
	assert_int_equal(ack_u64(lab, VU_SET_VRING_KICK, 0x100 + QUEUES + ABSENT), 1);
	assert_int_equal(ack_pair(lab, VU_SET_VRING_ENABLE, 0, 2), 1);
	assert_int_equal(ack_pair(lab, VU_SET_VRING_NUM, 0, 0), 1);
	assert_int_equal(ack_pair(lab, VU_SET_VRING_NUM, 0, 100), 1);
	assert_int_equal(ack_pair(lab, VU_SET_VRING_NUM, 0, 0x10000 + 8), 1);
	assert_int_equal(ack_pair(lab, VU_SET_VRING_BASE, 0, 0x10000), 1);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, VIREO_FEATURE(63)), 1);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, VIREO_FEATURE(5)), 1); /* the type refuses it */
	assert_int_equal(ack_u64(lab, VU_SET_STATUS, 0x100), 1);
	assert_int_equal(ask_u64(lab, VU_GET_STATUS), 0);
	lab_free(lab);
}

static void refusal_that_nobody_waits_for_closes_the_session(void **state)
{
	static const uint32_t pair[] = { QUEUES + ABSENT, 8 };

	closes(VU_SET_VRING_NUM, pair, 8);
	closes(VU_GET_VRING_BASE, pair, 8);
	closes(VU_SET_FEATURES, "\0\0\0\0\0\0\0\x80", 8);
	closes(VU_SET_PROTOCOL_FEATURES, "\0\0\2\0\0\0\0\0", 8); /* XEN_MMAP */
}

static void notifier_that_is_no_notifier_is_refused_and_closed(void **state)
{
	struct lab *lab = lab_new();
	int pair[2];

	negotiate(lab, P_ALL);
	make_memory(lab);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	for (uint32_t request = VU_SET_VRING_KICK; request <= VU_SET_VRING_ERR; request++) {
		assert_int_equal(ack_fds(lab, request, zeroes, 8, &lab->memfd, 1), 1);
		assert_int_equal(ack_fds(lab, request, zeroes, 8, &pair[0], 1), 1);
	}
	assert_int_equal(ack_fds(lab, VU_SET_LOG_FD, NULL, 0, &lab->memfd, 1), 1);
	assert_int_equal(ack_fds(lab, VU_SET_LOG_FD, NULL, 0, &pair[0], 1), 1);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &lab->memfd, 1), 1);
	close(pair[0]);
	close(pair[1]);
	lab_free(lab);
}

static void the_same_set_up_a_hundred_times_leaks_nothing(void **state)
{
	struct lab *lab = lab_new();
	int fds, pair[2];

	ready(lab);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1), 0);
	fds = count_fds();
	for (int i = 0; i < 100; i++) {
		share_memory(lab);
		ring(lab, 0);
		assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1), 0);
	}
	assert_int_equal(count_fds(), fds);
	close(pair[0]);
	close(pair[1]);
	lab_free(lab);
}

static void broken_ring_closes_the_session_and_the_next_one_is_clean(void **state)
{
	struct lab *lab = lab_new();
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct split_avail *avail;
	struct vireo_chain chain;

	ready(lab);
	avail = (void *)(lab->memory + 0x1000);
	((struct split_desc *)(void *)lab->memory)->addr = GPA;
	((struct split_desc *)(void *)lab->memory)->len = 16;
	avail->idx = 1;
	assert_int_equal(vireo_queue_pop(lab->type.running[0], &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)), 1);
	vireo_queue_push(lab->type.running[0], &chain, 0);
	vireo_queue_flush(lab->type.running[0]);
	avail->idx = SIZE + 2;
	assert_int_equal(vireo_queue_pop(lab->type.running[0], &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)),
			 -EPROTO);
	assert_int_equal(lab->type.disconnected, 0);
	assert_true(hung_up(lab));
	assert_int_equal(lab->type.disconnected, 1);
	front_close(lab);
	ready(lab);
	assert_false(hung_up(lab));
	lab_free(lab);
}

static void ring_outside_memory_stands_still(void **state)
{
	struct lab *lab = lab_new();
	struct addr_message addr = ring_addr(0);

	ready(lab);
	addr.used = UADDR + MEMORY_BYTES;
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	assert_null(lab->type.running[0]);
	assert_false(hung_up(lab));
	assert_non_null(strstr(lab->log, "queue 0 stands still until it is set up or enabled again: the ring's addresses are not"));
	addr = ring_addr(0);
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_of_the_wrong_size_closes_the_session),
		cmocka_unit_test(payload_size_of_four_gigabytes_closes_the_session),
		cmocka_unit_test(unknown_messages_close_the_session),
		cmocka_unit_test(messages_of_other_devices_and_byte_orders_are_refused_with_their_reason),
		cmocka_unit_test(wrong_version_and_reply_flag_close_the_session),
		cmocka_unit_test(message_behind_a_gate_closes_the_session),
		cmocka_unit_test(wrong_number_of_fds_closes_the_session),
		cmocka_unit_test(region_count_that_lies_closes_the_session),
		cmocka_unit_test(fds_with_every_byte_are_not_collected_without_end),
		cmocka_unit_test(end_in_the_middle_of_a_message_leaves_no_fd),
		cmocka_unit_test(refusal_is_answered_and_the_session_goes_on),
		cmocka_unit_test(refusal_that_nobody_waits_for_closes_the_session),
		cmocka_unit_test(notifier_that_is_no_notifier_is_refused_and_closed),
		cmocka_unit_test(the_same_set_up_a_hundred_times_leaks_nothing),
		cmocka_unit_test(broken_ring_closes_the_session_and_the_next_one_is_clean),
		cmocka_unit_test(ring_outside_memory_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
