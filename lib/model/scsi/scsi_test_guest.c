/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scsi/scsi_test_guest.h"
#include "base/loop.h"
#include "device/device.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the application ---- */

static uint32_t gather(const struct iovec *iov, uint32_t count, uint8_t *to, size_t room)
{
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_true(iov[i].iov_len <= room - bytes);
		memcpy(to + bytes, iov[i].iov_base, iov[i].iov_len);
		bytes += (uint32_t)iov[i].iov_len;
	}
	return bytes;
}

/* What is read is numbered, byte by byte; protection information counts down. */
static void scatter(const struct iovec *iov, uint32_t count, uint32_t moved, uint8_t first, int step)
{
	for (uint32_t i = 0; i < count; i++)
		for (size_t j = 0; j < iov[i].iov_len && moved; j++, moved--, first = (uint8_t)(first + step))
			((uint8_t *)iov[i].iov_base)[j] = first;
}

static void command_look(struct guest *g, const struct vireo_scsi_command *c)
{
	g->commands++;
	g->seen = *c;
	memcpy(g->seen_cdb, c->cdb, c->cdb_bytes);
	assert_int_equal(gather(c->out, c->out_count, g->seen_out, sizeof(g->seen_out)), c->out_bytes);
	assert_int_equal(gather(c->pi_out, c->pi_out_count, g->seen_pi, sizeof(g->seen_pi)), c->pi_out_bytes);
}

static void command_end(const struct guest *g, struct vireo_scsi_command *c, const struct vireo_scsi_result *result)
{
	struct vireo_scsi_result copy = *result;

	if (g->moved_all) {
		copy.out_moved = c->out_bytes;
		copy.in_moved = c->in_bytes;
		copy.pi_in_moved = c->pi_in_bytes;
	}
	scatter(c->in, c->in_count, copy.in_moved, 1, 1);
	scatter(c->pi_in, c->pi_in_count, copy.pi_in_moved, 0xff, -1);
	vireo_scsi_complete(c, &copy);
}

static void app_submit(void *opaque, unsigned queue, struct vireo_scsi_command *const *commands, unsigned count)
{
	struct guest *g = opaque;

	assert_true(count > 0);
	g->submits++;
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(commands[i]->queue, queue);
		command_look(g, commands[i]);
		if (!g->holds) {
			command_end(g, commands[i], &g->result);
			continue;
		}
		assert_true(g->held_count < GUEST_HELD_MAX);
		g->held[g->held_count++] = commands[i];
	}
}

void held_end(struct guest *g, unsigned number, uint8_t response)
{
	struct vireo_scsi_command *c = g->held[number];

	assert_true(number < g->held_count);
	g->held_count--;
	memmove(g->held + number, g->held + number + 1, (g->held_count - number) * sizeof(g->held[0]));
	vireo_scsi_complete(c, &(struct vireo_scsi_result){ .response = response });
}

static void app_manage(void *opaque, struct vireo_scsi_management *management)
{
	struct guest *g = opaque;

	g->manages++;
	g->seen_management = *management;
	if (!g->holds) {
		vireo_scsi_managed(management, g->answer);
		return;
	}
	assert_true(g->managed_count < GUEST_HELD_MAX);
	g->managed[g->managed_count++] = management;
}

static uint8_t app_unit_look(void *opaque, uint8_t target, const uint8_t lun[8])
{
	const struct guest *g = opaque;

	return g->looked;
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
		vireo_scsi_queue_quiesced(g->scsi, queue);
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

static const struct vireo_scsi_ops app_ops = {
	.size = sizeof(app_ops),
	.submit = app_submit,
	.manage = app_manage,
	.unit_look = app_unit_look,
	.queue_started = app_queue_started,
	.queue_stop = app_queue_stop,
	.queue_renew = app_queue_renew,
	.connected = app_connected,
	.negotiated = app_negotiated,
	.reset = app_reset,
};

/* ---- the guest ---- */

void *guest_alloc(struct guest *g, size_t bytes)
{
	return test_guest_alloc(&g->at, bytes);
}

void guest_start(struct guest *g, const struct guest_config *config)
{
	const struct map_spec dimm = GUEST_DIMM;
	struct vireo_scsi_config scsi = config->scsi ? *config->scsi : (struct vireo_scsi_config){ .protection = true };

	memset(g, 0, sizeof(*g));
	scsi.size = sizeof(scsi);
	scsi.ops = &app_ops;
	scsi.opaque = g;
	assert_int_equal(vireo_scsi_new(&scsi, &g->scsi), 0);
	g->at.queue_size = config->queue_size ? config->queue_size : 128;
	test_guest_begin(&g->at, vireo_scsi_device(g->scsi), config->features, GUEST_MEMORY_BYTES, &dimm);
	if (config->successor_of)
		memcpy(g->at.memory, config->successor_of->at.memory, GUEST_MEMORY_BYTES);
	for (unsigned i = 0; i < g->at.queue_count; i++)
		test_guest_set_up(&g->at, i, !config->disabled);
	if (config->region)
		assert_int_equal(device_queue_inflight_set(g->at.device, REQUESTS, config->region, g->at.queue_size), 0);
	device_resume(g->at.device);
	assert_false(g->at.broken);
	g->looked = VIREO_SCSI_FUNCTION_COMPLETE;
}

void guest_start_features(struct guest *g, uint64_t features)
{
	guest_start(g, &(struct guest_config){ .features = features });
}

void guest_stop(struct guest *g)
{
	test_guest_quiesce(&g->at);
	test_guest_detach(&g->at);
	vireo_scsi_free(g->scsi);
	test_guest_end(&g->at);
}

void guest_turn(struct guest *g)
{
	while (loop_dispatch(g->at.loop, 0) > 0)
		;
}

void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable, void *cookie)
{
	struct vireo_driver_ring *ring = g->at.queues[queue].ring;

	assert_int_equal(vireo_driver_ring_add(ring, iov, readable, writable, true, cookie), 0);
	vireo_driver_ring_kick(ring);
}

void guest_head(uint8_t *head, const struct ask *ask)
{
	uint64_t id = htole64(ask->id);

	memset(head, 0, HEAD_BYTES);
	memcpy(head, (const uint8_t[]){ 1, ask->target, 0x40, 3 }, 4);
	memcpy(head + SCSI_REQUEST_ID, &id, sizeof(id));
	head[SCSI_REQUEST_CDB] = ask->cdb;
}

struct asked guest_ask_queue(struct guest *g, unsigned queue, const struct ask *ask)
{
	struct asked a = { .head = guest_alloc(g, HEAD_BYTES), .response = guest_alloc(g, RESPONSE_BYTES) };
	struct iovec iov[4] = { { a.head, HEAD_BYTES } };
	unsigned count = 1, readable;

	a.sense = (uint8_t *)(a.response + 1);
	guest_head(a.head, ask);
	memset(a.response, NO_RESPONSE, RESPONSE_BYTES);
	if (ask->out_bytes) {
		a.out = guest_alloc(g, ask->out_bytes);
		if (ask->out)
			memcpy(a.out, ask->out, ask->out_bytes);
		iov[count++] = (struct iovec){ a.out, ask->out_bytes };
	}
	readable = count;
	iov[count++] = (struct iovec){ a.response, RESPONSE_BYTES };
	if (ask->in_bytes) {
		a.in = guest_alloc(g, ask->in_bytes);
		iov[count++] = (struct iovec){ a.in, ask->in_bytes };
	}
	guest_add(g, queue, iov, readable, count - readable, a.response);
	return a;
}

struct asked guest_ask(struct guest *g, const struct ask *ask)
{
	return guest_ask_queue(g, REQUESTS, ask);
}

int guest_poll(struct guest *g)
{
	return vireo_scsi_poll(g->scsi, 0, UINT32_MAX);
}

int guest_used(struct guest *g, unsigned queue, void **ret_cookie)
{
	return test_guest_used(&g->at, queue, ret_cookie);
}

int guest_do(struct guest *g, const struct ask *ask, struct asked *ret_asked)
{
	struct asked a = guest_ask(g, ask);
	void *cookie;

	assert_int_equal(guest_poll(g), 1);
	if (guest_used(g, REQUESTS, &cookie) == NOT_USED)
		return NOT_USED;
	assert_ptr_equal(cookie, a.response);
	if (ret_asked)
		*ret_asked = a;
	return a.response->response;
}

static uint8_t *control_begin(struct guest *g, const void *request, size_t bytes, size_t room)
{
	uint8_t *readable = guest_alloc(g, bytes + 1), *writable = guest_alloc(g, room + 1);
	struct iovec iov[2] = { { readable, bytes }, { writable, room } };

	if (bytes)
		memcpy(readable, request, bytes);
	memset(writable, NO_RESPONSE, room + 1);
	if (!bytes)
		iov[0] = iov[1];
	guest_add(g, SCSI_CONTROL_QUEUE, iov, !!bytes, !!room, writable);
	guest_turn(g);
	return writable;
}

int guest_control(struct guest *g, const void *request, size_t bytes, size_t room)
{
	const uint8_t *writable = control_begin(g, request, bytes, room);
	int used = guest_used(g, SCSI_CONTROL_QUEUE, NULL);

	assert_int_equal(writable[room], NO_RESPONSE);
	return used > 0 ? writable[used - 1] : used;
}

static struct virtio_scsi_tmf tmf_of(uint32_t subtype, uint8_t target, unsigned lun, uint64_t id)
{
	return (struct virtio_scsi_tmf){
		.type = htole32(SCSI_T_TMF),
		.subtype = htole32(subtype),
		.lun = { 1, target, (uint8_t)(0x40 | lun >> 8), (uint8_t)lun },
		.id = htole64(id),
	};
}

int guest_tmf(struct guest *g, uint32_t subtype, uint8_t target, unsigned lun, uint64_t id)
{
	const struct virtio_scsi_tmf tmf = tmf_of(subtype, target, lun, id);

	return guest_control(g, &tmf, sizeof(tmf), 1);
}

uint8_t *guest_tmf_begin(struct guest *g, uint32_t subtype, uint8_t target, unsigned lun, uint64_t id)
{
	const struct virtio_scsi_tmf tmf = tmf_of(subtype, target, lun, id);

	return control_begin(g, &tmf, sizeof(tmf), 1);
}

struct vireo_scsi_queue_stats guest_stats(struct guest *g)
{
	struct vireo_scsi_queue_stats stats = { .size = sizeof(stats) };

	vireo_scsi_queue_stats(g->scsi, 0, &stats);
	return stats;
}

struct vireo_scsi_stats guest_scsi_stats(struct guest *g)
{
	struct vireo_scsi_stats stats = { .size = sizeof(stats) };

	vireo_scsi_stats(g->scsi, &stats);
	return stats;
}
