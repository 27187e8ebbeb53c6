/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include "device/device.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	else if (!g->result && request->type != VIREO_BLK_FLUSH && request->type < VIREO_BLK_ZONE_APPEND)
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
	assert_int_equal(bytes, request->type <= VIREO_BLK_OUT || request->type == VIREO_BLK_ZONE_APPEND ? request->bytes : 0);
	if (g->seen_count < GUEST_HELD_MAX)
		g->seen[g->seen_count++] = (struct seen){ request->type, request->flags, request->offset_bytes, request->bytes,
							  request->iov_count, request->queue };
}

static void app_submit(void *opaque, unsigned queue, struct vireo_blk_request *const *requests, unsigned count)
{
	struct guest *g = opaque;

	assert_true(count > 0);
	g->submits++;
	if (g->submitted)
		g->submitted(g);
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

void *guest_alloc(struct guest *g, size_t bytes)
{
	return test_guest_alloc(&g->at, bytes);
}

uint64_t guest_gpa(const struct guest *g, const void *p)
{
	return test_guest_gpa(&g->at, p);
}

void guest_set_up(struct guest *g, unsigned queue, bool enabled)
{
	test_guest_set_up(&g->at, queue, enabled);
}

void guest_start(struct guest *g, const struct guest_config *config)
{
	const struct map_spec dimm = GUEST_DIMM;
	struct vireo_blk_config blk = config->blk ? *config->blk : (struct vireo_blk_config){ .capacity_bytes = DISK_BYTES };

	memset(g, 0, sizeof(*g));
	g->writeback = -1;
	g->disk = calloc(1, DISK_BYTES);
	blk.size = sizeof(blk);
	blk.ops = &app_ops;
	blk.opaque = g;
	assert_int_equal(vireo_blk_new(&blk, &g->blk), 0);
	g->at.queue_size = config->queue_size ? config->queue_size : 128;
	test_guest_begin(&g->at, vireo_blk_device(g->blk), config->features, GUEST_MEMORY_BYTES, &dimm);
	for (unsigned i = 0; i < g->at.queue_count; i++)
		guest_set_up(g, i, !config->disabled);
	device_resume(g->at.device);
	assert_false(g->at.broken);
}

void guest_start_features(struct guest *g, uint64_t features)
{
	const struct vireo_blk_config disk = guest_disk();

	guest_start(g, &(struct guest_config){ .features = features, .blk = &disk });
}

void guest_quiesce(struct guest *g)
{
	test_guest_quiesce(&g->at);
}

void guest_stop(struct guest *g)
{
	guest_quiesce(g);
	test_guest_detach(&g->at);
	vireo_blk_free(g->blk);
	test_guest_end(&g->at);
	free(g->disk);
}

void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable, void *cookie)
{
	struct vireo_driver_ring *ring = g->at.queues[queue].ring;

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
	return test_guest_used(&g->at, queue, ret_cookie);
}

static int answer(struct guest *g, const struct asked *a, size_t bytes)
{
	void *cookie;
	int used;

	assert_int_equal(guest_poll(g, 0), 1);
	while (!g->holds && vireo_blk_in_flight(g->blk, 0)) /* further ranges */
		vireo_blk_flush(g->blk, 0);
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
