/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * request, scsi: the block device and the SCSI host, with a back end that completes at once and does nothing: what is counted is the way of
 * a read of SIZE bytes from the ring to the back end and back. A request is three descriptors, as Linux makes them.
 */

#include "base/fd.h"
#include "base/loop.h"
#include "bench/instructions/count.h"
#include "bench/instructions/guest.h"
#include "device/device.h"
#include "mem/map.h"
#include "ring/ring.h"
#include "vireo/blk.h"
#include "vireo/scsi.h"
#include "wire/virtio_blk.h"
#include "wire/virtio_scsi.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES (4u << 20)
#define GPA	     UINT64_C(0x40000000)
#define UADDR	     UINT64_C(0x7f0000000000)
#define DISK_BYTES   (UINT64_C(1) << 30)
struct requests;

/* A device type, and a request of its. */
struct kind {
	uint32_t head_bytes, status_bytes;
	bool status_first; /* what is written first: the status, and not the data */
	uint32_t queue;	   /* the device's */
	void (*device_new)(struct requests *r);
	int (*poll)(struct requests *r);
	void (*lay)(struct requests *r, unsigned i, uint32_t number);
	bool (*good)(const uint8_t *status);
};

struct requests {
	const struct bench_case *c;
	const struct kind *kind;
	struct vireo_blk *blk;
	struct vireo_scsi *scsi;
	struct vireo_device *device;
	uint8_t *memory;
	size_t used_bytes;
	struct vireo_driver_ring *ring;
	uint8_t *headers[BURST], *data[BURST], *status[BURST];
	uint32_t submitted;
	int result;
};

/* ---- the block device ---- */

static void blk_submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	struct requests *r = opaque;

	r->submitted += count;
	for (unsigned i = 0; i < count; i++)
		vireo_blk_complete(requests[i], 0);
}

static void blk_new(struct requests *r)
{
	static const struct vireo_blk_ops ops = {.size = sizeof(ops), .submit = blk_submit};
	const struct vireo_blk_config config = {.size = sizeof(config), .capacity_bytes = DISK_BYTES, .ops = &ops, .opaque = r};

	must(!vireo_blk_new(&config, &r->blk), "no block device");
	r->device = vireo_blk_device(r->blk);
}

static int blk_poll(struct requests *r)
{
	return vireo_blk_poll(r->blk, 0, BURST);
}

static void blk_lay(struct requests *r, unsigned i, uint32_t number)
{
	const struct virtio_blk_header header = {.sector = 8 * (number * BURST + i)};

	memcpy(r->headers[i], &header, sizeof(header));
	*r->status[i] = 0xff;
}

static bool blk_good(const uint8_t *status)
{
	return *status == BLK_S_OK;
}

static const struct kind blk_kind = {sizeof(struct virtio_blk_header), 1, false, 0, blk_new, blk_poll, blk_lay, blk_good};

/* ---- the SCSI host ---- */

static void scsi_submit(void *opaque, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count)
{
	struct requests *r = opaque;

	r->submitted += count;
	for (unsigned i = 0; i < count; i++)
		vireo_scsi_complete(commands[i], &(struct vireo_scsi_result){.in_moved = commands[i]->in_bytes});
}

static void scsi_manage(void *opaque, struct vireo_scsi_management *management)
{
	must(false, "nothing is to be managed");
}

static void scsi_new(struct requests *r)
{
	static const struct vireo_scsi_ops ops = {.size = sizeof(ops), .submit = scsi_submit, .manage = scsi_manage};
	const struct vireo_scsi_config config = {.size = sizeof(config), .ops = &ops, .opaque = r};

	must(!vireo_scsi_new(&config, &r->scsi), "no SCSI host");
	r->device = vireo_scsi_device(r->scsi);
}

static int scsi_poll(struct requests *r)
{
	return vireo_scsi_poll(r->scsi, 0, BURST);
}

static void scsi_lay(struct requests *r, unsigned i, uint32_t number)
{
	memset(r->headers[i], 0, SCSI_REQUEST_CDB + SCSI_CDB_SIZE);
	memcpy(r->headers[i], (const uint8_t[]){1, 0, 0x40, 0}, 4);
	r->headers[i][SCSI_REQUEST_CDB] = 0x28;
	memset(r->status[i], 0xff, sizeof(struct virtio_scsi_response));
}

static bool scsi_good(const uint8_t *status)
{
	return !status[offsetof(struct virtio_scsi_response, response)];
}

static const struct kind scsi_kind = {SCSI_REQUEST_CDB + SCSI_CDB_SIZE, sizeof(struct virtio_scsi_response) + SCSI_SENSE_SIZE, true,
	VIREO_SCSI_REQUEST_QUEUE, scsi_new, scsi_poll, scsi_lay, scsi_good};

/* ---- its guest ---- */

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
	uint32_t queue = r->kind->queue;
	int fd, err = fd_event_new(&fd);

	must(!err, "no eventfd");
	err |= device_queue_size_set(r->device, queue, setup->size);
	err |= device_queue_address_set(r->device, queue, uaddr(r, setup->desc), uaddr(r, setup->driver), uaddr(r, setup->device));
	err |= device_queue_base_set(r->device, queue, setup->packed ? RING_BASE_PACKED_NEW : 0);
	err |= device_queue_call_set(r->device, queue, fd);
	if (r->c->tracked)
		err |= device_queue_inflight_set(r->device, queue, alloc(r, device_queue_inflight_bytes(r->device, setup->size)), setup->size);
	err |= device_queue_kick_set(r->device, queue, -1);
	err |= device_queue_enable(r->device, queue, true);
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
	uint64_t features = VIREO_FEATURE(VIREO_F_VERSION_1_BIT);
	struct loop *loop = NULL;

	features |= r->c->packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0;
	features |= r->c->indirect ? VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) : 0;
	features |= r->kind == &blk_kind ? VIREO_FEATURE(VIREO_BLK_F_FLUSH_BIT) : 0;
	r->kind->device_new(r);
	must(!loop_new(&loop), "no loop");
	must(!device_attach(r->device, loop, &transport, r), "the device is attached already");
	device_session_begin(r->device);
	must(!device_features_set(r->device, features), "the device refused the features");
	memory_new(r);
	ring_add(r);
	for (unsigned i = 0; i < BURST; i++) {
		r->headers[i] = alloc(r, r->kind->head_bytes);
		r->data[i] = alloc(r, r->c->size_bytes);
		r->status[i] = alloc(r, r->kind->status_bytes);
	}
	device_resume(r->device);
	vireo_queue_kick_enable(vireo_device_queue(r->device, r->kind->queue), false);
}

static void serve(void *opaque)
{
	struct requests *r = opaque;

	r->result = r->kind->poll(r);
}

static void request_add(struct requests *r, unsigned i)
{
	const struct iovec data = {r->data[i], r->c->size_bytes}, status = {r->status[i], r->kind->status_bytes};
	const struct iovec iov[] = {
		{r->headers[i], r->kind->head_bytes},
		r->kind->status_first ? status : data,
		r->kind->status_first ? data : status,
	};

	must(!vireo_driver_ring_add(r->ring, iov, 1, 2, r->c->indirect, r->status[i]), "no room for a request");
}

static void step(struct requests *r, uint32_t number)
{
	uint32_t len_bytes;
	void *cookie;

	for (unsigned i = 0; i < BURST; i++) {
		r->kind->lay(r, i, number);
		request_add(r, i);
	}
	vireo_driver_ring_kick(r->ring);
	count_toggled(serve, r);
	must(r->result == (int)BURST, "not all requests were taken");
	for (unsigned i = 0; i < BURST; i++) {
		must(vireo_driver_ring_get(r->ring, &cookie, &len_bytes) == 1, "a request is missing");
		must(len_bytes == r->c->size_bytes + r->kind->status_bytes && r->kind->good(cookie), "a request has failed");
	}
}

uint64_t run_requests(const struct bench_case *c)
{
	static struct requests r;

	r.c = c;
	r.kind = c->kind == CASE_SCSI ? &scsi_kind : &blk_kind;
	start(&r);
	for (unsigned i = 0; i < WARM_BURSTS + BURSTS; i++) {
		if (i == WARM_BURSTS)
			count_from_zero();
		step(&r, i);
	}
	must(r.submitted == (WARM_BURSTS + BURSTS) * BURST, "not all requests were submitted");
	return (uint64_t)BURSTS * BURST;
}
