/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include "base/fd.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/map.h"
#include "ring/ring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the application ---- */

static void disk_write(struct guest *g, const struct vireo_blk_request *request)
{
	uint64_t at = request->offset_bytes;

	for (uint32_t i = 0; i < request->iov_count; i++) {
		memcpy(g->disk + at, request->iov[i].iov_base, request->iov[i].iov_len);
		at += request->iov[i].iov_len;
	}
	assert_int_equal(at, request->offset_bytes + request->bytes);
}

static void disk_read(struct guest *g, const struct vireo_blk_request *request)
{
	uint64_t at = request->offset_bytes;

	for (uint32_t i = 0; i < request->iov_count; i++) {
		memcpy(request->iov[i].iov_base, g->disk + at, request->iov[i].iov_len);
		at += request->iov[i].iov_len;
	}
	assert_int_equal(at, request->offset_bytes + request->bytes);
}

void disk_do(struct guest *g, struct vireo_blk_request *request)
{
	if (!g->result && request->type == VIREO_BLK_IN)
		disk_read(g, request);
	else if (!g->result && request->type == VIREO_BLK_OUT)
		disk_write(g, request);
	else if (!g->result && request->type != VIREO_BLK_FLUSH)
		memset(g->disk + request->offset_bytes, 0, request->bytes);
	vireo_blk_complete(request, g->result);
}

void held_do(struct guest *g, unsigned number)
{
	struct vireo_blk_request *request = g->held[number];

	assert_true(number < g->held_count);
	g->held_count--;
	memmove(g->held + number, g->held + number + 1, (g->held_count - number) * sizeof(g->held[0]));
	disk_do(g, request);
}

void held_do_all(struct guest *g)
{
	while (g->held_count)
		held_do(g, 0);
}

/* What it is handed is on the disk, whatever the guest has said. */
static void request_look(struct guest *g, const struct vireo_blk_request *request)
{
	uint64_t capacity = vireo_blk_capacity(g->blk), bytes = 0;

	assert_true(request->offset_bytes <= capacity && request->bytes <= capacity - request->offset_bytes);
	assert_int_equal(request->offset_bytes % 512 + request->bytes % 512, 0);
	for (uint32_t i = 0; i < request->iov_count; i++)
		bytes += request->iov[i].iov_len;
	assert_int_equal(bytes, request->type <= VIREO_BLK_OUT ? request->bytes : 0);
	if (g->seen_count < GUEST_HELD_MAX)
		g->seen[g->seen_count++] = (struct seen){ request->type, request->flags, request->offset_bytes, request->bytes,
							  request->iov_count, request->queue };
}

static void app_submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	struct guest *g = opaque;

	assert_true(count > 0);
	g->submits++;
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(requests[i]->queue, queue);
		request_look(g, requests[i]);
		if (!g->holds) {
			disk_do(g, requests[i]);
			continue;
		}
		assert_true(g->held_count < GUEST_HELD_MAX);
		g->held[g->held_count++] = requests[i];
	}
}

static void app_queue_started(void *opaque, unsigned queue)
{
	struct guest *g = opaque;

	g->starts++;
}

static void app_queue_stop(void *opaque, unsigned queue)
{
	struct guest *g = opaque;

	g->stops++;
	if (!g->stop_waits)
		vireo_blk_queue_quiesced(g->blk, queue);
}

static int app_queue_renew(void *opaque, unsigned queue)
{
	struct guest *g = opaque;

	if (g->refuses_renewal)
		return -EOPNOTSUPP;
	g->renewals++;
	return 0;
}

static void app_connected(void *opaque, bool connected)
{
	struct guest *g = opaque;

	g->connects++;
}

static void app_negotiated(void *opaque, uint64_t features)
{
	struct guest *g = opaque;

	g->negotiated = features;
}

static void app_reset(void *opaque)
{
	struct guest *g = opaque;

	g->resets++;
}

static void app_writeback_set(void *opaque, bool on)
{
	struct guest *g = opaque;

	g->writeback = on;
}

static void app_memory_changed(void *opaque)
{
	struct guest *g = opaque;

	g->memories++;
}

static const struct vireo_blk_ops app_ops = {
	.size = sizeof(app_ops),
	.submit = app_submit,
	.queue_started = app_queue_started,
	.queue_stop = app_queue_stop,
	.queue_renew = app_queue_renew,
	.connected = app_connected,
	.negotiated = app_negotiated,
	.reset = app_reset,
	.writeback_set = app_writeback_set,
	.memory_changed = app_memory_changed,
};

struct vireo_blk_config guest_disk(void)
{
	static const struct vireo_blk_lifetime lifetime = { .pre_eol_info = 2, .used_a = 3, .used_b = 11 };

	return (struct vireo_blk_config){
		.size = sizeof(struct vireo_blk_config),
		.capacity_bytes = DISK_BYTES,
		.discard = true,
		.zeroes = true,
		.zeroes_unmap = true,
		.secure_erase = true,
		.zeroes_ranges_max = 16,
		.lifetime = &lifetime,
		.geometry = { .cylinders = 2, .heads = 16, .sectors = 63 },
		.serial = "vireo-0123456789-abcdef",
		.request_room_bytes = 40,
	};
}

/* ---- the guest ---- */

static void guest_config_changed(void *opaque)
{
	struct guest *g = opaque;

	g->config_changes++;
}

static void guest_broken(void *opaque, const char *why)
{
	struct guest *g = opaque;

	g->broken = true;
}

static const struct device_transport guest_transport = {
	.config_changed = guest_config_changed,
	.broken = guest_broken,
};

void *guest_alloc(struct guest *g, size_t bytes)
{
	void *p = g->memory + g->used_bytes;

	assert_true(bytes <= GUEST_MEMORY_BYTES - g->used_bytes);
	g->used_bytes += (bytes + 63) & ~(size_t)63;
	memset(p, 0, bytes);
	return p;
}

static uint64_t guest_uaddr(const struct guest *g, const void *p)
{
	return GUEST_UADDR + (uint64_t)((const uint8_t *)p - g->memory);
}

uint64_t guest_gpa(const struct guest *g, const void *p)
{
	return GUEST_GPA + (uint64_t)((const uint8_t *)p - g->memory);
}

static void guest_memory_new(struct guest *g)
{
	struct map_spec specs[] = { { .gpa = GUEST_GPA, .size_bytes = GUEST_MEMORY_BYTES, .uaddr = GUEST_UADDR }, GUEST_DIMM };
	const char *why = "";
	int fds[2];

	g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(g->memory_fd >= 0);
	assert_int_equal(ftruncate(g->memory_fd, GUEST_MEMORY_BYTES), 0);
	g->memory = mmap(NULL, GUEST_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
	assert_ptr_not_equal(g->memory, MAP_FAILED);
	fds[0] = fds[1] = g->memory_fd;
	assert_int_equal(map_new(NULL, specs, fds, 2, device_faults(g->device), &g->map, &why), 0);
	device_map_set(g->device, g->map);
}

static void guest_queue_new(struct guest *g, unsigned index, uint64_t features)
{
	struct guest_queue *q = &g->queues[index];
	struct driver_ring_setup setup = {
		.packed = features & PACKED,
		.indirect = features & INDIRECT,
		.event_idx = features & VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT),
		.size = g->queue_size,
		.memory = { .host = g->memory, .gpa = GUEST_GPA, .bytes = GUEST_MEMORY_BYTES },
	};
	struct ring_area area = ring_area_bytes(setup.packed, setup.size);

	setup.desc = q->desc = guest_alloc(g, area.desc_bytes);
	setup.driver = q->driver = guest_alloc(g, area.driver_bytes);
	setup.device = q->device = guest_alloc(g, area.device_bytes);
	if (setup.indirect) {
		setup.tables = guest_alloc(g, driver_ring_table_bytes(setup.size));
		setup.tables_gpa = guest_gpa(g, setup.tables);
	}
	q->kick = (struct bell)BELL_INIT;
	assert_int_equal(fd_event_new(&q->kick.fd), 0);
	assert_int_equal(fd_event_new(&q->call_fd), 0);
	setup.kick = &q->kick;
	setup.call_fd = q->call_fd;
	assert_int_equal(driver_ring_new(&setup, &q->ring), 0);
}

/* A packed ring starts with both wrap counters set: SET_VRING_BASE's bits 15 and 31. */
void guest_set_up(struct guest *g, unsigned index, bool enabled)
{
	bool packed = vireo_device_features(g->device) & PACKED;
	struct guest_queue *q = &g->queues[index];

	assert_int_equal(device_queue_size_set(g->device, index, g->queue_size), 0);
	assert_int_equal(device_queue_address_set(g->device, index, guest_uaddr(g, q->desc), guest_uaddr(g, q->driver),
						  guest_uaddr(g, q->device)), 0);
	assert_int_equal(device_queue_base_set(g->device, index, packed ? RING_BASE_PACKED_NEW : 0), 0);
	assert_int_equal(device_queue_call_set(g->device, index, dup(q->call_fd)), 0);
	assert_int_equal(device_queue_kick_set(g->device, index, dup(q->kick.fd)), 0);
	assert_int_equal(device_queue_enable(g->device, index, enabled), 0);
}

void guest_start(struct guest *g, const struct guest_config *config)
{
	struct vireo_blk_config blk = config->blk ? *config->blk : (struct vireo_blk_config){ .capacity_bytes = DISK_BYTES };

	memset(g, 0, sizeof(*g));
	g->writeback = -1;
	g->disk = calloc(1, DISK_BYTES);
	blk.size = sizeof(blk);
	blk.ops = &app_ops;
	blk.opaque = g;
	assert_int_equal(vireo_blk_new(&blk, &g->blk), 0);
	g->device = vireo_blk_device(g->blk);
	g->queue_size = config->queue_size ? config->queue_size : 128;
	assert_int_equal(loop_new(&g->loop), 0);
	assert_int_equal(device_attach(g->device, g->loop, &guest_transport, g), 0);
	device_session_begin(g->device);
	assert_int_equal(device_features_set(g->device, config->features), 0);
	guest_memory_new(g);
	g->queue_count = device_queue_count(g->device);
	assert_true(g->queue_count <= GUEST_QUEUES_MAX);
	for (unsigned i = 0; i < g->queue_count; i++) {
		guest_queue_new(g, i, config->features);
		guest_set_up(g, i, !config->disabled);
	}
	device_resume(g->device);
	assert_false(g->broken);
}

void guest_start_features(struct guest *g, uint64_t features)
{
	const struct vireo_blk_config disk = guest_disk();

	guest_start(g, &(struct guest_config){ .features = features, .blk = &disk });
}

static void guest_is_quiet(void *opaque)
{
	struct guest *g = opaque;

	g->quiet = true;
}

void guest_quiesce(struct guest *g)
{
	g->quiet = false;
	device_quiesce(g->device, DEVICE_ALL_QUEUES, guest_is_quiet, g);
}

void guest_stop(struct guest *g)
{
	guest_quiesce(g);
	assert_true(g->quiet);
	device_session_end(g->device);
	device_detach(g->device);
	vireo_blk_free(g->blk);
	loop_free(g->loop);
	for (unsigned i = 0; i < g->queue_count; i++) {
		driver_ring_free(g->queues[i].ring);
		bell_forget(&g->queues[i].kick);
		fd_close(&g->queues[i].call_fd);
	}
	munmap(g->memory, GUEST_MEMORY_BYTES);
	close(g->memory_fd);
	free(g->disk);
}

void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable, void *cookie)
{
	struct vireo_driver_ring *ring = g->queues[queue].ring;

	assert_int_equal(vireo_driver_ring_add(ring, iov, readable, writable, true, cookie), 0);
	vireo_driver_ring_kick(ring);
}

static struct asked ask(struct guest *g, unsigned queue, uint32_t type, uint64_t sector, size_t bytes, bool readable)
{
	struct asked a = { guest_alloc(g, sizeof(*a.header)), bytes ? guest_alloc(g, bytes) : NULL, guest_alloc(g, 1) };
	struct iovec iov[3] = { { a.header, sizeof(*a.header) }, { a.data, bytes }, { a.status, 1 } };

	*a.header = (struct virtio_blk_header){ .type = type, .reserved = 0x5a5a5a5a, .sector = sector };
	*a.status = NO_STATUS;
	if (!bytes)
		iov[1] = iov[2];
	guest_add(g, queue, iov, bytes && readable ? 2 : 1, bytes && !readable ? 2 : 1, a.status);
	return a;
}

struct asked guest_ask(struct guest *g, unsigned queue, uint32_t type, uint64_t sector, const void *data, size_t bytes)
{
	struct asked a = ask(g, queue, type, sector, bytes, true);

	if (bytes)
		memcpy(a.data, data, bytes);
	return a;
}

struct asked guest_ask_read(struct guest *g, unsigned queue, uint32_t type, uint64_t sector, size_t bytes)
{
	struct asked a = ask(g, queue, type, sector, bytes, false);

	if (bytes)
		memset(a.data, 0xaa, bytes);
	return a;
}

int guest_poll(struct guest *g, unsigned queue)
{
	return vireo_blk_poll(g->blk, queue, UINT32_MAX);
}

int guest_used(struct guest *g, unsigned queue, void **ret_cookie)
{
	void *cookie;
	uint32_t bytes;
	int r = vireo_driver_ring_get(g->queues[queue].ring, &cookie, &bytes);

	assert_true(r >= 0);
	if (!r)
		return NOT_USED;
	if (ret_cookie)
		*ret_cookie = cookie;
	return (int)bytes;
}

static int answer(struct guest *g, const struct asked *a, size_t bytes)
{
	void *cookie;
	int used;

	assert_int_equal(guest_poll(g, 0), 1);
	used = guest_used(g, 0, &cookie);
	if (used == NOT_USED)
		return NOT_USED;
	assert_int_equal(used, bytes + 1);
	assert_ptr_equal(cookie, a->status);
	return *a->status;
}

int guest_do(struct guest *g, uint32_t type, uint64_t sector, const void *data, size_t bytes)
{
	struct asked a = guest_ask(g, 0, type, sector, data, bytes);

	return answer(g, &a, 0);
}

int guest_read(struct guest *g, uint32_t type, uint64_t sector, void *data, size_t bytes)
{
	struct asked a = guest_ask_read(g, 0, type, sector, bytes);
	int status = answer(g, &a, bytes);

	if (bytes)
		memcpy(data, a.data, bytes);
	return status;
}

int guest_ranges(struct guest *g, uint32_t type, const struct virtio_blk_range *ranges, unsigned count)
{
	return guest_do(g, type, 0, ranges, count * sizeof(*ranges));
}

struct vireo_blk_queue_stats guest_stats(struct guest *g)
{
	struct vireo_blk_queue_stats stats = { .size = sizeof(stats) };

	vireo_blk_queue_stats(g->blk, 0, &stats);
	return stats;
}
