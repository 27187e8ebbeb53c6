/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include "device/device.h"

/* What an honest front end sees, in whatever portions its bytes come, and however long queues take. */

static void what_is_offered(void **state)
{
	struct lab *lab = lab_new();

	dial(lab);
	assert_int_equal(ask_u64(lab, VU_GET_FEATURES), VIREO_FEATURE(4) | VIREO_FEATURE(5) |
								VIREO_FEATURE(6) | F_PROTOCOL | F_VERSION_1 | VU_FEATURE_LOG_ALL |
								VIREO_FEATURE(VIREO_F_RING_PACKED_BIT));
	assert_int_equal(ask_u64(lab, VU_GET_PROTOCOL_FEATURES), P_OFFERED);
	say_u64(lab, VU_SET_PROTOCOL_FEATURES, P_ALL);
	assert_int_equal(ask_u64(lab, VU_GET_QUEUE_NUM), 2);
	assert_int_equal(ask_u64(lab, VU_GET_MAX_MEM_SLOTS), 509);
	lab_free(lab);
}

static void device_without_net_or_config_offers_neither(void **state)
{
	struct lab *lab = lab_make(&bare_ops);

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, NULL, &lab->endpoint), 0);
	dial(lab);
	assert_int_equal(ask_u64(lab, VU_GET_PROTOCOL_FEATURES), P_OFFERED & ~(P(RARP) | P(MTU) | P(CONFIG)));
	lab_free(lab);
}

/* The guest's driver has seen FEATURES_OK by then: whoever is hung up on comes back and says the same. */
static void feature_without_what_it_needs_leaves_the_session_alone(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | VIREO_FEATURE(6)), 0);
	assert_int_equal(vireo_device_features(lab->device), F_VERSION_1);
	share_memory(lab);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	assert_non_null(strstr(lab->log, "SIX without FOUR"));
	lab_free(lab);
}

static void ring_starts_with_its_kick_fd_and_stops_with_get_vring_base(void **state)
{
	struct lab *lab = lab_new();
	uint32_t reply[2] = { 9, 9 };

	ready(lab);
	assert_int_equal(vireo_queue_size(lab->type.running[0]), SIZE);
	assert_true(vireo_queue_enabled(lab->type.running[0]));
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	assert_int_equal(reply[0], 0);
	assert_int_equal(reply[1], 0);
	assert_null(lab->type.running[0]);
	say_pair(lab, VU_SET_VRING_ENABLE, 0, 1);
	assert_null(lab->type.running[0]);
	kick_set(lab, 0);
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

/* A front end that counts pairs where we have told of rings: QEMU tells of all it has, and enables what its guest uses. */
static void ring_that_is_not_there_may_be_set_up_and_not_enabled(void **state)
{
	struct lab *lab = lab_new();
	uint32_t words[2];

	for (uint32_t i = QUEUES; i < QUEUES + ABSENT; i++) {
		struct addr_message addr = ring_addr(0);
		uint64_t value = i;

		addr.index = i;
		ready(lab);
		say_pair(lab, VU_SET_VRING_NUM, i, SIZE);
		say_pair(lab, VU_SET_VRING_BASE, i, 0);
		say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
		say_fds(lab, VU_SET_VRING_CALL, 0, &value, 8, &lab->call, 1);
		say_fds(lab, VU_SET_VRING_ERR, 0, &value, 8, &lab->call, 1);
		kick_set(lab, i);
		say_pair(lab, VU_SET_VRING_ENABLE, i, 0);
		say_pair(lab, VU_GET_VRING_BASE, i, 0);
		assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, 8), 8);
		assert_int_equal(words[0], i);
		assert_non_null(lab->type.running[0]);
		say_pair(lab, VU_SET_VRING_ENABLE, i, 1);
		assert_true(hung_up(lab));
		assert_non_null(strstr(lab->log, "more queues than this device has"));
		*lab->log = '\0';
	}
	lab_free(lab);
}

static void stopping_a_ring_that_never_started_is_answered(void **state)
{
	struct lab *lab = lab_new();
	uint32_t reply[2] = { 0 };

	negotiate(lab, P_ALL);
	say_pair(lab, VU_GET_VRING_BASE, 1, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	assert_int_equal(reply[0], 1);
	assert_int_equal(reply[1], 0);
	lab_free(lab);
}

static void polled_ring_has_no_fds(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	say_u64(lab, VU_SET_VRING_KICK, 0x100);
	say_u64(lab, VU_SET_VRING_CALL, 0x100);
	say_u64(lab, VU_SET_VRING_ERR, 0x100);
	assert_non_null(lab->type.running[0]);
	assert_int_equal(vireo_queue_kick_fd(lab->type.running[0]), -1);
	lab_free(lab);
}

static void rings_are_enabled_at_once_without_protocol_features(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	assert_false(vireo_queue_enabled(vireo_device_queue(lab->device, 1)));
	say_u64(lab, VU_SET_FEATURES, F_VERSION_1);
	assert_true(vireo_queue_enabled(vireo_device_queue(lab->device, 1)));
	lab_free(lab);
}

static void reset_owner_disables_rings_and_keeps_them(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	say(lab, VU_RESET_OWNER, NULL, 0);
	assert_non_null(lab->type.running[0]);
	assert_false(vireo_queue_enabled(lab->type.running[0]));
	lab_free(lab);
}

static void status_gates_a_ring_that_is_not_enabled(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	share_memory(lab);
	say_u64(lab, VU_SET_STATUS,
		VIREO_STATUS_ACKNOWLEDGE | VIREO_STATUS_DRIVER | VIREO_STATUS_FEATURES_OK);
	ring(lab, 0);
	/* enabled by name: QEMU 7.2 never sends DRIVER_OK for some types */
	assert_non_null(lab->type.running[0]);
	say_pair(lab, VU_SET_VRING_NUM, 1, SIZE);
	say(lab, VU_SET_VRING_ADDR,
	    &(struct addr_message){ .index = 1, .desc = UADDR, .used = UADDR, .avail = UADDR }, 40);
	kick_set(lab, 1);
	assert_null(lab->type.running[1]);
	say_u64(lab, VU_SET_STATUS, 15);
	assert_non_null(lab->type.running[1]);
	assert_int_equal(ask_u64(lab, VU_GET_STATUS), 15);
	lab_free(lab);
}

static void status_zero_and_reset_device_reset_and_keep_memory(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	say_u64(lab, VU_SET_STATUS, 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(lab->type.resets, 1);
	assert_int_equal(ask_u64(lab, VU_GET_STATUS), 0);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	ring(lab, 0); /* without a new memory table */
	assert_non_null(lab->type.running[0]);
	say(lab, VU_RESET_DEVICE, NULL, 0);
	assert_int_equal(lab->type.resets, 2);
	assert_null(lab->type.running[0]);
	assert_false(hung_up(lab));
	lab_free(lab);
}

static void memory_is_swapped_under_a_ring_that_goes_on(void **state)
{
	struct lab *lab = lab_new();
	static const uint64_t second[5] = { 0, GPA << 8, 4096, UADDR << 1, 0 };
	static const uint64_t other[5] = { 0, GPA << 8, 4096, UADDR << 2, 4096 };

	ready(lab);
	for (int i = 0; i < 3; i++)
		share_memory(lab);
	assert_int_equal(type_total(lab->type.stopped), type_total(lab->type.started) - 1);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, second, 40, &lab->memfd, 1), 0);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, second, 40, &lab->memfd, 1), 0); /* once per queue pair */
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, other, 40, &lab->memfd, 1), 1); /* overlaps the second */
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

static void regions_come_and_go_one_by_one(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	make_memory(lab);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, region_message, 40, &lab->memfd, 1), 0);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	/* QEMU may send the fd again: it is closed (count_fds() at the end). */
	assert_int_equal(ack_fds(lab, VU_REM_MEM_REG, region_message, 40, &lab->memfd, 1), 0);
	assert_null(lab->type.running[0]);
	assert_int_equal(ack(lab, VU_REM_MEM_REG, region_message, 40), 1);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, region_message, 40, &lab->memfd, 1), 0);
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

static void config_space_is_read_and_written(void **state)
{
	struct lab *lab = lab_new();
	uint8_t message[20] = { 0 }, reply[20];
	uint32_t words[3] = { 2, 4, 0 };

	negotiate(lab, P_ALL);
	memcpy(message, words, 12);
	say(lab, VU_GET_CONFIG, message, 16);
	assert_int_equal(hear(lab, VU_GET_CONFIG, reply, sizeof(reply)), 16);
	assert_memory_equal(reply + 12, "cdef", 4);
	words[0] = 8;
	memcpy(message, words, 12);
	say(lab, VU_GET_CONFIG, message, 16); /* beyond the end: an empty reply */
	assert_int_equal(hear(lab, VU_GET_CONFIG, reply, sizeof(reply)), 0);
	words[0] = 0;
	memcpy(message, words, 12);
	memcpy(message + 12, "WXYZ", 4);
	assert_int_equal(ack(lab, VU_SET_CONFIG, message, 16), 0);
	words[0] = 4;
	memcpy(message, words, 12);
	assert_int_equal(ack(lab, VU_SET_CONFIG, message, 16), 1); /* read-only */
	words[0] = 0;
	memcpy(message, words, 12);
	say(lab, VU_GET_CONFIG, message, 16);
	assert_int_equal(hear(lab, VU_GET_CONFIG, reply, sizeof(reply)), 16);
	assert_memory_equal(reply + 12, "WXYZ", 4);
	lab_free(lab);
}

/* Front ends ask for the config space of the newest specification that they know. */
static void config_space_that_the_device_does_not_have_reads_as_zeroes(void **state)
{
	static const uint32_t asked[][2] = { { 0, 9 }, { 0, 20 }, { 0, 24 }, { 0, 60 }, { 0, 256 }, { 6, 4 }, { 7, 249 } };
	uint8_t message[12 + 256] = { 0 }, reply[12 + 256];
	static const uint8_t zeroes[256];
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		uint32_t offset = asked[i][0], bytes = asked[i][1], have = 8 - offset;
		const uint32_t words[3] = { offset, bytes, 0 };

		memcpy(message, words, 12);
		say(lab, VU_GET_CONFIG, message, 12 + bytes);
		assert_int_equal(hear(lab, VU_GET_CONFIG, reply, sizeof(reply)), 12 + bytes);
		assert_memory_equal(reply, words, 12);
		assert_memory_equal(reply + 12, &"abcdefgh"[offset], have);
		assert_memory_equal(reply + 12 + have, zeroes, bytes - have);
	}
	lab_free(lab);
}

static void config_change_is_told_while_a_ring_runs(void **state)
{
	struct lab *lab = lab_new();
	uint32_t words[3] = { 0 };
	int pair[2];

	negotiate(lab, P_ALL);
	assert_false(device_config_told(lab->device)); /* it has no channel yet */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	assert_true(device_config_told(lab->device));
	assert_int_equal(vireo_device_config_set(lab->device, 0, "Q", 1), 0);
	assert_int_equal(recv(pair[0], words, sizeof(words), MSG_DONTWAIT), -1); /* suspended */
	share_memory(lab);
	ring(lab, 0);
	assert_int_equal(recv(pair[0], words, sizeof(words), MSG_DONTWAIT), 12);
	assert_int_equal(words[0], VU_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(words[1], VU_VERSION);
	assert_int_equal(words[2], 0);
	for (int i = 0; i < 100000; i++) /* nobody reads: never blocks */
		assert_int_equal(vireo_device_config_set(lab->device, 0, "Q", 1), 0);
	close(pair[0]);
	assert_int_equal(vireo_device_config_set(lab->device, 0, "Q", 1), 0); /* no SIGPIPE */
	lab_free(lab);
}

static void announce_and_mtu_reach_the_device(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL);
	assert_int_equal(ack(lab, VU_SEND_RARP, "\1\2\3\4\5\6\0\0", 8), 0);
	assert_int_equal(lab->announced, 1);
	assert_memory_equal(lab->mac, "\1\2\3\4\5\6", 6);
	assert_int_equal(ack_u64(lab, VU_NET_SET_MTU, 1500), 0);
	assert_int_equal(lab->mtu, 1500);
	assert_int_equal(ack_u64(lab, VU_NET_SET_MTU, 67), 1);
	assert_int_equal(ack_u64(lab, VU_NET_SET_MTU, 65536 + 1500), 1);
	assert_int_equal(lab->mtu, 1500);
	lab_free(lab);
}

static void empty_control_message_is_no_fd(void **state)
{
	struct lab *lab = lab_new();
	int none;

	negotiate(lab, P_ALL);
	say_fds(lab, VU_GET_FEATURES, 0, NULL, 0, &none, 0);
	assert_true(hear_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

static void answer_is_not_given_unless_reply_ack_was_negotiated(void **state)
{
	struct lab *lab = lab_new();

	negotiate(lab, P_ALL & ~P(REPLY_ACK));
	say_fds(lab, VU_SET_OWNER, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

static void message_with_a_reply_of_its_own_gets_no_second_one(void **state)
{
	struct lab *lab = lab_new();
	char byte;

	negotiate(lab, P_ALL);
	say_fds(lab, VU_GET_FEATURES, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	hear_u64(lab, VU_GET_FEATURES);
	assert_int_equal(recv(lab->fd, &byte, 1, MSG_DONTWAIT), -1);
	lab_free(lab);
}

/* ---- bytes in any portion ---- */

static void session_byte_by_byte(void **state)
{
	struct lab *lab = lab_new();
	struct packet p = packet(VU_SET_MEM_TABLE, VU_FLAG_NEED_REPLY, &one_region, 40);

	negotiate(lab, P_ALL);
	make_memory(lab);
	for (unsigned i = 0; i < 52; i++) {
		assert_int_equal(send_raw(lab->fd, (uint8_t *)&p + i, 1, i ? NULL : &lab->memfd, 1), 1);
		pump(lab);
	}
	assert_int_equal(hear_u64(lab, VU_SET_MEM_TABLE), 0);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	lab_free(lab);
}

static void many_messages_in_one_write(void **state)
{
	struct lab *lab = lab_new();
	uint8_t bytes[200 * 12];

	negotiate(lab, P_ALL);
	for (int i = 0; i < 200; i++) {
		struct packet p = packet(VU_GET_STATUS, 0, NULL, 0);

		memcpy(bytes + 12 * i, &p, 12);
	}
	assert_int_equal(send_raw(lab->fd, bytes, sizeof(bytes), NULL, 0), sizeof(bytes));
	for (int i = 0; i < 200; i++) {
		pump(lab);
		assert_int_equal(hear_u64(lab, VU_GET_STATUS), 0);
	}
	lab_free(lab);
}

static void one_dispatch_handles_a_bounded_number_of_messages(void **state)
{
	struct lab *lab = lab_new();
	unsigned answered = 0;
	uint64_t value;

	negotiate(lab, P_ALL);
	for (int i = 0; i < 200; i++) {
		struct packet p = packet(VU_GET_STATUS, 0, NULL, 0);

		send_raw(lab->fd, &p, 12, NULL, 0);
	}
	vireo_endpoint_dispatch(lab->endpoint);
	while (hear(lab, VU_GET_STATUS, &value, 8) > 0)
		answered++;
	assert_true(answered > 0 && answered < 100);
	for (int i = 0; i < 10; i++) {
		pump(lab);
		while (hear(lab, VU_GET_STATUS, &value, 8) > 0)
			answered++;
	}
	assert_int_equal(answered, 200);
	lab_free(lab);
}

static void replies_that_nobody_reads_fill_the_peers_socket_only(void **state)
{
	struct lab *lab = lab_new();
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);
	unsigned sent = 0, answered = 0;
	uint64_t value;

	negotiate(lab, P_ALL);
	fcntl(lab->fd, F_SETFL, O_NONBLOCK);
	while (send_raw(lab->fd, &p, 12, NULL, 0) == 12) {
		sent++;
		pump(lab);
	}
	assert_true(sent > 100);
	for (int i = 0; i < 10000 && answered < sent; i++) {
		while (hear(lab, VU_GET_FEATURES, &value, 8) > 0)
			answered++;
		pump(lab);
	}
	assert_int_equal(answered, sent);
	lab_free(lab);
}

static void front_end_that_goes_without_reading_its_replies_is_let_go(void **state)
{
	struct lab *lab = lab_new();
	struct packet p = packet(VU_GET_FEATURES, 0, NULL, 0);

	ready(lab);
	fcntl(lab->fd, F_SETFL, O_NONBLOCK);
	while (send_raw(lab->fd, &p, 12, NULL, 0) == 12)
		pump(lab);
	assert_int_equal(lab->type.disconnected, 0); /* a reply has no room, and what follows is not read */
	front_close(lab);
	pump(lab);
	assert_int_equal(lab->type.disconnected, 1);
	assert_null(lab->type.running[0]);
	lab_free(lab);
}

/* ---- quiesce that takes its time ---- */

static void message_waits_until_the_queue_is_quiet(void **state)
{
	struct lab *lab = lab_new();
	uint32_t reply[2];

	ready(lab);
	lab->type.late = true;
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(type_total(lab->type.stopped), 1);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, reply, sizeof(reply)), -1);
	say(lab, VU_GET_STATUS, NULL, 0); /* waits in the socket */
	type_quiesced_all(&lab->type);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, reply, sizeof(reply)), 8);
	pump(lab);
	assert_int_equal(hear_u64(lab, VU_GET_STATUS), 0);
	lab_free(lab);
}

static void waiting_for_a_queue_does_not_spin_on_a_hung_up_peer(void **state)
{
	struct lab *lab = lab_new();
	struct pollfd poll_fd = { .events = POLLIN };

	ready(lab);
	lab->type.late = true;
	say_pair(lab, VU_SET_VRING_NUM, 0, SIZE);
	front_close(lab);
	poll_fd.fd = vireo_endpoint_fd(lab->endpoint);
	pump(lab);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_true(vireo_endpoint_connected(lab->endpoint));
	type_quiesced_all(&lab->type);
	pump(lab);
	type_quiesced_all(&lab->type); /* the ring ran again for a moment */
	assert_false(vireo_endpoint_connected(lab->endpoint));
	assert_int_equal(lab->type.disconnected, 1);
	lab_free(lab);
}

static void next_client_waits_until_the_last_queue_is_quiet(void **state)
{
	struct lab *lab = lab_new();
	int second;

	ready(lab);
	second = unix_dial(lab->path);
	pump(lab);
	assert_int_equal(lab->type.connected, 1);
	lab->type.late = true;
	front_close(lab);
	pump(lab);
	assert_int_equal(lab->type.connected, 1);
	type_quiesced_all(&lab->type);
	pump(lab);
	assert_int_equal(lab->type.connected, 2);
	assert_int_equal(lab->type.disconnected, 1);
	lab->fd = second;
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	lab_free(lab);
}

static void close_waits_for_queues_and_needs_no_dispatch(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->type.late = true;
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	lab->endpoint = NULL;
	assert_int_equal(lab->closed, 0);
	assert_int_equal(access(lab->path, F_OK), -1); /* the address is free at once */
	type_quiesced_all(&lab->type);
	assert_int_equal(lab->closed, 1);
	lab_free(lab);
}

static void close_while_a_message_waits_for_a_queue(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	ring(lab, 1);
	lab->type.late = true;
	say_pair(lab, VU_SET_VRING_NUM, 0, SIZE);
	vireo_endpoint_close(lab->endpoint, on_closed, lab);
	lab->endpoint = NULL;
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->closed, 0);
	type_quiesced_all(&lab->type);
	assert_int_equal(lab->closed, 1);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_offered),
		cmocka_unit_test(device_without_net_or_config_offers_neither),
		cmocka_unit_test(feature_without_what_it_needs_leaves_the_session_alone),
		cmocka_unit_test(ring_starts_with_its_kick_fd_and_stops_with_get_vring_base),
		cmocka_unit_test(ring_that_is_not_there_may_be_set_up_and_not_enabled),
		cmocka_unit_test(stopping_a_ring_that_never_started_is_answered),
		cmocka_unit_test(polled_ring_has_no_fds),
		cmocka_unit_test(rings_are_enabled_at_once_without_protocol_features),
		cmocka_unit_test(reset_owner_disables_rings_and_keeps_them),
		cmocka_unit_test(status_gates_a_ring_that_is_not_enabled),
		cmocka_unit_test(status_zero_and_reset_device_reset_and_keep_memory),
		cmocka_unit_test(memory_is_swapped_under_a_ring_that_goes_on),
		cmocka_unit_test(regions_come_and_go_one_by_one),
		cmocka_unit_test(config_space_is_read_and_written),
		cmocka_unit_test(config_space_that_the_device_does_not_have_reads_as_zeroes),
		cmocka_unit_test(config_change_is_told_while_a_ring_runs),
		cmocka_unit_test(announce_and_mtu_reach_the_device),
		cmocka_unit_test(empty_control_message_is_no_fd),
		cmocka_unit_test(answer_is_not_given_unless_reply_ack_was_negotiated),
		cmocka_unit_test(message_with_a_reply_of_its_own_gets_no_second_one),
		cmocka_unit_test(session_byte_by_byte),
		cmocka_unit_test(many_messages_in_one_write),
		cmocka_unit_test(one_dispatch_handles_a_bounded_number_of_messages),
		cmocka_unit_test(replies_that_nobody_reads_fill_the_peers_socket_only),
		cmocka_unit_test(front_end_that_goes_without_reading_its_replies_is_let_go),
		cmocka_unit_test(message_waits_until_the_queue_is_quiet),
		cmocka_unit_test(waiting_for_a_queue_does_not_spin_on_a_hung_up_peer),
		cmocka_unit_test(next_client_waits_until_the_last_queue_is_quiet),
		cmocka_unit_test(close_waits_for_queues_and_needs_no_dispatch),
		cmocka_unit_test(close_while_a_message_waits_for_a_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
