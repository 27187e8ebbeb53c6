/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The SCSI host's content: requests, task management and buffers for events, split in any way, in rings whose descriptors are honest. The
 * application keeps some of what it is handed, and the guest changes its memory before they are completed.
 */
#include "base/loop.h"
#include "device/device.h"
#include "fuzz.h"
#include "vireo/vireo.h"
#include "wire/virtio_ring.h"
#include "wire/virtio_scsi.h"
#include <assert.h>

#define SIZE	  32u
#define QUEUES	  3u /* control, events, and requests */
#define RING	  0x1000u /* of the nth, from n times this on */
#define AVAIL	  0x400u
#define USED	  0x800u
#define DATA	  0x7000u /* buffers lie across the border of the two regions */
#define DATA_ROOM 0x1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct vireo_scsi *scsi;
	struct loop *loop;
	struct fuzz_memory memory;
	bool running;
	struct vireo_scsi_command *held[SIZE];
	struct vireo_scsi_management *managed[64];
	unsigned held_count, managed_count;
	uint8_t how; /* bits: the nth that is submitted is held */
} target;

static uint64_t touch(const struct iovec *iov, uint32_t count, bool write)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert(iov[i].iov_len || !write);
		if (write)
			memset(iov[i].iov_base, 0x5a, iov[i].iov_len);
		bytes += iov[i].iov_len;
	}
	return bytes;
}

static void look(const struct vireo_scsi_command *c)
{
	volatile uint8_t any = 0; /* all of the CDB is there to be read */

	assert(c->cdb_bytes && c->cdb_bytes <= VIREO_SCSI_CDB_BYTES_MAX && c->attribute <= VIREO_SCSI_ACA);
	for (uint32_t i = 0; i < c->cdb_bytes; i++)
		any = any | c->cdb[i];
	assert(touch(c->out, c->out_count, false) == c->out_bytes && touch(c->pi_out, c->pi_out_count, false) == c->pi_out_bytes);
	assert(touch(c->in, c->in_count, c->in_bytes % 2) == c->in_bytes && touch(c->pi_in, c->pi_in_count, false) == c->pi_in_bytes);
	for (unsigned i = 2; i < 8; i++)
		assert(!c->lun[i]);
}

static void end(struct vireo_scsi_command *c, uint8_t how)
{
	static const uint8_t sense[UINT8_MAX] = {0x70};

	vireo_scsi_complete(c, &(struct vireo_scsi_result){
		.response = how % 10,
		.status = how & 2,
		.sense = sense,
		.sense_bytes = how & 2 ? how : 0,
		.out_moved = how & 1 ? c->out_bytes : c->out_bytes / 3,
		.in_moved = how & 1 ? c->in_bytes : c->in_bytes / 3,
		.pi_in_moved = how & 4 ? c->pi_in_bytes : c->pi_in_bytes / 2,
	});
}

static void submit(void *opaque, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		look(commands[i]);
		assert(target.held_count < SIZE);
		if (target.how >> i % 8 & 1)
			target.held[target.held_count++] = commands[i];
		else
			end(commands[i], (uint8_t)(target.how + i));
	}
}

static void manage(void *opaque, struct vireo_scsi_management *m)
{
	assert(m->function <= VIREO_SCSI_QUERY_TASK_SET && target.managed_count < ARRAY_SIZE(target.managed));
	if (target.how & 1)
		target.managed[target.managed_count++] = m;
	else
		vireo_scsi_managed(m, target.how % 13);
}

static void queue_started(void *opaque, unsigned queue)
{
	target.running = true;
}

static void all_end(void)
{
	while (target.managed_count)
		vireo_scsi_managed(target.managed[--target.managed_count], 0);
}

static void queue_stop(void *opaque, unsigned queue)
{
	target.running = false;
	while (vireo_scsi_in_flight(target.scsi, 0)) {
		while (target.held_count)
			end(target.held[--target.held_count], target.how);
		vireo_scsi_flush(target.scsi, 0);
	}
	vireo_scsi_queue_quiesced(target.scsi, queue);
}

static const struct vireo_scsi_ops scsi_ops = {
	.size = sizeof(scsi_ops),
	.submit = submit,
	.manage = manage,
	.queue_started = queue_started,
	.queue_stop = queue_stop,
};

static void broken(void *transport, const char *why)
{
}

static const struct device_transport transport = {.broken = broken};

/* One chain of some descriptors, the first `readable` of which are readable. */
static unsigned offer(struct fuzz_input *in, uint32_t ring, unsigned at)
{
	static const uint32_t usual[] = {51, 59, 108, 24, 16, 5, 1, 512};
	unsigned readable = fuzz_u8(in) % 5, writable = fuzz_u8(in) % 5, count = readable + writable;
	uint32_t buffer = DATA + fuzz_u16(in) % DATA_ROOM;

	if (!count || at + count > SIZE)
		return at;
	for (unsigned i = 0; i < count; i++) {
		uint8_t shape = fuzz_u8(in);
		uint32_t bytes = shape < 128 ? usual[shape % 8] : shape < 160 ? 4096u : shape - 159u;
		uint16_t flags = (uint16_t)((i >= readable ? 2 : 0) | (i + 1 < count ? 1 : 0));
		struct split_desc desc = {.addr = le64(buffer), .len = le32(bytes), .flags = le16(flags), .next = le16((uint16_t)(at + i + 1))};

		fuzz_memory_write(&target.memory, ring + 16 * (at + i), &desc, sizeof(desc));
		buffer += bytes;
	}
	return at + count;
}

/* What a request or a control request may begin with. */
static void lay(struct fuzz_input *in, uint32_t at, bool control)
{
	uint8_t stretch[64];

	fuzz_take(in, stretch, sizeof(stretch));
	if (control) {
		memset(stretch, 0, 8);
		stretch[0] = fuzz_u8(in) % 4;
		stretch[4] = fuzz_u8(in) % 9;
		stretch[stretch[0] ? 4 : 8] = 1;
		memset(stretch + 12, 0, 4);
	} else if (fuzz_u8(in) & 1) {
		memset(stretch, 0, 8);
		stretch[0] = 1;
		memset(stretch + 52, 0, 2);
	}
	fuzz_memory_write(&target.memory, at, stretch, sizeof(stretch));
}

static void requests_lay(struct fuzz_input *in, unsigned queue)
{
	unsigned at = 0, count = 0, next;
	uint32_t ring = queue * RING;

	while (count < SIZE && (next = offer(in, ring, at)) != at) {
		struct split_desc first;

		memcpy(&first, target.memory.host[0] + ring + 16 * at, sizeof(first));
		if (queue != 1)
			lay(in, (uint32_t)first.addr, !queue);
		fuzz_memory_write(&target.memory, ring + AVAIL + 4 + 2 * count++, &(uint16_t){(uint16_t)at}, 2);
		at = next;
	}
	fuzz_memory_write(&target.memory, ring + AVAIL + 2, &(uint16_t){(uint16_t)count}, 2);
}

static void start(struct vireo_device *device, uint64_t features)
{
	device_session_begin(device);
	device_map_set(device, map_ref(target.memory.map));
	(void)device_features_set(device, features & device_features_offered(device));
	for (uint32_t i = 0; i < QUEUES; i++) {
		uint64_t ring = FUZZ_UADDR + i * RING;

		device_queue_size_set(device, i, SIZE);
		device_queue_address_set(device, i, ring, ring + AVAIL, ring + USED);
		device_queue_base_set(device, i, 0);
		device_queue_kick_set(device, i, -1);
		device_queue_call_set(device, i, -1);
		device_queue_enable(device, i, true);
	}
}

static void quiet(void *opaque)
{
}

static void init(void)
{
	const struct vireo_scsi_config config = {.size = sizeof(config), .ops = &scsi_ops, .protection = true};
	int ret;

	fuzz_memory_init(&target.memory);
	ret = loop_new(&target.loop);
	assert(ret == 0);
	ret = vireo_scsi_new(&config, &target.scsi);
	assert(ret == 0);
	ret = device_attach(vireo_scsi_device(target.scsi), target.loop, &transport, NULL);
	assert(ret == 0);
}

static void events_tell(struct fuzz_input *in)
{
	for (unsigned i = fuzz_u8(in) % 80; i; i--)
		(void)vireo_scsi_tell(target.scsi, &(struct vireo_scsi_event){.size = sizeof(struct vireo_scsi_event), .kind = i % 5});
}

static void size_write(struct fuzz_input *in, struct vireo_device *device)
{
	uint8_t config[36];

	fuzz_take(in, config, sizeof(config));
	(void)device_config_write(device, fuzz_u8(in) % 40, config, fuzz_u8(in) % 36);
	for (uint32_t at = 20; at <= 24; at += 4) {
		uint32_t size = le32(fuzz_u8(in));

		if (size)
			(void)device_config_write(device, at, &size, sizeof(size));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct vireo_device *device;
	uint8_t stretch[512];
	uint64_t features;

	if (!target.scsi)
		init();
	device = vireo_scsi_device(target.scsi);
	fuzz_memory_clear(&target.memory);
	fuzz_take(&in, &features, sizeof(features));
	target.how = fuzz_u8(&in);
	for (unsigned i = 0; i < QUEUES; i++)
		requests_lay(&in, QUEUES - 1 - i);
	start(device, (features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT)) & ~VIREO_FEATURE(VIREO_F_RING_PACKED_BIT));
	if (fuzz_u8(&in) & 1)
		size_write(&in, device);
	device_resume(device);
	events_tell(&in);
	if (target.running) {
		(void)vireo_scsi_poll(target.scsi, 0, SIZE);
		fuzz_take(&in, stretch, sizeof(stretch));
		fuzz_memory_write(&target.memory, DATA + fuzz_u16(&in) % DATA_ROOM, stretch, sizeof(stretch));
	}
	loop_dispatch(target.loop, 0);
	if (target.how & 2)
		all_end();
	device_quiesce(device, DEVICE_ALL_QUEUES, quiet, NULL);
	device_session_end(device);
	all_end();
	return 0;
}
