/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The block device's content: requests of any kind, split in any way, in a ring whose descriptors are honest. The application keeps some
 * of what it is handed, and the guest changes its memory before they are completed. One of two disks is written by zones.
 */
#include "base/loop.h"
#include "device/device.h"
#include "fuzz.h"
#include "vireo/vireo.h"
#include "wire/virtio_blk.h"
#include "wire/virtio_ring.h"
#include <assert.h>
#include <errno.h>

#define SIZE 64u
#define SECTORS 4096u
#define AVAIL 0x800u
#define USED 0xc00u
#define DATA 0x7000u /* buffers lie across the border of the two regions */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct vireo_blk *blk; /* one of these */
	struct vireo_blk *plain, *zoned;
	struct loop *loop;
	struct fuzz_memory memory;
	bool running;
	struct vireo_blk_request *held[SIZE];
	unsigned held_count;
	uint8_t how; /* bits: the nth that is submitted is held */
} target;

static void look(const struct vireo_blk_request *request)
{
	uint64_t bytes = 0;

	assert(request->offset_bytes % 512 == 0 && request->bytes % 512 == 0);
	assert(request->offset_bytes / 512 <= SECTORS && request->bytes / 512 <= SECTORS - request->offset_bytes / 512);
	for (uint32_t i = 0; i < request->iov_count; i++) {
		bytes += request->iov[i].iov_len;
		if (request->type == VIREO_BLK_IN)
			memset(request->iov[i].iov_base, 0x5a, request->iov[i].iov_len);
	}
	assert(bytes == (request->type <= VIREO_BLK_OUT || request->type == VIREO_BLK_ZONE_APPEND ? request->bytes : 0));
	assert(request->bytes || request->type == VIREO_BLK_FLUSH || request->type > VIREO_BLK_ZONE_APPEND);
	assert(request->type < VIREO_BLK_ZONE_APPEND || target.blk == target.zoned);
}

static void submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		look(requests[i]);
		assert(target.held_count < SIZE);
		if (requests[i]->type == VIREO_BLK_ZONE_REPORT)
			while (vireo_blk_zone_report(requests[i], &(struct vireo_blk_zone){.state = VIREO_BLK_ZS_FULL}))
				;
		if (target.how >> i % 8 & 1)
			target.held[target.held_count++] = requests[i];
		else
			vireo_blk_complete(requests[i], i % 5 == 4 ? -EIO : 0);
	}
}

static void queue_started(void *opaque, unsigned queue)
{
	target.running = true;
}

static void held_complete(void)
{
	while (vireo_blk_in_flight(target.blk, 0)) {
		while (target.held_count)
			vireo_blk_complete(target.held[--target.held_count], 0);
		vireo_blk_flush(target.blk, 0);
	}
}

static void queue_stop(void *opaque, unsigned queue)
{
	target.running = false;
	held_complete();
	vireo_blk_queue_quiesced(target.blk, queue);
}

static const struct vireo_blk_ops blk_ops = {
	.size = sizeof(blk_ops),
	.submit = submit,
	.queue_started = queue_started,
	.queue_stop = queue_stop,
};

static void broken(void *transport, const char *why)
{
}

static const struct device_transport transport = {.broken = broken};

/* One chain of some descriptors, the first `readable` of which are readable. */
static unsigned offer(struct fuzz_input *in, unsigned at)
{
	unsigned readable = fuzz_u8(in) % 6, writable = fuzz_u8(in) % 4, count = readable + writable;
	uint32_t buffer = DATA + fuzz_u16(in) % 0x1000;

	if (!count || at + count > SIZE)
		return at;
	for (unsigned i = 0; i < count; i++) {
		uint8_t shape = fuzz_u8(in);
		uint32_t bytes = shape < 64 ? 512u * (1 + shape % 4) : shape < 128 ? 16 : shape < 160 ? 1 : shape;
		uint16_t flags = (uint16_t)((i >= readable ? 2 : 0) | (i + 1 < count ? 1 : 0));
		struct split_desc desc = {.addr = le64(buffer), .len = le32(bytes), .flags = le16(flags), .next = le16((uint16_t)(at + i + 1))};

		fuzz_memory_write(&target.memory, 16 * (at + i), &desc, sizeof(desc));
		buffer += bytes;
	}
	return at + count;
}

/* What a header may look like, and a range behind it. */
static void lay(struct fuzz_input *in, uint32_t at)
{
	static const uint8_t types[] = {0, 1, 4, 8, 10, 11, 13, 14, 5, 15, 16, 18, 20, 22, 24, 26};
	struct virtio_blk_header header = {.type = fuzz_u8(in), .sector = fuzz_u8(in) & 1 ? fuzz_u16(in) % SECTORS : fuzz_u32(in)};
	struct virtio_blk_range range = {.sector = fuzz_u16(in), .num_sectors = fuzz_u16(in), .flags = fuzz_u8(in) & 1};
	uint8_t stretch[64];

	if (header.type >= 16)
		header.type = types[header.type % ARRAY_SIZE(types)];
	fuzz_memory_write(&target.memory, at, &header, sizeof(header));
	fuzz_memory_write(&target.memory, at + 16, &range, sizeof(range));
	fuzz_take(in, stretch, sizeof(stretch));
	fuzz_memory_write(&target.memory, at + 32, stretch, fuzz_u8(in) % sizeof(stretch));
}

static void requests_lay(struct fuzz_input *in)
{
	unsigned at = 0, count = 0, next;

	while (count < SIZE && (next = offer(in, at)) != at) {
		struct split_desc first;

		memcpy(&first, target.memory.host[0] + 16 * at, sizeof(first));
		lay(in, (uint32_t)first.addr);
		fuzz_memory_write(&target.memory, AVAIL + 4 + 2 * count++, &(uint16_t){(uint16_t)at}, 2);
		at = next;
	}
	fuzz_memory_write(&target.memory, AVAIL + 2, &(uint16_t){(uint16_t)count}, 2);
}

static void start(struct vireo_device *device, uint64_t features)
{
	device_session_begin(device);
	device_map_set(device, map_ref(target.memory.map));
	(void)device_features_set(device, features & device_features_offered(device));
	device_queue_size_set(device, 0, SIZE);
	device_queue_address_set(device, 0, FUZZ_UADDR, FUZZ_UADDR + AVAIL, FUZZ_UADDR + USED);
	device_queue_base_set(device, 0, 0);
	device_queue_kick_set(device, 0, -1);
	device_queue_call_set(device, 0, -1);
	device_queue_enable(device, 0, true);
	device_resume(device);
}

static void quiet(void *opaque)
{
}

static void init(void)
{
	static const struct vireo_blk_lifetime lifetime = {.used_a = 1};
	static const struct vireo_blk_zoned zoned = {.zone_bytes = 65536, .write_bytes = 512, .append_bytes_max = 4096};
	struct vireo_blk_config config = {.size = sizeof(config), .ops = &blk_ops, .capacity_bytes = SECTORS * 512u, .discard = true,
		.zeroes = true, .secure_erase = true, .zeroes_ranges_max = 8, .lifetime = &lifetime, .serial = "fuzz"};
	int ret;

	fuzz_memory_init(&target.memory);
	ret = loop_new(&target.loop);
	assert(ret == 0);
	for (unsigned i = 0; i < 2; i++) {
		struct vireo_blk **blk = i ? &target.zoned : &target.plain;

		config.zoned = i ? &zoned : NULL;
		ret = vireo_blk_new(&config, blk);
		assert(ret == 0);
		ret = device_attach(vireo_blk_device(*blk), target.loop, &transport, NULL);
		assert(ret == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct vireo_device *device;
	uint8_t stretch[512];
	uint64_t features;
	uint8_t config[96];

	if (!target.plain)
		init();
	fuzz_memory_clear(&target.memory);
	fuzz_take(&in, &features, sizeof(features));
	target.blk = features >> 63 ? target.zoned : target.plain;
	if (features >> 63)
		features |= VIREO_FEATURE(VIREO_BLK_F_ZONED_BIT);
	device = vireo_blk_device(target.blk);
	target.how = fuzz_u8(&in);
	requests_lay(&in);
	start(device, (features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT)) & ~VIREO_FEATURE(VIREO_F_RING_PACKED_BIT));
	fuzz_take(&in, config, sizeof(config));
	(void)device_config_write(device, fuzz_u8(&in) % 96, config, fuzz_u8(&in) % 96);
	if (target.running) {
		(void)vireo_blk_poll(target.blk, 0, SIZE);
		fuzz_take(&in, stretch, sizeof(stretch));
		fuzz_memory_write(&target.memory, DATA + fuzz_u16(&in) % 0x1000, stretch, sizeof(stretch));
	}
	loop_dispatch(target.loop, 0);
	device_quiesce(device, DEVICE_ALL_QUEUES, quiet, NULL);
	device_session_end(device);
	return 0;
}
