/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The front end against a back end that follows a script: what is sent and when, and what each way of failing
 * gives.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/fd.h"
#include "base/notifier.h"
#include "base/util.h"
#include "driver/virtio_user/front.h"
#include "vireo/device.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))
#define MESSAGES_MAX 256u
#define F_PROTOCOL BIT(VU_F_PROTOCOL_FEATURES_BIT)
#define F_VERSION_1 BIT(VIREO_F_VERSION_1_BIT)
#define PROTO_ALL                                                                             \
	(BIT(VU_PROTO_MQ_BIT) | BIT(VU_PROTO_REPLY_ACK_BIT) | BIT(VU_PROTO_BACKEND_REQ_BIT) | \
	 BIT(VU_PROTO_CONFIG_BIT) | BIT(VU_PROTO_CONFIGURE_MEM_SLOTS_BIT) | BIT(VU_PROTO_STATUS_BIT))

/* What a back end does when a message of this kind comes. */
struct script {
	uint64_t features, protocol_features;
	uint64_t queues, slots;
	uint32_t refuse; /* answers it with 1 */
	uint32_t hang_up; /* closes the connection */
	uint32_t ignore; /* never answers it */
	uint32_t nonsense; /* answers it as if it had been another one */
	unsigned pause_ms; /* before each answer */
	bool drops_features_ok, announces_change;
};

struct backend {
	struct script script;
	char path[200];
	int listener, peer, channel;
	pthread_t thread;
	uint8_t status;
	bool protocol_set;
	unsigned count;
	uint32_t requests[MESSAGES_MAX];
	uint64_t values[MESSAGES_MAX]; /* first 8 bytes of each payload */
	unsigned fd_counts[MESSAGES_MAX];
	char folder[64];
};

static void backend_reply(struct backend *b, uint32_t request, const void *payload, uint32_t bytes)
{
	uint8_t message[512];
	struct vu_header header = { .request = request,
				    .flags = VU_VERSION | VU_FLAG_REPLY,
				    .size_bytes = bytes };

	if (request == b->script.ignore)
		return;
	if (b->script.pause_ms)
		usleep(b->script.pause_ms * 1000);
	if (request == b->script.nonsense)
		header.request++;
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), payload, bytes);
	if (send(b->peer, message, sizeof(header) + bytes, MSG_NOSIGNAL) < 0)
		return;
}

/* A config change that wants an answer, which the front end gives while it waits for something else. */
static void channel_talk(struct backend *b)
{
	struct vu_header header = { .request = VU_BACKEND_CONFIG_CHANGE_MSG,
				    .flags = VU_VERSION | VU_FLAG_NEED_REPLY };
	uint8_t reply[20];

	if (send(b->channel, &header, sizeof(header), MSG_NOSIGNAL) != sizeof(header) ||
	    recv(b->channel, reply, sizeof(reply), MSG_WAITALL) != sizeof(reply) || reply[12])
		b->script.hang_up = VU_SET_FEATURES; /* cannot be: the test will see it */
}

static void backend_answer(struct backend *b, const struct vu_header *header, uint8_t *payload)
{
	uint64_t ok = header->request == b->script.refuse, status = b->status;

	switch (header->request) {
	case VU_GET_FEATURES:
		backend_reply(b, header->request, &b->script.features, 8);
		return;
	case VU_GET_PROTOCOL_FEATURES:
		backend_reply(b, header->request, &b->script.protocol_features, 8);
		return;
	case VU_GET_QUEUE_NUM:
		backend_reply(b, header->request, &b->script.queues, 8);
		return;
	case VU_GET_MAX_MEM_SLOTS:
		backend_reply(b, header->request, &b->script.slots, 8);
		return;
	case VU_GET_STATUS:
		backend_reply(b, header->request, &status, 8);
		return;
	case VU_GET_VRING_BASE:
		backend_reply(b, header->request, payload, 8);
		return;
	case VU_GET_CONFIG:
		memset(payload + VU_CONFIG_HEADER_BYTES, 0x5a, header->size_bytes - VU_CONFIG_HEADER_BYTES);
		backend_reply(b, header->request, payload,
			      header->request == b->script.refuse ? 0 : header->size_bytes);
		return;
	case VU_SET_STATUS:
		b->status = payload[0] &
			    (b->script.drops_features_ok ? (uint8_t)~VIREO_STATUS_FEATURES_OK : 0xff);
		break;
	}
	if (header->flags & VU_FLAG_NEED_REPLY)
		backend_reply(b, header->request, &ok, 8);
}

/* One message with its fds; false at the end. */
static bool backend_receive(struct backend *b)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)];
	uint8_t payload[VU_PAYLOAD_BYTES_MAX] = { 0 };
	struct vu_header header = { 0 };
	struct iovec iov = { .iov_base = &header, .iov_len = sizeof(header) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *cmsg;
	int fds[VU_FDS_MAX];
	unsigned fd_count = 0;

	if (recvmsg(b->peer, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof(header))
		return false;
	if (header.size_bytes &&
	    recv(b->peer, payload, header.size_bytes, MSG_WAITALL) != (int)header.size_bytes)
		return false;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg) {
		fd_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), fd_count * sizeof(int));
	}
	b->requests[b->count] = header.request;
	b->fd_counts[b->count] = fd_count;
	memcpy(&b->values[b->count], payload, 8);
	b->count++;
	if (header.request == VU_SET_BACKEND_REQ_FD && fd_count == 1)
		b->channel = fds[--fd_count];
	while (fd_count)
		close(fds[--fd_count]);
	if (b->script.announces_change && b->channel >= 0 && header.request == VU_SET_VRING_NUM)
		channel_talk(b);
	if (header.request == b->script.hang_up || b->count == MESSAGES_MAX)
		return false;
	backend_answer(b, &header, payload);
	return true;
}

static void *backend_main(void *opaque)
{
	struct backend *b = opaque;

	if (b->peer < 0)
		b->peer = accept(b->listener, NULL, NULL);
	while (b->peer >= 0 && backend_receive(b))
		;
	fd_close(&b->peer);
	fd_close(&b->channel);
	return NULL;
}

static void folder_new(struct backend *b, const char *name)
{
	snprintf(b->folder, sizeof(b->folder), "/tmp/vireo-front-test.XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	snprintf(b->path, sizeof(b->path), "%s/%s", b->folder, name);
}

static struct backend *backend_new(const struct script *script, const char *name)
{
	struct backend *b = calloc(1, sizeof(*b));
	struct sockaddr_un address;
	socklen_t length;
	int dir_fd;

	assert_non_null(b);
	b->script = *script;
	b->peer = b->channel = -1;
	folder_new(b, name);
	assert_int_equal(fd_unix_address(b->path, &address, &length, &dir_fd), 0);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b->listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(b->listener, 1), 0);
	fd_close(&dir_fd);
	assert_int_equal(pthread_create(&b->thread, NULL, backend_main, b), 0);
	return b;
}

/* The back end has seen the end of the stream. */
static void backend_join(struct backend *b)
{
	pthread_join(b->thread, NULL);
}

static void backend_free(struct backend *b)
{
	fd_close(&b->listener);
	unlink(b->path);
	rmdir(b->folder);
	free(b);
}

static struct script honest(void)
{
	return (struct script){
		.features = F_PROTOCOL | F_VERSION_1 | BIT(VIREO_F_RING_PACKED_BIT),
		.protocol_features = PROTO_ALL,
		.queues = 1,
		.slots = 8,
	};
}

static struct vireo_front_config config_for(const struct backend *b)
{
	return (struct vireo_front_config){
		.size = sizeof(struct vireo_front_config),
		.path = b->path,
		.timeout_ms = 20000,
		.features = F_VERSION_1,
		.queue_count = 2,
		.queue_size = 64,
		.memory_bytes = 10000,
	};
}

/*
 * Opens and closes against a script. Returns what open did; the caller looks at what came and frees the back
 * end.
 */
static int open_result(const struct script *script, struct vireo_front_config *changes,
		       struct backend **ret_backend)
{
	struct backend *b = backend_new(script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;
	int ret;

	if (changes) {
		config = *changes;
		config.path = b->path;
	}
	ret = vireo_front_open(&config, &front);
	if (ret)
		assert_null(front);
	vireo_front_close(front);
	backend_join(b);
	*ret_backend = b;
	return ret;
}

static void expect_result(const struct script *script, int expected)
{
	struct backend *b;

	assert_int_equal(open_result(script, NULL, &b), expected);
	backend_free(b);
}

/* Where the n-th message of a kind stands in what came, or -1. */
static int position(const struct backend *b, uint32_t request, unsigned n)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->requests[i] == request && !n--)
			return (int)i;
	return -1;
}

static void steps_come_in_the_order_that_the_protocol_asks_for(void **state)
{
	static const uint32_t order[] = { VU_GET_FEATURES,	    VU_GET_PROTOCOL_FEATURES,
					  VU_SET_PROTOCOL_FEATURES, VU_SET_FEATURES,
					  VU_ADD_MEM_REG,	    VU_SET_VRING_NUM,
					  VU_SET_VRING_BASE,	    VU_SET_VRING_ADDR,
					  VU_SET_VRING_KICK,	    VU_SET_VRING_ENABLE };
	struct script script = honest();
	struct backend *b;
	int status;

	assert_int_equal(open_result(&script, NULL, &b), 0);
	for (unsigned i = 1; i < ARRAY_SIZE(order); i++)
		assert_true(position(b, order[i - 1], 0) < position(b, order[i], 0));
	status = position(b, VU_SET_STATUS, 3); /* after ACKNOWLEDGE, DRIVER and FEATURES_OK */
	assert_int_equal(b->values[status], 15);
	assert_true(status > position(b, VU_SET_VRING_ENABLE, 1));
	assert_int_equal(b->fd_counts[position(b, VU_ADD_MEM_REG, 0)], 1);
	assert_int_equal(b->fd_counts[position(b, VU_SET_VRING_KICK, 1)], 1);
	backend_free(b);
}

static void closing_stops_every_ring_and_resets_the_status(void **state)
{
	struct script script = honest();
	struct backend *b;

	assert_int_equal(open_result(&script, NULL, &b), 0);
	assert_true(position(b, VU_GET_VRING_BASE, 1) > position(b, VU_SET_VRING_ENABLE, 3));
	assert_int_equal(b->requests[b->count - 1], VU_SET_STATUS);
	assert_int_equal(b->values[b->count - 1], 0);
	backend_free(b);
}

static void memory_goes_in_one_table_without_memory_slots(void **state)
{
	struct script script = honest();
	struct backend *b;

	script.protocol_features &= ~BIT(VU_PROTO_CONFIGURE_MEM_SLOTS_BIT);
	assert_int_equal(open_result(&script, NULL, &b), 0);
	assert_int_equal(b->values[position(b, VU_SET_MEM_TABLE, 0)], 2);
	assert_int_equal(b->fd_counts[position(b, VU_SET_MEM_TABLE, 0)], 2);
	assert_int_equal(position(b, VU_ADD_MEM_REG, 0), -1);
	backend_free(b);
}

static void nothing_is_used_that_was_not_agreed(void **state)
{
	struct script script = honest();
	struct backend *b;

	script.features = F_VERSION_1; /* no protocol features at all: rings are enabled from the start */
	assert_int_equal(open_result(&script, NULL, &b), 0);
	assert_int_equal(position(b, VU_GET_PROTOCOL_FEATURES, 0), -1);
	assert_int_equal(position(b, VU_SET_VRING_ENABLE, 0), -1);
	assert_int_equal(position(b, VU_SET_STATUS, 0), -1);
	assert_int_equal(position(b, VU_SET_BACKEND_REQ_FD, 0), -1);
	backend_free(b);
}

static void protocol_features_that_are_off_are_not_used(void **state)
{
	struct vireo_front_config config = {
		.size = sizeof(config),
		.queue_count = 1,
		.protocol_features_off = BIT(VU_PROTO_STATUS_BIT) | BIT(VU_PROTO_CONFIGURE_MEM_SLOTS_BIT),
	};
	struct script script = honest();
	struct backend *b;

	assert_int_equal(open_result(&script, &config, &b), 0);
	assert_int_equal(position(b, VU_SET_STATUS, 0), -1);
	assert_int_equal(position(b, VU_ADD_MEM_REG, 0), -1);
	backend_free(b);
}

static void new_packed_ring_starts_with_both_wrap_counters_set(void **state)
{
	struct vireo_front_config config = {
		.size = sizeof(config),
		.queue_count = 1,
		.features_required = BIT(VIREO_F_RING_PACKED_BIT),
	};
	struct script script = honest();
	struct backend *b;

	assert_int_equal(open_result(&script, &config, &b), 0);
	assert_int_equal(b->values[position(b, VU_SET_VRING_BASE, 0)] >> 32, 0x80008000u);
	backend_free(b);
}

static void missing_feature_is_not_supported(void **state)
{
	struct vireo_front_config config = { .size = sizeof(config),
					     .queue_count = 1,
					     .features_required = BIT(VIREO_F_IN_ORDER_BIT) };
	struct script script = honest();
	struct backend *b;

	assert_int_equal(open_result(&script, &config, &b), -ENOTSUP);
	assert_int_equal(position(b, VU_SET_FEATURES, 0), -1);
	backend_free(b);
}

static void more_rings_than_the_back_end_has_are_not_supported(void **state)
{
	struct vireo_front_config config = { .size = sizeof(config), .queue_count = 8 };
	struct script script = honest();
	struct backend *b;

	assert_int_equal(open_result(&script, &config, &b), -ENOTSUP);
	backend_free(b);
}

static void features_ok_that_does_not_stay_is_not_supported(void **state)
{
	struct script script = honest();

	script.drops_features_ok = true;
	expect_result(&script, -ENOTSUP);
}

static void too_few_memory_slots_are_not_supported(void **state)
{
	struct script script = honest();

	script.slots = 1;
	expect_result(&script, -ENOTSUP);
}

static void each_refused_step_is_a_protocol_error(void **state)
{
	static const uint32_t steps[] = { VU_SET_FEATURES,   VU_SET_BACKEND_REQ_FD, VU_ADD_MEM_REG,
					  VU_SET_VRING_NUM,  VU_SET_VRING_BASE,	    VU_SET_VRING_ADDR,
					  VU_SET_VRING_CALL, VU_SET_VRING_KICK,	    VU_SET_VRING_ENABLE,
					  VU_SET_STATUS };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct script script = honest();

		script.refuse = steps[i];
		expect_result(&script, -EPROTO);
	}
}

static void hanging_up_at_any_step_is_a_protocol_error(void **state)
{
	static const uint32_t steps[] = { VU_GET_FEATURES, VU_GET_PROTOCOL_FEATURES, VU_SET_FEATURES,
					  VU_ADD_MEM_REG,  VU_SET_VRING_ADDR,	     VU_SET_VRING_ENABLE,
					  VU_GET_STATUS };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct script script = honest();

		script.hang_up = steps[i];
		expect_result(&script, -EPROTO);
	}
}

static void hanging_up_at_close_is_no_trouble(void **state)
{
	struct script script = honest();

	script.hang_up = VU_GET_VRING_BASE;
	expect_result(&script, 0);
}

static void answer_to_another_question_is_a_protocol_error(void **state)
{
	struct script script = honest();

	script.nonsense = VU_GET_FEATURES;
	expect_result(&script, -EPROTO);
	script.nonsense = VU_SET_VRING_NUM;
	expect_result(&script, -EPROTO);
}

static void silence_is_a_timeout(void **state)
{
	struct vireo_front_config config = { .size = sizeof(config), .queue_count = 1, .timeout_ms = 100 };
	struct script script = honest();
	struct backend *b;

	script.ignore = VU_SET_VRING_ADDR;
	assert_int_equal(open_result(&script, &config, &b), -ETIMEDOUT);
	backend_free(b);
}

/* Each answer would come in time. */
static void many_slow_answers_are_a_timeout(void **state)
{
	struct vireo_front_config config = { .size = sizeof(config), .queue_count = 2, .timeout_ms = 300 };
	struct script script = honest();
	struct backend *b;

	script.pause_ms = 50;
	assert_int_equal(open_result(&script, &config, &b), -ETIMEDOUT);
	assert_int_equal(position(b, VU_GET_VRING_BASE, 0), -1);
	backend_free(b);
}

static void many_slow_answers_do_not_hold_up_closing(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	b->script.pause_ms = 100;
	front->config.timeout_ms = 250;
	vireo_front_close(front);
	backend_join(b);
	assert_int_equal(position(b, VU_SET_STATUS, 4), -1);
	backend_free(b);
}

static void back_end_is_asked_nothing_when_it_is_abandoned(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	vireo_front_abandon(front);
	vireo_front_abandon(NULL);
	backend_join(b);
	assert_int_equal(b->requests[b->count - 1], VU_SET_STATUS); /* DRIVER_OK */
	assert_int_equal(b->values[b->count - 1], 15);
	backend_free(b);
}

static void nobody_there_is_refused(void **state)
{
	struct backend b = { .path = "/tmp/vireo-front-test-nobody/socket" };
	struct vireo_front_config config = config_for(&b);
	struct vireo_front *front = NULL;

	assert_int_equal(vireo_front_open(&config, &front), -ECONNREFUSED);
	assert_null(front);
}

static void bad_configs_are_refused(void **state)
{
	struct vireo_front_config good = { .size = sizeof(good), .path = "/nonexistent", .queue_count = 1 },
				  bad[4];
	struct vireo_front *front = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].size = 0;
	bad[1].path = NULL;
	bad[2].queue_count = 0;
	bad[3].queue_count = 257;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vireo_front_open(&bad[i], &front), -EINVAL);
	assert_null(front);
}

static void paths_longer_than_an_address_work(void **state)
{
	struct script script = honest();
	struct vireo_front_config config;
	struct vireo_front *front = NULL;
	struct backend *b;
	char name[90] = { 0 };

	memset(name, 'n', sizeof(name) - 1);
	b = backend_new(&script, name);
	assert_true(strlen(b->path) > 107);
	config = config_for(b);
	assert_int_equal(vireo_front_open(&config, &front), 0);
	vireo_front_close(front);
	backend_join(b);
	backend_free(b);
}

static void config_space_is_read_and_written(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;
	uint8_t data[6] = { 0 };
	int at;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	assert_int_equal(vireo_front_config_read(front, 4, data, sizeof(data)), 0);
	assert_int_equal(data[0], 0x5a);
	assert_int_equal(data[5], 0x5a);
	assert_int_equal(vireo_front_config_read(front, 250, data, 7), -EINVAL);
	assert_int_equal(vireo_front_config_read(front, 0, data, 0), -EINVAL);
	assert_int_equal(vireo_front_config_write(front, 2, data, 3), 0);
	vireo_front_close(front);
	backend_join(b);
	at = position(b, VU_SET_CONFIG, 0);
	assert_int_equal(b->values[at], 2 | UINT64_C(3) << 32);
	backend_free(b);
}

static void refused_config_access_leaves_the_front_end_usable(void **state)
{
	struct script script = honest();
	struct backend *b;
	struct vireo_front_config config;
	struct vireo_front *front = NULL;
	uint8_t data[4];

	script.refuse = VU_GET_CONFIG;
	b = backend_new(&script, "s");
	config = config_for(b);
	assert_int_equal(vireo_front_open(&config, &front), 0);
	assert_int_equal(vireo_front_config_read(front, 0, data, 4), -EINVAL);
	assert_int_equal(vireo_front_config_write(front, 0, data, 4), 0);
	vireo_front_close(front);
	backend_join(b);
	backend_free(b);
}

static void word_of_a_changed_config_is_taken_and_answered_while_waiting(void **state)
{
	struct script script = honest();
	struct backend *b;
	struct vireo_front_config config;
	struct vireo_front *front = NULL;

	script.announces_change = true;
	b = backend_new(&script, "s");
	config = config_for(b);
	assert_int_equal(vireo_front_open(&config, &front), 0);
	assert_int_equal(vireo_front_config_changed(front), 1);
	assert_int_equal(vireo_front_config_changed(front), 0);
	vireo_front_close(front);
	backend_join(b);
	backend_free(b);
}

/* A write(2) would wait, or would leave the counter alone. */
static void kick_is_raised_in_a_way_that_cannot_wait(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;
	uint64_t count = UINT64_MAX - 1;
	struct iovec iov;
	int fd;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	if (!notifier_has_aio(front->config.notifier)) /* a container without kernel AIO */
		skip();
	fd = front->rings[1].kick.fd;
	iov = (struct iovec){ .iov_base = vireo_front_memory(front), .iov_len = 1 };
	assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count)); /* what a back end may do */
	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
	assert_int_equal(vireo_driver_ring_add(vireo_front_ring(front, 1), &iov, 1, 0, false, NULL), 0);
	alarm(100); /* a kick that waits ends the test */
	assert_true(vireo_driver_ring_kick(vireo_front_ring(front, 1)));
	alarm(0);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(count == UINT64_MAX);
	vireo_front_close(front);
	backend_join(b);
	backend_free(b);
}

/* A back end may make it blocking, and drain it after it has raised it. */
static void signals_are_forgotten_in_a_way_that_cannot_wait(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	assert_int_equal(fcntl(vireo_driver_ring_call_fd(vireo_front_ring(front, 0)), F_SETFL, O_RDWR), 0);
	alarm(100); /* a read that waits ends the test */
	assert_false(vireo_driver_ring_signal_enable(vireo_front_ring(front, 0), true));
	alarm(0);
	vireo_front_close(front);
	backend_join(b);
	backend_free(b);
}

/* ---- listening ---- */

static void *connecting_backend(void *opaque)
{
	struct backend *b = opaque;
	struct sockaddr_un address;
	socklen_t length;
	int dir_fd = -1;

	b->peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd_unix_address(b->path, &address, &length, &dir_fd))
		return NULL;
	for (unsigned tries = 0; tries < 4000 && connect(b->peer, (struct sockaddr *)&address, length);
	     tries++)
		usleep(5000);
	fd_close(&dir_fd);
	return backend_main(b);
}

static void front_end_can_be_the_one_that_listens(void **state)
{
	struct backend b = { .script = honest(), .listener = -1, .peer = -1, .channel = -1 };
	struct vireo_front_config config;
	struct vireo_front *front = NULL;

	folder_new(&b, "s");
	/* A socket that somebody left behind is in the way. */
	assert_int_equal(mknod(b.path, S_IFSOCK | 0600, 0), 0);
	config = config_for(&b);
	config.server = true;
	assert_int_equal(pthread_create(&b.thread, NULL, connecting_backend, &b), 0);
	assert_int_equal(vireo_front_open(&config, &front), 0);
	assert_int_equal(access(b.path, F_OK), -1); /* one back end is all it waits for */
	vireo_front_close(front);
	backend_join(&b);
	assert_true(position(&b, VU_GET_VRING_BASE, 1) > 0);
	rmdir(b.folder);
}

static void front_end_does_not_wait_for_ever_for_a_back_end(void **state)
{
	struct backend b = { 0 };
	struct vireo_front_config config;
	struct vireo_front *front = NULL;

	folder_new(&b, "s");
	config = config_for(&b);
	config.server = true;
	config.timeout_ms = 50;
	assert_int_equal(vireo_front_open(&config, &front), -ETIMEDOUT);
	assert_int_equal(access(b.path, F_OK), -1);
	rmdir(b.folder);
}

static void socket_that_answers_is_not_taken_over(void **state)
{
	struct script script = honest();
	struct backend *b = backend_new(&script, "s");
	struct vireo_front_config config = config_for(b);
	struct vireo_front *front = NULL;

	config.server = true;
	assert_int_equal(vireo_front_open(&config, &front), -EADDRINUSE);
	assert_int_equal(access(b->path, F_OK), 0);
	backend_join(b);
	backend_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_come_in_the_order_that_the_protocol_asks_for),
		cmocka_unit_test(closing_stops_every_ring_and_resets_the_status),
		cmocka_unit_test(memory_goes_in_one_table_without_memory_slots),
		cmocka_unit_test(nothing_is_used_that_was_not_agreed),
		cmocka_unit_test(protocol_features_that_are_off_are_not_used),
		cmocka_unit_test(new_packed_ring_starts_with_both_wrap_counters_set),
		cmocka_unit_test(missing_feature_is_not_supported),
		cmocka_unit_test(more_rings_than_the_back_end_has_are_not_supported),
		cmocka_unit_test(features_ok_that_does_not_stay_is_not_supported),
		cmocka_unit_test(too_few_memory_slots_are_not_supported),
		cmocka_unit_test(each_refused_step_is_a_protocol_error),
		cmocka_unit_test(hanging_up_at_any_step_is_a_protocol_error),
		cmocka_unit_test(hanging_up_at_close_is_no_trouble),
		cmocka_unit_test(answer_to_another_question_is_a_protocol_error),
		cmocka_unit_test(silence_is_a_timeout),
		cmocka_unit_test(many_slow_answers_are_a_timeout),
		cmocka_unit_test(many_slow_answers_do_not_hold_up_closing),
		cmocka_unit_test(back_end_is_asked_nothing_when_it_is_abandoned),
		cmocka_unit_test(nobody_there_is_refused),
		cmocka_unit_test(bad_configs_are_refused),
		cmocka_unit_test(paths_longer_than_an_address_work),
		cmocka_unit_test(config_space_is_read_and_written),
		cmocka_unit_test(refused_config_access_leaves_the_front_end_usable),
		cmocka_unit_test(word_of_a_changed_config_is_taken_and_answered_while_waiting),
		cmocka_unit_test(kick_is_raised_in_a_way_that_cannot_wait),
		cmocka_unit_test(signals_are_forgotten_in_a_way_that_cannot_wait),
		cmocka_unit_test(front_end_can_be_the_one_that_listens),
		cmocka_unit_test(front_end_does_not_wait_for_ever_for_a_back_end),
		cmocka_unit_test(socket_that_answers_is_not_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
