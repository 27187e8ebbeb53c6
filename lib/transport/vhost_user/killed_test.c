/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/killed_test.h"
#include "base/fd.h"
#include "base/util.h"
#include "vireo/endpoint.h"
#include "wire/vhost_user.h"
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* The back end is killed, as by kill -9, and another one goes on with the memory that the front end has kept for it. */

#define MEMORY_BYTES (1u << 20)
#define UADDR	     UINT64_C(0x7f0000000000)
#define GPA	     UINT64_C(0x100000)
#define BUFFERS_AT   0x80000u
#define TABLES_AT    0x40000u
#define F(name)	     VIREO_FEATURE(VIREO_F_##name##_BIT)
#define P(name)	     (UINT64_C(1) << VU_PROTO_##name##_BIT)

struct front {
	struct killed_driver driver; /* first */
	uint64_t features;
	uint8_t *memory;
	int memfd, region_fd, fd;
	struct vu_inflight told;
	int kick, call;
};

/* ---- the back end ---- */

static struct vireo_queue *running;
static struct killed_device *device;

static void started(void *opaque, struct vireo_queue *queue)
{
	running = queue;
}

static void stop(void *opaque, struct vireo_queue *queue)
{
	killed_gives_back(device, queue);
	running = NULL;
	vireo_queue_quiesced(queue);
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	if (level <= VIREO_LOG_WARNING)
		fprintf(stderr, "%s\n", line);
}

static void back_end(int fd)
{
	static const struct vireo_device_ops ops = { .size = sizeof(ops), .queue_started = started, .queue_stop = stop };
	const struct vireo_device_config config = {
		.size = sizeof(config), .device_id = 2, .name = "killed", .ops = &ops, .queue_count = 1, .queue_size_max = 256,
		.features = F(RING_PACKED) | F(RING_INDIRECT_DESC) | F(RING_EVENT_IDX), .log = { .write = log_line },
		.out_of_order = true,
	};
	struct vireo_endpoint *endpoint;
	struct vireo_device *made;
	char address[32];

	snprintf(address, sizeof(address), "vhost-user:fd:%d", fd);
	device = killed_device_new();
	if (vireo_device_new(&config, &made) || vireo_endpoint_open(made, address, NULL, &endpoint))
		_exit(2);
	for (;;) {
		struct pollfd poll_fd = { .fd = vireo_endpoint_fd(endpoint), .events = POLLIN };

		if (poll(&poll_fd, 1, running ? 0 : 1000) > 0 && vireo_endpoint_dispatch(endpoint))
			_exit(3);
		if (running)
			killed_serves(device, running);
	}
}

/* ---- the front end ---- */

static void say(struct front *f, uint32_t request, uint32_t flags, const void *payload, uint32_t bytes, int passed)
{
	struct {
		uint32_t words[3];
		uint8_t payload[64];
	} message = { { request, VU_VERSION | flags, bytes }, { 0 } };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &message, .iov_len = 12 + bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (bytes)
		memcpy(message.payload, payload, bytes);
	if (passed >= 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		*cmsg = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(cmsg), &passed, sizeof(int));
	}
	assert_int_equal(sendmsg(f->fd, &msg, MSG_NOSIGNAL), 12 + bytes);
}

static int hear(struct front *f, void *payload, uint32_t bytes)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	uint32_t words[3];
	struct iovec iov[] = { { words, sizeof(words) }, { payload, bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = -1;

	assert_int_equal(recvmsg(f->fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC), 12 + bytes);
	assert_int_equal(words[2], bytes);
	if (CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void acknowledged(struct front *f, uint32_t request, const void *payload, uint32_t bytes, int passed)
{
	uint64_t verdict = 1;

	say(f, request, VU_FLAG_NEED_REPLY, payload, bytes, passed);
	hear(f, &verdict, sizeof(verdict));
	assert_int_equal(verdict, 0);
}

/* As QEMU does: asked for once, and given at each start. */
static void region(struct front *f)
{
	f->told = f->region_fd < 0 ? (struct vu_inflight){ .num_queues = 1, .queue_size = KILLED_SIZE } : f->told;
	if (f->region_fd < 0) {
		say(f, VU_GET_INFLIGHT_FD, 0, &f->told, VU_INFLIGHT_PADDED_BYTES, -1);
		f->region_fd = hear(f, &f->told, VU_INFLIGHT_PADDED_BYTES);
	}
	acknowledged(f, VU_SET_INFLIGHT_FD, &f->told, VU_INFLIGHT_PADDED_BYTES, f->region_fd);
}

static void set_up(struct front *f)
{
	const uint64_t protocol = P(MQ) | P(REPLY_ACK) | P(INFLIGHT_SHMFD), zero = 0;
	const uint64_t features = f->features | F(VERSION_1) | VIREO_FEATURE(VU_F_PROTOCOL_FEATURES_BIT);
	const uint64_t table[] = { 1, GPA, MEMORY_BYTES, UADDR, 0 };
	const struct vu_vring_addr addr = { .desc = UADDR, .avail = UADDR + 0x10000, .used = UADDR + 0x20000 };
	const uint32_t num[] = { 0, KILLED_SIZE }, base[] = { 0, f->features & F(RING_PACKED) ? 0x80008000 : 0 }, on[] = { 0, 1 };

	say(f, VU_SET_PROTOCOL_FEATURES, 0, &protocol, 8, -1);
	say(f, VU_SET_FEATURES, 0, &features, 8, -1);
	region(f);
	acknowledged(f, VU_SET_MEM_TABLE, table, sizeof(table), f->memfd);
	say(f, VU_SET_VRING_NUM, 0, num, 8, -1);
	say(f, VU_SET_VRING_BASE, 0, base, 8, -1); /* where it once began: no more is known */
	say(f, VU_SET_VRING_ADDR, 0, &addr, sizeof(addr), -1);
	say(f, VU_SET_VRING_CALL, 0, &zero, 8, f->call);
	say(f, VU_SET_VRING_KICK, 0, &zero, 8, f->kick);
	acknowledged(f, VU_SET_VRING_ENABLE, on, 8, -1);
}

static pid_t serve(struct front *f)
{
	int pair[2];
	pid_t child;

	fd_close(&f->fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(pair[0]);
		back_end(pair[1]);
	}
	close(pair[1]);
	f->fd = pair[0];
	set_up(f);
	return child;
}

static struct front *front_new(uint64_t features)
{
	struct front *f = calloc(1, sizeof(*f));
	struct driver_ring_setup setup = { .packed = features & F(RING_PACKED), .event_idx = features & F(RING_EVENT_IDX),
					   .indirect = features & F(RING_INDIRECT_DESC), .size = KILLED_SIZE, .call_fd = -1 };

	assert_non_null(f);
	f->features = features;
	f->region_fd = f->fd = -1;
	f->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	f->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	f->memfd = memfd_create("killed", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->memfd, MEMORY_BYTES), 0);
	f->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	assert_ptr_not_equal(f->memory, MAP_FAILED);
	setup.desc = f->memory;
	setup.driver = f->memory + 0x10000;
	setup.device = f->memory + 0x20000;
	setup.tables = f->memory + TABLES_AT;
	setup.tables_gpa = GPA + TABLES_AT;
	setup.memory = (struct driver_ring_memory){ f->memory, GPA, MEMORY_BYTES };
	assert_int_equal(driver_ring_new(&setup, &f->driver.ring), 0);
	f->driver.host = f->memory + BUFFERS_AT;
	f->driver.seed = features + 1;
	return f;
}

static void front_free(struct front *f)
{
	driver_ring_free(f->driver.ring);
	munmap(f->memory, MEMORY_BYTES);
	fd_close(&f->memfd);
	fd_close(&f->region_fd);
	fd_close(&f->fd);
	fd_close(&f->kick);
	fd_close(&f->call);
	free(f);
}

static void killed_again_and_again(uint64_t features)
{
	struct front *f = front_new(features);

	for (unsigned n = 0; n < killed_times(); n++)
		killed_lives_and_dies(&f->driver, serve(f));
	killed_ends(&f->driver, serve(f));
	front_free(f);
}

int main(void)
{
	return killed_tests();
}
