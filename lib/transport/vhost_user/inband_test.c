/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include "ring/ring.h"
#include <sys/syscall.h>

/* Kicks, calls and errors as messages (vhost-user: "In-band notifications"), and front ends that lie about them. */

#define P_INBAND P(INBAND_NOTIFICATIONS)
#define F_PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define ANSWER_BYTES 20u

/* What reads the answers: at once, or when the test says so, as if the peer held the channel until then. */
static struct {
	bool waits;
	void (*work)(void *argument);
	void *argument;
} helper;

static int run(void *opaque, void (*work)(void *argument), void *argument)
{
	if (!helper.waits) {
		work(argument);
		return 0;
	}
	if (helper.work)
		return -EAGAIN;
	helper.work = work;
	helper.argument = argument;
	return 0;
}

static void helper_goes_on(void)
{
	void (*work)(void *argument) = helper.work;

	assert_non_null(work);
	helper.waits = false;
	helper.work = NULL;
	work(helper.argument);
}

struct front {
	struct lab *lab;
	int channel; /* the front end's end */
	bool packed;
	uint16_t avail;
};

static struct vireo_endpoint_config config_of(uint64_t inband)
{
	return (struct vireo_endpoint_config){ .size = sizeof(struct vireo_endpoint_config), .close_aside = run,
					       .vhost_user.inband = inband };
}

static struct lab *inband_lab(void)
{
	struct vireo_endpoint_config config = config_of(1);
	struct lab *lab = lab_make(&ops);

	memset(&helper, 0, sizeof(helper));
	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, &config, &lab->endpoint), 0);
	return lab;
}

static void channel_new(struct front *f)
{
	int pair[2];

	fd_close(&f->channel);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(f->lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	f->channel = pair[0];
}

/* Negotiated, with a channel and memory; no ring runs. */
static struct front front_new(bool packed)
{
	struct front f = { .lab = inband_lab(), .channel = -1, .packed = packed };
	struct lab *lab = f.lab;

	dial(lab);
	assert_int_equal(ask_u64(lab, VU_GET_PROTOCOL_FEATURES), P_OFFERED | P_INBAND);
	assert_int_equal(ack_u64(lab, VU_SET_PROTOCOL_FEATURES, P_ALL | P_INBAND), 0);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1 | (packed ? F_PACKED : 0));
	channel_new(&f);
	share_memory(lab);
	return f;
}

static void front_free(struct front *f)
{
	fd_close(&f->channel);
	lab_free(f->lab);
}

/* All but notifiers. */
static void ring_without_fds(struct front *f, uint32_t index)
{
	struct addr_message addr = ring_addr(index);

	say_pair(f->lab, VU_SET_VRING_NUM, index, SIZE);
	say_pair(f->lab, VU_SET_VRING_BASE, index, f->packed ? RING_BASE_PACKED_NEW : 0);
	say(f->lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	say_pair(f->lab, VU_SET_VRING_ENABLE, index, 1);
}

/* The next message on the channel, and its ring; 0: none. */
static uint32_t told(struct front *f, uint32_t *ret_index)
{
	struct packet p;
	uint32_t state[2];

	pump(f->lab);
	if (recv(f->channel, &p, 12, MSG_DONTWAIT) != 12)
		return 0;
	assert_int_equal(p.flags, VU_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(p.size, sizeof(state));
	assert_int_equal(recv(f->channel, state, sizeof(state), MSG_DONTWAIT), sizeof(state));
	assert_int_equal(state[1], 0);
	*ret_index = state[0];
	return p.request;
}

static void assert_told(struct front *f, uint32_t request, uint32_t index)
{
	uint32_t found = UINT32_MAX;

	assert_int_equal(told(f, &found), request);
	assert_int_equal(found, index);
}

static void assert_silent(struct front *f)
{
	uint32_t index;

	assert_int_equal(told(f, &index), 0);
}

static void answer_as(struct front *f, uint32_t request, uint32_t flags, uint32_t size, unsigned bytes)
{
	struct packet p = { .request = request, .flags = flags, .size = size };

	assert_int_equal(send_raw(f->channel, &p, bytes, NULL, 0), bytes);
	pump(f->lab);
}

static void answer(struct front *f, uint32_t request)
{
	answer_as(f, request, VU_VERSION | VU_FLAG_REPLY, 8, ANSWER_BYTES);
}

/* A ring that was started by a kick, with what it signals when it starts. */
static struct front running(bool packed)
{
	struct front f = front_new(packed);

	ring_without_fds(&f, 0);
	assert_null(f.lab->type.running[0]);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	assert_non_null(f.lab->type.running[0]);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_silent(&f);
	return f;
}

static void offer(struct front *f)
{
	struct split_desc *descs = (void *)f->lab->memory;
	struct packed_desc *packed = (void *)f->lab->memory;
	struct split_avail *avail = (void *)(f->lab->memory + 0x1000);
	uint16_t pos = f->avail++ % SIZE;

	if (f->packed) {
		packed[pos] = (struct packed_desc){ .addr = GPA + 0xf0000, .len = 16, .id = pos,
						    .flags = f->avail <= SIZE ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK };
		return;
	}
	descs[pos] = (struct split_desc){ .addr = GPA + 0xf0000, .len = 16 };
	avail->ring[pos] = pos;
	avail->idx = f->avail;
}

/* The worker's half, which knows eventfds alone. True: it was kicked, and has signalled. */
static bool serve(struct front *f)
{
	struct vireo_queue *queue = f->lab->type.running[0];
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[SIZE];
	int count = vireo_queue_pop(queue, chains, SIZE, iov, ARRAY_SIZE(iov));

	assert_true(count >= 0);
	vireo_queue_push_burst(queue, chains, NULL, (unsigned)count);
	vireo_queue_flush(queue);
	return count;
}

static bool kicked(struct front *f)
{
	return poll(&(struct pollfd){ .fd = vireo_queue_kick_fd(f->lab->type.running[0]), .events = POLLIN }, 1, 0) == 1;
}

static void kicks_and_calls_are_messages(bool packed)
{
	struct front f = running(packed);

	for (unsigned i = 0; i < SIZE + 3; i++) {
		offer(&f);
		if (kicked(&f))
			fd_event_clear(vireo_queue_kick_fd(f.lab->type.running[0]));
		assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
		assert_true(kicked(&f));
		assert_true(serve(&f));
		assert_told(&f, VU_BACKEND_VRING_CALL, 0);
		answer(&f, VU_BACKEND_VRING_CALL);
		assert_silent(&f);
	}
	assert_int_equal(f.lab->type.stopped[0], 0);
	front_free(&f);
}

static void kicks_and_calls_are_messages_split(void **state)
{
	kicks_and_calls_are_messages(false);
}

static void kicks_and_calls_are_messages_packed(void **state)
{
	kicks_and_calls_are_messages(true);
}

/* However much is raised meanwhile: the channel does not fill up. */
static void next_call_waits_for_the_answer_to_the_last(void **state)
{
	struct front f = running(false);

	for (unsigned i = 0; i < SIZE; i++) {
		offer(&f);
		assert_true(serve(&f));
		pump(f.lab);
	}
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_silent(&f);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

static struct front *worker; /* serves once more at the moment when a call has been sent, and before anything else */

/* The device's: in place of the C library's. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n = syscall(SYS_sendmsg, fd, msg, flags);
	struct front *f = worker;

	if (f && msg->msg_iovlen == 2 && *(const uint32_t *)msg->msg_iov[0].iov_base == VU_BACKEND_VRING_CALL) {
		worker = NULL;
		offer(f);
		serve(f);
	}
	return n;
}

/* The front end may have looked at the ring by then, and found nothing more. */
static void what_is_signalled_while_a_call_is_sent_is_told_by_the_next(void **state)
{
	struct front f = running(false);

	worker = &f;
	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_null(worker);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_silent(&f);
	front_free(&f);
}

static void answer_in_pieces_is_one(void **state)
{
	struct front f = running(false);
	const struct packet p = { .request = VU_BACKEND_VRING_CALL, .flags = VU_VERSION | VU_FLAG_REPLY, .size = 8 };

	for (unsigned i = 0; i < 3; i++) {
		offer(&f);
		assert_true(serve(&f));
		pump(f.lab);
	}
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	for (unsigned i = 0; i < ANSWER_BYTES; i++) {
		assert_silent(&f);
		assert_int_equal(send_raw(f.channel, (const uint8_t *)&p + i, 1, NULL, 0), 1);
	}
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

static void answer_that_is_no_is_taken_note_of(void **state)
{
	struct front f = running(false);
	struct packet p = { .request = VU_BACKEND_VRING_CALL, .flags = VU_VERSION | VU_FLAG_REPLY, .size = 8, .payload = { 1 } };

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_int_equal(send_raw(f.channel, &p, ANSWER_BYTES, NULL, 0), ANSWER_BYTES);
	pump(f.lab);
	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

/* vhost-user: "the back-end should close the connection". */
static void messages_need_a_channel_and_answers(void **state)
{
	const uint64_t without[] = { P_INBAND, P_INBAND | P(BACKEND_REQ), P_INBAND | P(REPLY_ACK) };

	for (unsigned i = 0; i < ARRAY_SIZE(without); i++) {
		struct lab *lab = inband_lab();

		dial(lab);
		say_u64(lab, VU_SET_PROTOCOL_FEATURES, without[i]);
		assert_true(hung_up(lab));
		lab_free(lab);
	}
}

static void messages_are_not_taken_back(void **state)
{
	struct front f = running(false);

	say_u64(f.lab, VU_SET_PROTOCOL_FEATURES, P_ALL | P_INBAND);
	assert_false(hung_up(f.lab));
	say_u64(f.lab, VU_SET_PROTOCOL_FEATURES, P_ALL);
	assert_true(hung_up(f.lab));
	front_free(&f);
}

static void messages_are_offered_where_the_program_says_so(void **state)
{
	struct vireo_endpoint_config config = config_of(2), alone = config_of(1);
	struct lab *lab = lab_new();
	struct vireo_endpoint *other;

	assert_int_equal(vireo_endpoint_open(lab->device, "vhost-user:/tmp/none/s", &config, &other), -EINVAL);
	alone.close_aside = NULL;
	assert_int_equal(vireo_endpoint_open(lab->device, "vhost-user:/tmp/none/s", &alone, &other), -EINVAL);
	ready(lab);
	say_pair(lab, VU_VRING_KICK, 0, 0);
	assert_true(hung_up(lab));
	lab_free(lab);
}

static void what_the_front_end_names_has_precedence(void **state)
{
	struct front f = front_new(false);
	const uint64_t polled = 1 | 0x100;

	ring(f.lab, 0);
	assert_non_null(f.lab->type.running[0]);
	assert_int_equal(poll(&(struct pollfd){ .fd = f.lab->call, .events = POLLIN }, 1, 0), 1);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = f.lab->kick, .events = POLLIN }, 1, 0), 0);
	ring_without_fds(&f, 1);
	say_u64(f.lab, VU_SET_VRING_CALL, polled);
	say_u64(f.lab, VU_SET_VRING_KICK, polled);
	assert_non_null(f.lab->type.running[1]);
	assert_int_equal(vireo_queue_kick_fd(f.lab->type.running[1]), -1);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 1, 0), 0);
	assert_silent(&f);
	front_free(&f);
}

/* Also where its own messages have begun. */
static void call_fd_takes_the_place_of_messages(void **state)
{
	struct front f = running(false);
	uint64_t index = 0;

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	f.lab->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(ack_fds(f.lab, VU_SET_VRING_CALL, &index, 8, &f.lab->call, 1), 0);
	answer(&f, VU_BACKEND_VRING_CALL);
	fd_event_clear(f.lab->call);
	offer(&f);
	assert_true(serve(&f));
	assert_silent(&f);
	assert_int_equal(poll(&(struct pollfd){ .fd = f.lab->call, .events = POLLIN }, 1, 0), 1);
	front_free(&f);
}

static void ring_that_has_a_kick_fd_and_no_call_fd_calls_by_messages(void **state)
{
	struct front f = front_new(false);

	ring_without_fds(&f, 0);
	kick_set(f.lab, 0);
	assert_non_null(f.lab->type.running[0]);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

static void kick_that_makes_no_sense(void **state)
{
	struct front f = running(false);

	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, QUEUES + ABSENT, 0), 1);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, UINT32_MAX, 0), 1);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0x10000, 0), 1);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, QUEUES, 0), 0); /* one that is spoken of, and not there */
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	say_pair(f.lab, VU_VRING_KICK, 0, 1); /* reserved */
	assert_true(hung_up(f.lab));
	front_free(&f);
}

/* One that carries something is the driver's, and the device is broken. */
static void error_is_a_message_and_comes_before_the_end(void **state)
{
	struct front f = running(false);
	struct split_avail *avail = (void *)(f.lab->memory + 0x1000);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	answer(&f, VU_BACKEND_VRING_CALL);
	avail->idx += 1000;
	assert_true(vireo_queue_pop(f.lab->type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)) < 0);
	assert_true(hung_up(f.lab));
	assert_told(&f, VU_BACKEND_VRING_ERR, 0);
	front_free(&f);
}

static void error_of_a_ring_that_halts_is_a_message(void **state)
{
	struct front f = running(false);
	struct split_avail *avail = (void *)(f.lab->memory + 0x1000);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	avail->idx = 1000;
	assert_true(vireo_queue_pop(f.lab->type.running[0], &chain, 1, iov, ARRAY_SIZE(iov)) < 0);
	assert_told(&f, VU_BACKEND_VRING_ERR, 0);
	answer(&f, VU_BACKEND_VRING_ERR);
	assert_null(f.lab->type.running[0]);
	assert_false(hung_up(f.lab));
	front_free(&f);
}

/* What was raised before the stop is told before its answer, and then there is silence. */
static void stopped_ring_has_told_and_says_nothing(void **state)
{
	struct front f = running(false);
	uint32_t words[2];

	offer(&f);
	assert_true(serve(&f));
	say_pair(f.lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(f.lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	assert_int_equal(words[1], 1);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_silent(&f);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_silent(&f);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	assert_non_null(f.lab->type.running[0]);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

static void call_that_was_not_answered_is_not_told_of_a_stopped_ring(void **state)
{
	struct front f = running(false);
	uint32_t words[2];

	for (unsigned i = 0; i < 2; i++) {
		offer(&f);
		assert_true(serve(&f));
		pump(f.lab);
	}
	say_pair(f.lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(f.lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_silent(&f);
	front_free(&f);
}

static void ring_of_a_device_that_was_reset_starts_by_its_first_kick(void **state)
{
	struct front f = running(false);

	say(f.lab, VU_RESET_DEVICE, NULL, 0);
	assert_null(f.lab->type.running[0]);
	memset(f.lab->memory, 0, MEMORY_BYTES);
	say_u64(f.lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	ring_without_fds(&f, 0);
	assert_null(f.lab->type.running[0]);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	assert_non_null(f.lab->type.running[0]);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

/* The one before is not read from any more, and what was told there is told again. */
static void another_channel_takes_over(void **state)
{
	struct front f = running(false);
	int before;

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	before = fd_take(&f.channel);
	channel_new(&f);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_int_equal(send(before, "lies", 4, MSG_NOSIGNAL | MSG_DONTWAIT), -1);
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_false(hung_up(f.lab));
	close(before);
	front_free(&f);
}

static void channel_that_is_closed_ends_no_session(void **state)
{
	struct front f = running(false);

	fd_close(&f.channel);
	pump(f.lab);
	offer(&f);
	assert_true(serve(&f));
	assert_false(hung_up(f.lab));
	channel_new(&f);
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	front_free(&f);
}

/* Room comes back, and what could not be told is. */
static void channel_that_is_full_is_tried_again(void **state)
{
	struct front f = running(false);
	uint8_t config[12];
	int bytes = 1, told_at_last = 0;

	assert_int_equal(setsockopt(f.channel, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	for (unsigned i = 0; i < 10000; i++) {
		assert_int_equal(vireo_device_config_set(f.lab->device, 0, "abcd", 4), 0);
		pump(f.lab);
	}
	offer(&f);
	assert_true(serve(&f));
	pump(f.lab);
	while (recv(f.channel, config, sizeof(config), MSG_DONTWAIT) == sizeof(config))
		assert_int_equal(config[0], VU_BACKEND_CONFIG_CHANGE_MSG);
	for (unsigned i = 0; i < 2000 && !told_at_last; i++) {
		pump_wait(f.lab, 10);
		while (recv(f.channel, config, sizeof(config), MSG_DONTWAIT) == sizeof(config))
			told_at_last |= config[0] == VU_BACKEND_VRING_CALL;
	}
	assert_true(told_at_last);
	front_free(&f);
}

/* ---- lies ---- */

static void answer_that_lies(uint32_t request, uint32_t flags, uint32_t size)
{
	struct front f = running(false);

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	answer_as(&f, request, flags, size, ANSWER_BYTES);
	assert_true(hung_up(f.lab));
	assert_non_null(strstr(f.lab->log, "session closed"));
	front_free(&f);
}

static void answers_that_lie_end_the_session(void **state)
{
	answer_that_lies(VU_BACKEND_VRING_ERR, VU_VERSION | VU_FLAG_REPLY, 8);
	answer_that_lies(99, VU_VERSION | VU_FLAG_REPLY, 8);
	answer_that_lies(VU_BACKEND_VRING_CALL, VU_VERSION, 8);
	answer_that_lies(VU_BACKEND_VRING_CALL, 2 | VU_FLAG_REPLY, 8);
	answer_that_lies(VU_BACKEND_VRING_CALL, VU_VERSION | VU_FLAG_REPLY, 0);
	answer_that_lies(VU_BACKEND_VRING_CALL, VU_VERSION | VU_FLAG_REPLY, 9);
	answer_that_lies(VU_BACKEND_VRING_CALL, VU_VERSION | VU_FLAG_REPLY, UINT32_MAX);
}

static void answer_to_nothing_ends_the_session(void **state)
{
	struct front f = running(false);

	answer(&f, VU_BACKEND_VRING_CALL);
	assert_true(hung_up(f.lab));
	front_free(&f);
}

static void answers_by_the_hundred_end_the_session(void **state)
{
	struct front f = running(false);
	struct packet p = { .request = VU_BACKEND_VRING_CALL, .flags = VU_VERSION | VU_FLAG_REPLY, .size = 8 };

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(send_raw(f.channel, &p, ANSWER_BYTES, NULL, 0), ANSWER_BYTES);
	assert_true(hung_up(f.lab));
	front_free(&f);
}

static void answer_that_carries_fds_ends_the_session(void **state)
{
	struct front f = running(false);
	struct packet p = { .request = VU_BACKEND_VRING_CALL, .flags = VU_VERSION | VU_FLAG_REPLY, .size = 8 };
	const int fds[] = { f.lab->memfd, f.lab->memfd };

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	assert_int_equal(send_raw(f.channel, &p, ANSWER_BYTES, fds, ARRAY_SIZE(fds)), ANSWER_BYTES);
	assert_true(hung_up(f.lab));
	front_free(&f);
}

/* It is read from where nobody waits: messages are answered, and the session ends, while that hangs. */
static void peer_that_holds_its_channel_holds_nobody_up(void **state)
{
	struct front f = running(false);

	offer(&f);
	assert_true(serve(&f));
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	helper.waits = true;
	answer(&f, VU_BACKEND_VRING_CALL);
	assert_non_null(helper.work);
	offer(&f);
	assert_int_equal(ack_pair(f.lab, VU_VRING_KICK, 0, 0), 0);
	assert_true(serve(&f));
	assert_silent(&f);
	helper_goes_on();
	assert_told(&f, VU_BACKEND_VRING_CALL, 0);
	helper.waits = true;
	answer(&f, VU_BACKEND_VRING_CALL);
	fd_close(&f.lab->fd);
	pump(f.lab);
	assert_int_equal(f.lab->type.disconnected, 1);
	helper_goes_on();
	front_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kicks_and_calls_are_messages_split),
		cmocka_unit_test(kicks_and_calls_are_messages_packed),
		cmocka_unit_test(next_call_waits_for_the_answer_to_the_last),
		cmocka_unit_test(what_is_signalled_while_a_call_is_sent_is_told_by_the_next),
		cmocka_unit_test(answer_in_pieces_is_one),
		cmocka_unit_test(answer_that_is_no_is_taken_note_of),
		cmocka_unit_test(messages_need_a_channel_and_answers),
		cmocka_unit_test(messages_are_not_taken_back),
		cmocka_unit_test(messages_are_offered_where_the_program_says_so),
		cmocka_unit_test(what_the_front_end_names_has_precedence),
		cmocka_unit_test(call_fd_takes_the_place_of_messages),
		cmocka_unit_test(ring_that_has_a_kick_fd_and_no_call_fd_calls_by_messages),
		cmocka_unit_test(kick_that_makes_no_sense),
		cmocka_unit_test(error_is_a_message_and_comes_before_the_end),
		cmocka_unit_test(error_of_a_ring_that_halts_is_a_message),
		cmocka_unit_test(stopped_ring_has_told_and_says_nothing),
		cmocka_unit_test(call_that_was_not_answered_is_not_told_of_a_stopped_ring),
		cmocka_unit_test(ring_of_a_device_that_was_reset_starts_by_its_first_kick),
		cmocka_unit_test(another_channel_takes_over),
		cmocka_unit_test(channel_that_is_closed_ends_no_session),
		cmocka_unit_test(channel_that_is_full_is_tried_again),
		cmocka_unit_test(answers_that_lie_end_the_session),
		cmocka_unit_test(answer_to_nothing_ends_the_session),
		cmocka_unit_test(answers_by_the_hundred_end_the_session),
		cmocka_unit_test(answer_that_carries_fds_ends_the_session),
		cmocka_unit_test(peer_that_holds_its_channel_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
