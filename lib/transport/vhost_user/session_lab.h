/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_SESSION_LAB_H
#define VHOST_USER_SESSION_LAB_H

/*
 * A device behind a real socket, and a front end in raw bytes on the other side, both in one thread: the
 * front end sends, the endpoint gets its turns (pump()), the front end looks. Each test ends with as many fds
 * as it began with.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/fd.h"
#include "base/util.h"
#include "device/device_test_lab.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "wire/vhost_user.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MEMORY_BYTES (1u << 20)
#define UADDR UINT64_C(0x7f0000000000)
#define GPA UINT64_C(0x100000)
#define SIZE 8u
#define ABSENT 2u
#define F_PROTOCOL VIREO_FEATURE(VU_F_PROTOCOL_FEATURES_BIT)
#define F_VERSION_1 VIREO_FEATURE(VIREO_F_VERSION_1_BIT)
#define F_IOMMU VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM)
#define P(name) (UINT64_C(1) << VU_PROTO_##name##_BIT)
#define P_ALL                                                                                        \
	(P(MQ) | P(LOG_SHMFD) | P(RARP) | P(REPLY_ACK) | P(MTU) | P(BACKEND_REQ) | P(CONFIG) | P(BACKEND_SEND_FD) | \
	 P(RESET_DEVICE) | P(CONFIGURE_MEM_SLOTS) | P(STATUS) | P(INFLIGHT_SHMFD) | \
	 P(DEVICE_STATE) | P(GET_VRING_BASE_INFLIGHT))
#define P_OFFERED (P_ALL | P(GPA_ADDRESSES)) /* which the tests' front ends do not speak, but where they say so */

struct lab {
	char folder[32], path[64], address[80];
	struct vireo_device *device;
	struct vireo_endpoint *endpoint;
	int fds_before;
	/* the device type */
	struct lab_type type;
	unsigned announced, closed;
	uint8_t mac[6];
	uint16_t mtu;
	uint8_t state[16]; /* travels to another device; begins with 0xff: refused there */
	char log[LAB_LOG_BYTES];
	/* the front end */
	int fd;
	int memfd;
	int kick, call;
	uint8_t *memory;
};

/* ---- the device ---- */

static inline int op_message(void *opaque, unsigned message, const void *data, uint32_t bytes)
{
	struct lab *lab = container_of(opaque, struct lab, type);
	uint16_t mtu;

	if (message == VIREO_MESSAGE_NET_ANNOUNCE) {
		assert_int_equal(bytes, sizeof(lab->mac));
		memcpy(lab->mac, data, sizeof(lab->mac));
		lab->announced++;
		return 0;
	}
	assert_int_equal(message, VIREO_MESSAGE_NET_MTU);
	assert_int_equal(bytes, sizeof(mtu));
	memcpy(&mtu, data, sizeof(mtu));
	if (mtu < 68)
		return -EINVAL;
	lab->mtu = mtu;
	return 0;
}

static inline int op_state_save(void *opaque, void *data, size_t room)
{
	struct lab *lab = container_of(opaque, struct lab, type);

	assert_true(room >= sizeof(lab->state));
	memcpy(data, lab->state, sizeof(lab->state));
	return sizeof(lab->state);
}

static inline int op_state_load(void *opaque, const void *data, size_t bytes, const char **why)
{
	struct lab *lab = container_of(opaque, struct lab, type);

	*why = bytes != sizeof(lab->state) ? "of the wrong size" : "of the wrong kind";
	if (bytes != sizeof(lab->state) || *(const uint8_t *)data == 0xff)
		return -EINVAL;
	memcpy(lab->state, data, sizeof(lab->state));
	return 0;
}

static const struct vireo_device_ops ops = {
	.size = sizeof(ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.queue_ended = type_ended,
	.queue_renew = type_renew,
	.features_set = type_features,
	.config_write = type_config_write,
	.connected = type_connected,
	.reset = type_reset,
	.message = op_message,
	.state_save = op_state_save,
	.state_load = op_state_load,
};

/* No net in it: neither announce nor MTU, and no config space. */
static const struct vireo_device_ops bare_ops = {
	.size = sizeof(bare_ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
};

static const struct vireo_feature_rule lab_rules[] = {
	{ VIREO_FEATURE(6), VIREO_FEATURE(4), "SIX without FOUR" },
};

static inline struct lab *lab_make_of(const struct vireo_device_ops *device_ops, bool out_of_order)
{
	struct lab *lab = test_calloc(1, sizeof(*lab));
	struct vireo_device_config config = {
		.size = sizeof(config),
		.features = VIREO_FEATURE(4) | VIREO_FEATURE(5) | VIREO_FEATURE(6) |
			    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT),
		.feature_rules = lab_rules,
		.feature_rule_count = ARRAY_SIZE(lab_rules),
		.queue_count = QUEUES,
		.queue_num_told = 2,
		.queues_absent = ABSENT,
		.queue_size_max = 256,
		.config = "abcdefgh",
		.config_bytes = device_ops->config_write ? 8 : 0,
		.ops = device_ops,
		.state_bytes_max = device_ops->state_save ? sizeof(lab->state) : 0,
		.messages = device_ops->message ? 1u << VIREO_MESSAGE_NET_ANNOUNCE | 1u << VIREO_MESSAGE_NET_MTU : 0,
		.opaque = &lab->type,
		.log = { lab_log, lab->log, VIREO_LOG_DEBUG },
		.name = "lab",
		.out_of_order = out_of_order,
	};

	lab->type.refused = VIREO_FEATURE(5);
	lab->fds_before = count_fds();
	lab->fd = lab->memfd = lab->kick = lab->call = -1;
	strcpy(lab->folder, "/tmp/vireo-session-XXXXXX");
	assert_non_null(mkdtemp(lab->folder));
	snprintf(lab->path, sizeof(lab->path), "%s/s", lab->folder);
	snprintf(lab->address, sizeof(lab->address), "vhost-user:%s", lab->path);
	assert_int_equal(vireo_device_new(&config, &lab->device), 0);
	return lab;
}

static inline struct lab *lab_make(const struct vireo_device_ops *device_ops)
{
	return lab_make_of(device_ops, false);
}

static inline struct lab *lab_new(void)
{
	struct lab *lab = lab_make(&ops);

	assert_int_equal(vireo_endpoint_open(lab->device, lab->address, NULL, &lab->endpoint), 0);
	return lab;
}

static inline void pump(struct lab *lab)
{
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(lab->endpoint), .events = POLLIN };

	for (int i = 0; i < 1000 && poll(&poll_fd, 1, 0) > 0; i++)
		assert_int_equal(vireo_endpoint_dispatch(lab->endpoint), 0);
}

/* Until something has happened, or a second has passed. */
static inline void pump_wait(struct lab *lab, int milliseconds)
{
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(lab->endpoint), .events = POLLIN };

	if (poll(&poll_fd, 1, milliseconds) > 0)
		pump(lab);
}

static inline void on_closed(void *opaque)
{
	((struct lab *)opaque)->closed++;
}

static inline void front_close(struct lab *lab)
{
	fd_close(&lab->fd);
	fd_close(&lab->memfd);
	fd_close(&lab->kick);
	fd_close(&lab->call);
	if (lab->memory)
		munmap(lab->memory, MEMORY_BYTES);
	lab->memory = NULL;
}

static inline void lab_free(struct lab *lab)
{
	if (lab->endpoint) {
		vireo_endpoint_close(lab->endpoint, on_closed, lab);
		if (lab->type.late)
			type_quiesced_all(&lab->type);
		assert_int_equal(lab->closed, 1);
	}
	assert_int_equal(lab->type.connected, lab->type.disconnected);
	vireo_device_free(lab->device);
	front_close(lab);
	assert_int_equal(access(lab->path, F_OK), -1);
	assert_int_equal(rmdir(lab->folder), 0);
	assert_int_equal(count_fds(), lab->fds_before);
	test_free(lab);
}

/* ---- the front end ---- */

static inline int unix_dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static inline void dial(struct lab *lab)
{
	fd_close(&lab->fd);
	lab->fd = unix_dial(lab->path);
	pump(lab);
}

static inline ssize_t send_raw(int fd, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	char control[CMSG_SPACE(sizeof(int) * 64)] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds) { /* also an empty control message */
		struct cmsghdr *cmsg = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

struct packet {
	uint32_t request, flags, size;
	uint8_t payload[600];
};

static inline struct packet packet(uint32_t request, uint32_t flags, const void *payload, uint32_t bytes)
{
	struct packet p = { .request = request, .flags = VU_VERSION | flags, .size = bytes };

	if (bytes)
		memcpy(p.payload, payload, bytes);
	return p;
}

static inline void say_fds(struct lab *lab, uint32_t request, uint32_t flags, const void *payload,
			   uint32_t bytes, const int *fds, unsigned fd_count)
{
	struct packet p = packet(request, flags, payload, bytes);

	assert_int_equal(send_raw(lab->fd, &p, 12 + bytes, fds, fd_count), 12 + bytes);
	pump(lab);
}

static inline void say(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes)
{
	say_fds(lab, request, 0, payload, bytes, NULL, 0);
}

static inline void say_u64(struct lab *lab, uint32_t request, uint64_t value)
{
	say(lab, request, &value, sizeof(value));
}

static inline void say_pair(struct lab *lab, uint32_t request, uint32_t a, uint32_t b)
{
	const uint32_t pair[] = { a, b };

	say(lab, request, pair, sizeof(pair));
}

/* The one reply that is there; -1: none. Returns its payload's size. */
static inline int hear(struct lab *lab, uint32_t request, void *payload, uint32_t room)
{
	struct packet p;
	ssize_t got = recv(lab->fd, &p, 12, MSG_DONTWAIT);

	if (got != 12)
		return -1;
	assert_int_equal(p.request, request);
	assert_int_equal(p.flags, VU_VERSION | VU_FLAG_REPLY);
	assert_true(p.size <= room);
	if (p.size)
		assert_int_equal(recv(lab->fd, payload, p.size, MSG_DONTWAIT), p.size);
	return (int)p.size;
}

static inline uint64_t hear_u64(struct lab *lab, uint32_t request)
{
	uint64_t value = 0;

	assert_int_equal(hear(lab, request, &value, sizeof(value)), sizeof(value));
	return value;
}

static inline uint64_t ask_u64(struct lab *lab, uint32_t request)
{
	say(lab, request, NULL, 0);
	return hear_u64(lab, request);
}

/* With need_reply: 0 is yes. */
static inline uint64_t ack_fds(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes,
			       const int *fds, unsigned fd_count)
{
	say_fds(lab, request, VU_FLAG_NEED_REPLY, payload, bytes, fds, fd_count);
	return hear_u64(lab, request);
}

static inline uint64_t ack(struct lab *lab, uint32_t request, const void *payload, uint32_t bytes)
{
	return ack_fds(lab, request, payload, bytes, NULL, 0);
}

static inline uint64_t ack_u64(struct lab *lab, uint32_t request, uint64_t value)
{
	return ack(lab, request, &value, sizeof(value));
}

static inline uint64_t ack_pair(struct lab *lab, uint32_t request, uint32_t a, uint32_t b)
{
	const uint32_t pair[] = { a, b };

	return ack(lab, request, pair, sizeof(pair));
}

static inline bool hung_up(struct lab *lab)
{
	char byte;
	ssize_t got;

	pump(lab);
	got = recv(lab->fd, &byte, 1, MSG_DONTWAIT);
	return got == 0 || (got < 0 && errno == ECONNRESET);
}

static inline void negotiate(struct lab *lab, uint64_t protocol)
{
	dial(lab);
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL);
	assert_int_equal(ask_u64(lab, VU_GET_PROTOCOL_FEATURES), P_OFFERED);
	say_u64(lab, VU_SET_PROTOCOL_FEATURES, protocol);
	say(lab, VU_SET_OWNER, NULL, 0);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
}

static inline void make_memory(struct lab *lab)
{
	lab->memfd = memfd_create("session", MFD_CLOEXEC);
	assert_int_equal(ftruncate(lab->memfd, MEMORY_BYTES), 0);
	lab->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, lab->memfd, 0);
	assert_ptr_not_equal(lab->memory, MAP_FAILED);
}

struct table {
	uint32_t count, padding;
	uint64_t regions[9][4];
};

static const struct table one_region = { .count = 1, .regions = { { GPA, MEMORY_BYTES, UADDR, 0 } } };
static const uint64_t region_message[5] = { 0, GPA, MEMORY_BYTES, UADDR, 0 };

static inline void share_memory(struct lab *lab)
{
	if (!lab->memory)
		make_memory(lab);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, &one_region, 40, &lab->memfd, 1), 0);
}

struct addr_message {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

static inline struct addr_message ring_addr(uint32_t index)
{
	return (struct addr_message){
		.index = index,
		.desc = UADDR + index * 0x4000,
		.avail = UADDR + index * 0x4000 + 0x1000,
		.used = UADDR + index * 0x4000 + 0x2000,
	};
}

static inline void kick_set(struct lab *lab, uint32_t index)
{
	uint64_t value = index;

	if (lab->kick < 0)
		lab->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	say_fds(lab, VU_SET_VRING_KICK, 0, &value, 8, &lab->kick, 1);
}

static inline void ring(struct lab *lab, uint32_t index)
{
	struct addr_message addr = ring_addr(index);
	uint64_t value = index;

	if (lab->call < 0)
		lab->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	say_pair(lab, VU_SET_VRING_NUM, index, SIZE);
	say_pair(lab, VU_SET_VRING_BASE, index, 0);
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	say_fds(lab, VU_SET_VRING_CALL, 0, &value, 8, &lab->call, 1);
	kick_set(lab, index);
	say_pair(lab, VU_SET_VRING_ENABLE, index, 1);
}

/* A session with ring 0 running. */
static inline void ready(struct lab *lab)
{
	negotiate(lab, P_ALL);
	share_memory(lab);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
}

#endif
