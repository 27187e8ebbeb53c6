/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What one process hands over to another, as anybody's bytes with fds of every kind: an endpoint is made of it and, if it is taken, goes
 * on, with rings in hostile memory. Afterwards no fd may be left over. Lists of records are well-formed but for one byte, so that the
 * fuzzer gets far.
 */
#include "fuzz.h"
#include "vireo/vireo.h"
#include "wire/handover.h"
#include "wire/vhost_user.h"
#include <assert.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORDS_MAX 48u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct vireo_net *net;
	char address[64];
	struct fuzz_memory memory;
	int listener, pair[2], event;
	bool running[6];
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

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops), .queue_started = queue_started, .queue_stop = queue_stop};

static unsigned count_fds(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void init(void)
{
	struct vireo_net_config config = {
		.size = sizeof(config), .pairs = 2, .mtu = 1500, .ops = &net_ops, .set_mac = true, .mac = {2, 0, 0, 0, 0, 1}};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/vireo-fuzz-XXXXXX";

	fuzz_memory_init(&target.memory);
	if (!mkdtemp(folder))
		abort();
	if (vireo_net_new(&config, &target.net))
		abort();
	snprintf(target.address, sizeof(target.address), "vhost-user:%s/s", folder);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder);
	target.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(target.listener, (const struct sockaddr *)&address, sizeof(address)) || listen(target.listener, 1))
		abort();
	target.event = eventfd(0, EFD_NONBLOCK);
}

/* ---- one input ---- */

static int fd_of_kind(uint8_t kind)
{
	const int fds[] = {target.memory.memfd, target.event, target.event, target.pair[0], target.listener, 0};

	return fds[kind % ARRAY_SIZE(fds)];
}

static const uint32_t shapes[] = {
	VU_SET_PROTOCOL_FEATURES, VU_SET_FEATURES, VU_SET_MEM_TABLE, VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_VRING_BASE,
	VU_SET_VRING_CALL, VU_SET_VRING_ERR, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE, HANDOVER_QUEUE, HANDOVER_DEVICE_STATE,
	VU_SET_STATUS, VU_NET_SET_MTU, VU_SET_BACKEND_REQ_FD, VU_SET_INFLIGHT_FD, VU_ADD_MEM_REG,
};

static size_t payload_of(struct fuzz_input *in, uint32_t what, uint8_t payload[512])
{
	uint32_t index = fuzz_u8(in) % 6;

	switch (what) {
	case VU_SET_MEM_TABLE:
		memcpy(payload, (uint32_t[]){2, 0}, 8);
		memcpy(payload + 8, target.memory.specs, sizeof(target.memory.specs));
		return 8 + sizeof(target.memory.specs);
	case VU_SET_VRING_ADDR: {
		struct vu_vring_addr addr = {.index = index};
		uint64_t base = FUZZ_UADDR + (index & 3) * 0x4000;

		addr.desc = base;
		addr.avail = base + 0x2000;
		addr.used = base + 0x3000;
		memcpy(payload, &addr, sizeof(addr));
		return sizeof(addr);
	}
	case VU_SET_FEATURES:
	case VU_SET_PROTOCOL_FEATURES:
		memcpy(payload, &(uint64_t){(what == VU_SET_FEATURES ? UINT64_C(0x140008000) : UINT64_C(0x9a63d)) ^
					    (UINT64_C(1) << (fuzz_u8(in) % 64))}, 8);
		return 8;
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
	case VU_SET_VRING_KICK:
		memcpy(payload, &(uint64_t){index}, 8);
		return 8;
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_BASE:
	case VU_SET_VRING_ENABLE:
	case HANDOVER_QUEUE:
		memcpy(payload, (uint32_t[]){index, what == VU_SET_VRING_NUM ? 1u << (fuzz_u8(in) % 9) : fuzz_u8(in) % 32u}, 8);
		return 8;
	default: {
		size_t bytes = fuzz_u16(in) % 512;

		fuzz_take(in, payload, bytes);
		return bytes;
	}
	}
}

static unsigned fds_of(uint32_t what)
{
	switch (what) {
	case VU_SET_MEM_TABLE:
		return 2;
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
	case VU_SET_VRING_KICK:
	case VU_SET_BACKEND_REQ_FD:
	case VU_SET_INFLIGHT_FD:
	case VU_ADD_MEM_REG:
		return 1;
	default:
		return 0;
	}
}

static void add_record(struct fuzz_input *in, struct handover_writer *writer)
{
	uint8_t how = fuzz_u8(in), payload[512];
	uint32_t what = how & 0x80 ? fuzz_u16(in) : shapes[how % ARRAY_SIZE(shapes)];
	size_t bytes = payload_of(in, what, payload);
	unsigned count = how & 0x40 ? fuzz_u8(in) % 9u : fds_of(what);
	int fds[8];

	for (unsigned i = 0; i < count && i < ARRAY_SIZE(fds); i++) {
		bool natural = !(how & 0x40);
		uint8_t kind = what == VU_SET_MEM_TABLE || what >= VU_SET_INFLIGHT_FD ? 0 : what == VU_SET_BACKEND_REQ_FD ? 3 : 1;

		fds[i] = fd_of_kind(natural ? kind : fuzz_u8(in));
	}
	handover_add(writer, what, payload, bytes, fds, min_u32(count, ARRAY_SIZE(fds)));
}

/* The data path, as a worker would do it. */
static void carry(void)
{
	struct vireo_frame frames[32], *pointers[32];

	for (unsigned pair = 0; pair < 2; pair++) {
		int n = target.running[2 * pair + 1] ? vireo_net_transmit_look(target.net, pair, frames, ARRAY_SIZE(frames)) : 0;

		if (n <= 0)
			continue;
		for (int i = 0; i < n; i++)
			pointers[i] = &frames[i];
		if (target.running[2 * pair] && vireo_net_receive_deliver(target.net, pair, pointers, (unsigned)n) >= 0)
			vireo_net_receive_flush(target.net, pair);
		vireo_net_transmit_complete(target.net, pair);
	}
}

static void offer(const struct vireo_endpoint_state *state)
{
	struct vireo_endpoint_config config = {.size = sizeof(config), .vhost_user.handover = 1, .state = state};
	struct vireo_endpoint *endpoint;
	struct pollfd poll_fd;

	if (vireo_endpoint_open(vireo_net_device(target.net), target.address, &config, &endpoint))
		return;
	vireo_endpoint_export(endpoint, &(struct vireo_endpoint_state){.size = sizeof(struct vireo_endpoint_state)});
	if (vireo_endpoint_go_on(endpoint))
		abort();
	poll_fd = (struct pollfd){vireo_endpoint_fd(endpoint), POLLIN, 0};
	for (unsigned i = 0; i < 8; i++) {
		carry();
		if (poll(&poll_fd, 1, 0) > 0)
			vireo_endpoint_dispatch(endpoint);
	}
	vireo_endpoint_close(endpoint, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct handover_endpoint endpoint = {.flags = HANDOVER_LISTENS | HANDOVER_CONNECTED};
	struct fuzz_input in = {data, size};
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	struct handover_writer writer;
	unsigned before;

	if (!target.net)
		init();
	before = count_fds();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, target.pair))
		abort();
	fuzz_memory_clear(&target.memory);
	for (unsigned i = fuzz_u8(&in) % 8; i; i--) {
		uint8_t stretch[64];

		fuzz_take(&in, stretch, sizeof(stretch));
		fuzz_memory_write(&target.memory, fuzz_u16(&in), stretch, sizeof(stretch));
	}
	handover_begin(&writer, HANDOVER_VHOST_USER);
	handover_add(&writer, HANDOVER_ENDPOINT, &endpoint, sizeof(endpoint), (int[]){target.listener, target.pair[0]}, 2);
	for (unsigned i = 0; i < RECORDS_MAX && in.left; i++)
		add_record(&in, &writer);
	if (!handover_end(&writer)) {
		if (size & 1 && writer.bytes > 0)
			writer.data[data[size - 1] % writer.bytes] ^= data[0];
		state.data = writer.data;
		state.bytes = writer.bytes;
		state.fds = writer.fds;
		state.fd_count = writer.fd_count;
		offer(&state);
	}
	handover_free(&writer);
	close(target.pair[0]);
	close(target.pair[1]);
	assert(count_fds() == before);
	return 0;
}
