/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Streams of vhost-user messages with fds of every kind, to a network device at a real socket. Afterwards no fd may be
 * left over.
 */
#include "fuzz.h"
#include "vireo/vireo.h"
#include "wire/vhost_user.h"
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGES_MAX 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct vireo_net *net;
	struct vireo_endpoint *endpoint;
	struct sockaddr_un address;
	struct fuzz_memory memory;
	int channel; /* the front end's end of the last one; or -1 */
	bool running[6];
	bool gone;
} target;

static void queue_started(void *opaque, unsigned queue)
{
	target.running[queue] = true;
}

static void queue_stop(void *opaque, unsigned queue)
{
	target.running[queue] = false;
	vireo_net_queue_quiesced(target.net, queue);
}

static void connected(void *opaque, bool is)
{
	target.gone = !is;
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = queue_started,
	.queue_stop = queue_stop,
	.connected = connected,
};

/* Who reads answers and closes what a front end has handed over: here and now. */
static int run(void *opaque, void (*work)(void *argument), void *argument)
{
	work(argument);
	return 0;
}

static void init(void)
{
	const struct vireo_endpoint_config endpoint_config = {
		.size = sizeof(endpoint_config), .close_aside = run, .vhost_user.inband = 1};
	struct vireo_net_config config = {
		.size = sizeof(config), .pairs = 2, .mtu = 1500, .ops = &net_ops, .set_mac = true, .mac = {2, 0, 0, 0, 0, 1}};
	char folder[] = "/tmp/vireo-fuzz-XXXXXX", address[64];
	int ret;

	fuzz_memory_init(&target.memory);
	target.channel = -1;
	if (!mkdtemp(folder))
		abort();
	ret = vireo_net_new(&config, &target.net);
	assert(ret == 0);
	target.address.sun_family = AF_UNIX;
	snprintf(target.address.sun_path, sizeof(target.address.sun_path), "%s/s", folder);
	snprintf(address, sizeof(address), "vhost-user:%s/s", folder);
	ret = vireo_endpoint_open(vireo_net_device(target.net), address, &endpoint_config, &target.endpoint);
	assert(ret == 0);
}

static int fd_of_kind(uint8_t kind)
{
	int fds[2];

	switch (kind % 6) {
	case 0:
	case 1:
		return dup(target.memory.memfd);
	case 2:
	case 3:
		return eventfd(0, EFD_NONBLOCK);
	case 4:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
			abort();
		if (target.channel >= 0)
			close(target.channel);
		target.channel = fds[1];
		return fds[0];
	default:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

static void send_with_fds(int sock, void *data, size_t bytes, const int *fds, unsigned count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {data, bytes};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *c;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	if (sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void turn(int sock)
{
	struct pollfd poll_fd = {vireo_endpoint_fd(target.endpoint), POLLIN, 0};
	uint8_t replies[4096];

	while (poll(&poll_fd, 1, 0) > 0)
		if (vireo_endpoint_dispatch(target.endpoint) < 0)
			abort();
	while (sock >= 0 && recv(sock, replies, sizeof(replies), MSG_DONTWAIT) > 0)
		;
}

/* The data path, as a worker would do it. */
static void pump(void)
{
	struct vireo_frame frames[32], *pointers[32];

	for (unsigned pair = 0; pair < 2; pair++) {
		int n;

		if (!target.running[2 * pair + 1])
			continue;
		n = vireo_net_transmit_look(target.net, pair, frames, ARRAY_SIZE(frames));
		if (n <= 0)
			continue;
		for (int i = 0; i < n; i++)
			pointers[i] = &frames[i];
		if (target.running[2 * pair] &&
		    vireo_net_receive_deliver(target.net, pair, pointers, (unsigned)n) >= 0)
			vireo_net_receive_flush(target.net, pair);
		vireo_net_transmit_complete(target.net, pair);
	}
}

/*
 * Half of the messages are shaped like the real ones (addresses in the shared memory, small indexes), so that the fuzzer
 * gets far; the rest is what the input says.
 */
static uint32_t shape_payload(struct fuzz_input *in, uint32_t request, uint8_t *payload)
{
	uint8_t index = fuzz_u8(in) % 6;
	uint32_t num = 1u << (fuzz_u8(in) % 9);

	switch (request) {
	case VU_SET_MEM_TABLE:
		memcpy(payload, (uint32_t[]){2, 0}, 8);
		memcpy(payload + 8, target.memory.specs, sizeof(target.memory.specs));
		return 8 + sizeof(target.memory.specs);
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
		memset(payload, 0, 8);
		memcpy(payload + 8, &target.memory.specs[index & 1], sizeof(struct map_spec));
		return 8 + sizeof(struct map_spec);
	case VU_SET_VRING_ADDR: {
		struct vu_vring_addr addr = {.index = index};
		uint64_t base = FUZZ_UADDR + (index & 3) * 0x4000;

		addr.desc = base + (fuzz_u8(in) & 0xf0);
		addr.avail = base + 0x2000 + (fuzz_u8(in) & 0xfe);
		addr.used = base + 0x3000 + (fuzz_u8(in) & 0xfc);
		memcpy(payload, &addr, sizeof(addr));
		return sizeof(addr);
	}
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		memcpy(payload, &(uint64_t){index}, 8);
		return 8;
	case VU_SET_FEATURES:
	case VU_SET_PROTOCOL_FEATURES:
		memcpy(payload, &(uint64_t){(request == VU_SET_FEATURES ? UINT64_C(0x140008000) : UINT64_C(0x9a63d)) ^
					    (UINT64_C(1) << (fuzz_u8(in) % 64))}, 8);
		return 8;
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_BASE:
	case VU_SET_VRING_ENABLE:
	case VU_GET_VRING_BASE:
		memcpy(payload, (uint32_t[]){index, request == VU_SET_VRING_NUM ? num : num & 1}, 8);
		return 8;
	case VU_SET_DEVICE_STATE_FD:
		memcpy(payload, (uint32_t[]){num & 1, 0}, 8);
		return 8;
	case VU_GET_CONFIG:
		memcpy(payload, (uint32_t[]){0, 10, 0}, 12);
		return 22;
	case VU_SEND_RARP:
	case VU_NET_SET_MTU:
	case VU_SET_STATUS:
		memcpy(payload, &(uint64_t){num}, 8);
		return 8;
	default:
		return 0;
	}
}

static unsigned natural_fds(uint32_t request)
{
	switch (request) {
	case VU_SET_MEM_TABLE:
		return 2;
	case VU_ADD_MEM_REG:
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
	case VU_SET_BACKEND_REQ_FD:
	case VU_SET_DEVICE_STATE_FD:
		return 1;
	default:
		return 0;
	}
}

static void message(struct fuzz_input *in, int sock)
{
	uint8_t bytes[sizeof(struct vu_header) + 512], how = fuzz_u8(in);
	struct vu_header header = {.request = fuzz_u8(in) % 48, .flags = VU_VERSION};
	unsigned count = natural_fds(header.request);
	int fds[16];

	if (how & 1) {
		header.size_bytes = shape_payload(in, header.request, bytes + sizeof(header));
	} else {
		header.size_bytes = fuzz_u16(in) % 300;
		fuzz_take(in, bytes + sizeof(header), header.size_bytes);
		count = fuzz_u8(in) % 12;
	}
	if (how & 2)
		header.flags |= VU_FLAG_NEED_REPLY;
	memcpy(bytes, &header, sizeof(header));
	for (unsigned i = 0; i < count; i++)
		fds[i] = fd_of_kind(how & 4 ? fuzz_u8(in)
					    : header.request == VU_SET_MEM_TABLE || header.request == VU_ADD_MEM_REG ? 0
					    : header.request == VU_SET_BACKEND_REQ_FD ? 4 : 2);
	send_with_fds(sock, bytes, sizeof(header) + header.size_bytes, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* What a front end says on its channel: mostly answers. */
static void answer(struct fuzz_input *in)
{
	uint32_t words[5] = {VU_BACKEND_VRING_CALL, VU_VERSION | VU_FLAG_REPLY, 8};
	uint8_t how = fuzz_u8(in), unread[256];

	if (target.channel < 0)
		return;
	while (recv(target.channel, unread, sizeof(unread), MSG_DONTWAIT) > 0)
		;
	if (how & 1)
		words[fuzz_u8(in) % 5] ^= 1u << (fuzz_u8(in) % 32);
	if (how & 6)
		send_with_fds(target.channel, words, how & 8 ? how % sizeof(words) : sizeof(words), NULL, 0);
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned before;
	int sock;

	if (!target.net)
		init();
	before = open_fds();
	fuzz_memory_clear(&target.memory);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&target.address, sizeof(target.address)))
		abort();
	turn(sock);
	target.gone = false;
	for (unsigned i = 0; i < MESSAGES_MAX && in.left && !target.gone; i++) {
		uint8_t stretch[64];

		message(&in, sock);
		turn(sock);
		answer(&in);
		fuzz_take(&in, stretch, fuzz_u8(&in) % sizeof(stretch));
		fuzz_memory_write(&target.memory, fuzz_u16(&in), stretch, sizeof(stretch));
		pump();
		turn(sock);
	}
	close(sock);
	if (target.channel >= 0)
		close(target.channel);
	target.channel = -1;
	turn(-1);
	assert(!vireo_endpoint_connected(target.endpoint));
	assert(open_fds() == before);
	return 0;
}
