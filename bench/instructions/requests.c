/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * request: the block device, with a back end that completes at once and does nothing: what is counted is the way of a read of SIZE bytes
 * from the ring to the back end and back. A request is three descriptors, as Linux makes them.
 */

#include "base/fd.h"
#include "base/loop.h"
#include "bench/instructions/count.h"
#include "bench/instructions/guest.h"
#include "device/device.h"
#include "mem/map.h"
#include "ring/ring.h"
#include "vireo/blk.h"
#include "wire/virtio_blk.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES (4u << 20)
#define GPA	     UINT64_C(0x40000000)
#define UADDR	     UINT64_C(0x7f0000000000)
#define DISK_BYTES   (UINT64_C(1) << 30)

struct requests {
	const struct bench_case *c;
	struct vireo_blk *blk;
	struct vireo_device *device;
	uint8_t *memory;
	size_t used_bytes;
	struct vireo_driver_ring *ring;
	struct virtio_blk_header *headers[BURST];
	uint8_t *data[BURST], *status[BURST];
	uint32_t submitted;
	int result;
};

static void submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	struct requests *r = opaque;

	r->submitted += count;
	for (unsigned i = 0; i < count; i++)
		vireo_blk_complete(requests[i], 0);
}

static void broken(void *opaque, const char *why)
{
	must(false, why);
}

static const struct device_transport transport = {.broken = broken};

static void *alloc(struct requests *r, size_t bytes)
{
	void *at = r->memory + r->used_bytes;

	must(bytes <= MEMORY_BYTES - r->used_bytes, "guest memory is too small");
	r->used_bytes += (bytes + 63) & ~(size_t)63;
	return at;
}

static void memory_new(struct requests *r)
{
	const struct map_spec spec = {.gpa = GPA, .size_bytes = MEMORY_BYTES, .uaddr = UADDR};
	int fd = memfd_create("guest", MFD_CLOEXEC);
	const char *why = "";
	struct map *map;

	must(fd >= 0 && !ftruncate(fd, MEMORY_BYTES), "no memory for the guest");
	r->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(r->memory != MAP_FAILED, "no memory for the guest");
	must(!map_new(NULL, &spec, &fd, 1, device_faults(r->device), &map, &why), why);
	device_map_set(r->device, map);
	close(fd);
}

static uint64_t uaddr(const struct requests *r, const void *at)
{
	return UADDR + (uint64_t)((const uint8_t *)at - r->memory);
}

static void ring_announce(struct requests *r, const struct driver_ring_setup *setup)
{
	int fd, err = fd_event_new(&fd);

	must(!err, "no eventfd");
	err |= device_queue_size_set(r->device, 0, setup->size);
	err |= device_queue_address_set(r->device, 0, uaddr(r, setup->desc), uaddr(r, setup->driver), uaddr(r, setup->device));
	err |= device_queue_base_set(r->device, 0, setup->packed ? RING_BASE_PACKED_NEW : 0);
	err |= device_queue_call_set(r->device, 0, fd);
	if (r->c->tracked)
		err |= device_queue_inflight_set(r->device, 0, alloc(r, device_queue_inflight_bytes(r->device, setup->size)), setup->size);
	err |= device_queue_kick_set(r->device, 0, -1);
	err |= device_queue_enable(r->device, 0, true);
	must(!err, "the device refused a queue");
}

static void ring_add(struct requests *r)
{
	struct driver_ring_setup setup = {
		.packed = r->c->packed,
		.indirect = r->c->indirect,
		.size = GUEST_QUEUE_SIZE,
		.memory = {.host = r->memory, .gpa = GPA, .bytes = MEMORY_BYTES},
		.call_fd = -1,
	};
	struct ring_area area = ring_area_bytes(setup.packed, setup.size);

	setup.desc = alloc(r, area.desc_bytes);
	setup.driver = alloc(r, area.driver_bytes);
	setup.device = alloc(r, area.device_bytes);
	if (setup.indirect) {
		setup.tables = alloc(r, driver_ring_table_bytes(setup.size));
		setup.tables_gpa = GPA + (uint64_t)((uint8_t *)setup.tables - r->memory);
	}
	must(!driver_ring_new(&setup, &r->ring), "no driver ring");
	ring_announce(r, &setup);
	vireo_driver_ring_signal_enable(r->ring, false);
}

static void start(struct requests *r)
{
	static const struct vireo_blk_ops ops = {.size = sizeof(ops), .submit = submit};
	const struct vireo_blk_config config = {.size = sizeof(config), .capacity_bytes = DISK_BYTES, .ops = &ops, .opaque = r};
	uint64_t features = VIREO_FEATURE(VIREO_F_VERSION_1_BIT) | VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT);
	struct loop *loop = NULL;

	features |= r->c->packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0;
	features |= r->c->indirect ? VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) : 0;
	must(!vireo_blk_new(&config, &r->blk), "no block device");
	must(!loop_new(&loop), "no loop");
	r->device = vireo_blk_device(r->blk);
	must(!device_attach(r->device, loop, &transport, r), "the device is attached already");
	device_session_begin(r->device);
	must(!device_features_set(r->device, features), "the device refused the features");
	memory_new(r);
	ring_add(r);
	for (unsigned i = 0; i < BURST; i++) {
		r->headers[i] = alloc(r, sizeof(*r->headers[i]));
		r->data[i] = alloc(r, r->c->size_bytes);
		r->status[i] = alloc(r, 1);
	}
	device_resume(r->device);
	vireo_blk_kick_enable(r->blk, 0, false);
}

static void serve(void *opaque)
{
	struct requests *r = opaque;

	r->result = vireo_blk_poll(r->blk, 0, BURST);
}

static void step(struct requests *r, uint32_t number)
{
	uint32_t len_bytes;
	void *cookie;

	for (unsigned i = 0; i < BURST; i++) {
		const struct iovec iov[] = {{r->headers[i], 16}, {r->data[i], r->c->size_bytes}, {r->status[i], 1}};

		*r->headers[i] = (struct virtio_blk_header){.sector = 8 * (number * BURST + i)};
		*r->status[i] = 0xff;
		must(!vireo_driver_ring_add(r->ring, iov, 1, 2, r->c->indirect, r->status[i]), "no room for a request");
	}
	vireo_driver_ring_kick(r->ring);
	count_toggled(serve, r);
	must(r->result == (int)BURST, "not all requests were taken");
	for (unsigned i = 0; i < BURST; i++) {
		must(vireo_driver_ring_get(r->ring, &cookie, &len_bytes) == 1, "a request is missing");
		must(len_bytes == r->c->size_bytes + 1 && *(uint8_t *)cookie == BLK_S_OK, "a request has failed");
	}
}

uint64_t run_requests(const struct bench_case *c)
{
	static struct requests r;

	r.c = c;
	start(&r);
	for (unsigned i = 0; i < WARM_BURSTS + BURSTS; i++) {
		if (i == WARM_BURSTS)
			count_from_zero();
		step(&r, i);
	}
	must(r.submitted == (WARM_BURSTS + BURSTS) * BURST, "not all requests were submitted");
	return (uint64_t)BURSTS * BURST;
}
