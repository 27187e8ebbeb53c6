/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The network device's content: headers, frames and control commands of any kind, in rings whose descriptors are
 * honest. What comes out of the transmit queue is delivered into the receive queue, some of it with a tag more or fewer.
 */
#include "base/loop.h"
#include "device/device.h"
#include "fuzz.h"
#include "vireo/vireo.h"
#include "wire/virtio_ring.h"
#include <assert.h>

#define QUEUES 3u /* receive, transmit, control */
#define SIZE 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct vireo_net *net;
	struct loop *loop;
	struct fuzz_memory memory;
	bool running[QUEUES];
	uint16_t edits; /* bit i: frame i gets one */
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

/* What it is told of, the caller does: pump(). */
static void offloads_set(void *opaque)
{
}

static void signals_set(void *opaque, bool held)
{
}

static const struct vireo_net_ops net_ops = {
	.size = sizeof(net_ops),
	.queue_started = queue_started,
	.queue_stop = queue_stop,
	.offloads_set = offloads_set,
	.signals_set = signals_set,
};

static void broken(void *transport, const char *why)
{
}

static const struct device_transport transport = {.broken = broken};

static uint32_t area(unsigned queue)
{
	return queue * 0x1000;
}

/* Makes `count` descriptors of `bytes` each available, one chain each (or one chain of them all). */
static void offer(unsigned queue, unsigned count, uint32_t buffers, uint32_t bytes, uint16_t flags, bool chained)
{
	struct split_desc desc;

	for (unsigned i = 0; i < count; i++) {
		bool last = i == count - 1;

		desc = (struct split_desc){.addr = le64(buffers + i * bytes), .len = le32(bytes),
					   .flags = le16((uint16_t)(flags | (chained && !last ? 1 : 0))),
					   .next = le16((uint16_t)(i + 1))};
		fuzz_memory_write(&target.memory, area(queue) + 16 * i, &desc, sizeof(desc));
		fuzz_memory_write(&target.memory, area(queue) + 0x400 + 4 + 2 * i, &(uint16_t){(uint16_t)i}, 2);
	}
	fuzz_memory_write(&target.memory, area(queue) + 0x400 + 2, &(uint16_t){(uint16_t)(chained ? 1 : count)}, 2);
}

static void start(struct vireo_device *device, uint64_t features)
{
	device_session_begin(device);
	device_map_set(device, map_ref(target.memory.map));
	if (device_features_set(device, features & device_features_offered(device)) < 0)
		(void)device_features_set(device, VIREO_FEATURE(VIREO_F_VERSION_1_BIT));
	for (unsigned q = 0; q < QUEUES; q++) {
		uint64_t at = FUZZ_UADDR + area(q);

		device_queue_size_set(device, q, SIZE);
		device_queue_address_set(device, q, at, at + 0x400, at + 0x800);
		device_queue_base_set(device, q, 0);
		device_queue_kick_set(device, q, -1);
		device_queue_call_set(device, q, -1);
		device_queue_enable(device, q, true);
	}
	device_resume(device);
}

static void pump(void)
{
	struct vireo_frame frames[SIZE], *pointers[SIZE];
	int n;

	if (!target.running[0] || !target.running[1])
		return;
	n = vireo_net_transmit_look(target.net, 0, frames, SIZE);
	for (int i = 0; i < n; i++) {
		uint64_t sum = 0;

		for (uint32_t j = 0; j < frames[i].iov_count; j++)
			sum += frames[i].iov[j].iov_len;
		assert(sum == frames[i].len_bytes && sum >= 14);
		pointers[i] = &frames[i];
		if (target.edits >> i & 1 && !vireo_frame_tag_pop(&frames[i]))
			(void)vireo_frame_tag_push(&frames[i], 0x8100, 5);
	}
	if (n > 0) {
		(void)vireo_net_receive_deliver(target.net, 0, pointers, (unsigned)n);
		vireo_net_receive_flush(target.net, 0);
		vireo_net_transmit_complete(target.net, 0);
	}
	for (unsigned queue = 0; queue < 2; queue++)
		(void)vireo_net_signal_look(target.net, queue);
}

static void quiet(void *opaque)
{
}

static void init(void)
{
	struct vireo_net_config config = {.size = sizeof(config), .ops = &net_ops, .mtu = 1500};
	int ret;

	fuzz_memory_init(&target.memory);
	ret = loop_new(&target.loop);
	assert(ret == 0);
	ret = vireo_net_new(&config, &target.net);
	assert(ret == 0);
	ret = device_attach(vireo_net_device(target.net), target.loop, &transport, NULL);
	assert(ret == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct vireo_device *device;
	uint8_t stretch[2048];
	uint64_t features;
	uint32_t bytes, pieces;

	if (!target.net)
		init();
	device = vireo_net_device(target.net);
	fuzz_memory_clear(&target.memory);
	fuzz_take(&in, &features, sizeof(features));
	pieces = 1 + fuzz_u8(&in) % SIZE;
	bytes = 1 + fuzz_u16(&in) % 120;
	offer(1, pieces, 0x3800, bytes, 0, fuzz_u8(&in) & 1);
	offer(0, 1 + fuzz_u8(&in) % SIZE, 0xa000, 1 + fuzz_u16(&in) % 1600, 2, false);
	offer(2, 1 + fuzz_u8(&in) % SIZE, 0x9000, 1 + fuzz_u8(&in), 0, true);
	/* The control chain's last piece is where the answer goes. */
	fuzz_memory_write(&target.memory, area(2) + 16 * 1 + 12, &(uint16_t){2}, 2);
	bytes = 1 + fuzz_u16(&in) % sizeof(stretch);
	fuzz_take(&in, stretch, bytes / 2);
	fuzz_memory_write(&target.memory, 0x3800, stretch, bytes / 2);
	fuzz_take(&in, stretch, bytes);
	fuzz_memory_write(&target.memory, 0x9000, stretch, bytes);
	target.edits = fuzz_u16(&in);
	start(device, features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT));
	pump();
	loop_dispatch(target.loop, 0);
	device_quiesce(device, DEVICE_ALL_QUEUES, quiet, NULL);
	device_session_end(device);
	return 0;
}
