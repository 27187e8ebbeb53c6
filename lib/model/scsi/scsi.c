/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "device/device.h"
#include "model/scsi/scsi_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The SCSI host (virtio 1.3, 5.6) in the control thread: its life, what the driver agrees on, and the passing on of what the application has to
 * know. The first two of the device's queues are served here; the rest are the application's workers'.
 */

#define SCSI_DEVICE_ID 8u

/* ---- negotiation ---- */

static int vscsi_features_set(void *opaque, uint64_t features)
{
	struct vireo_scsi *scsi = opaque;

	scsi->features = features;
	scsi->there = true;
	if (scsi->ops.negotiated)
		scsi->ops.negotiated(scsi->opaque, features);
	return 0;
}

static void driver_gone(struct vireo_scsi *scsi)
{
	scsi->features = 0;
	scsi->there = false;
	vscsi_sizes_reset(scsi);
	vscsi_events_forget(scsi);
}

static void vscsi_reset(void *opaque)
{
	struct vireo_scsi *scsi = opaque;

	driver_gone(scsi);
	if (scsi->ops.reset)
		scsi->ops.reset(scsi->opaque);
}

static void vscsi_connected(void *opaque, bool connected)
{
	struct vireo_scsi *scsi = opaque;

	driver_gone(scsi);
	if (scsi->ops.connected)
		scsi->ops.connected(scsi->opaque, connected);
}

static void vscsi_memory_changed(void *opaque)
{
	const struct vireo_scsi *scsi = opaque;

	if (scsi->ops.memory_changed)
		scsi->ops.memory_changed(scsi->opaque);
}

static int vscsi_postcopy(void *opaque, bool on)
{
	const struct vireo_scsi *scsi = opaque;

	return scsi->ops.postcopy ? scsi->ops.postcopy(scsi->opaque, on) : 0;
}

/* ---- queues ---- */

static bool is_request_queue(const struct vireo_queue *queue)
{
	return vireo_queue_index(queue) >= VIREO_SCSI_REQUEST_QUEUE;
}

static struct vscsi_queue *request_queue(struct vireo_scsi *scsi, const struct vireo_queue *queue)
{
	return &scsi->queue[vireo_queue_index(queue) - VIREO_SCSI_REQUEST_QUEUE];
}

static void vscsi_queue_kicked(void *opaque, struct vireo_queue *queue)
{
	struct vireo_scsi *scsi = opaque;

	if (vireo_queue_index(queue) == SCSI_CONTROL_QUEUE)
		vscsi_control_kicked(scsi, queue);
	else
		vscsi_events_kicked(scsi, queue);
}

static void vscsi_queue_started(void *opaque, struct vireo_queue *queue)
{
	struct vireo_scsi *scsi = opaque;
	struct vscsi_queue *q = request_queue(scsi, queue);

	if (vscsi_slots_new(q, vireo_queue_size(queue))) {
		vireo_device_break(scsi->device, "no memory for a queue");
		return;
	}
	q->at.queue = queue;
	if (scsi->ops.queue_started)
		scsi->ops.queue_started(scsi->opaque, q->index);
}

static void own_queue_stop(struct vireo_scsi *scsi, struct vireo_queue *queue)
{
	if (vireo_queue_index(queue) == SCSI_EVENT_QUEUE)
		scsi->events = NULL;
	else
		vscsi_control_stop(scsi);
	vireo_queue_quiesced(queue);
}

static void vscsi_queue_stop(void *opaque, struct vireo_queue *queue)
{
	struct vireo_scsi *scsi = opaque;
	struct vscsi_queue *q;

	if (!is_request_queue(queue)) {
		own_queue_stop(scsi, queue);
		return;
	}
	q = request_queue(scsi, queue);
	__atomic_store_n(&q->at.stopping, true, __ATOMIC_RELAXED);
	if (!q->at.queue) /* it could not be started */
		vireo_queue_quiesced(queue);
	else if (scsi->ops.queue_stop)
		scsi->ops.queue_stop(scsi->opaque, q->index);
	else
		vireo_scsi_queue_quiesced(scsi, q->index);
}

void vireo_scsi_queue_quiesced(struct vireo_scsi *scsi, unsigned queue)
{
	struct vscsi_queue *q = &scsi->queue[queue];
	struct vireo_queue *running;

	assert(queue < scsi->queues);
	running = q->at.queue;
	if (!running)
		return;
	shelf_show(&q->at);
	assert(!q->at.in_flight); /* the application still has a command */
	q->at.queue = NULL;
	shelf_free(&q->at);
	vireo_queue_quiesced(running);
}

/* What has been popped of the event queue has been pushed. */
static int own_queue_renew(const struct vireo_scsi *scsi, struct vireo_queue *queue)
{
	if (vireo_queue_index(queue) == SCSI_CONTROL_QUEUE && !vscsi_control_kept(scsi))
		return -EOPNOTSUPP;
	vireo_queue_renewed(queue);
	return 0;
}

static int vscsi_queue_renew(void *opaque, struct vireo_queue *queue)
{
	struct vireo_scsi *scsi = opaque;
	const struct vscsi_queue *q;

	if (!is_request_queue(queue))
		return own_queue_renew(scsi, queue);
	q = request_queue(scsi, queue);
	if (!q->at.queue || (scsi->ops.queue_stop && !scsi->ops.queue_renew))
		return -EOPNOTSUPP;
	if (scsi->ops.queue_renew)
		return scsi->ops.queue_renew(scsi->opaque, q->index);
	vireo_queue_renewed(queue);
	return 0;
}

void vireo_scsi_queue_renewed(struct vireo_scsi *scsi, unsigned queue)
{
	assert(queue < scsi->queues);
	if (scsi->queue[queue].at.queue)
		vireo_queue_renewed(scsi->queue[queue].at.queue);
}

static void vscsi_queue_enabled(void *opaque, struct vireo_queue *queue, bool enabled)
{
	struct vireo_scsi *scsi = opaque;

	if (vireo_queue_index(queue) == SCSI_EVENT_QUEUE && scsi->events)
		vscsi_events_kicked(scsi, queue);
	else if (is_request_queue(queue) && scsi->ops.queue_enabled)
		scsi->ops.queue_enabled(scsi->opaque, request_queue(scsi, queue)->index, enabled);
}

/* ---- life ---- */

static const struct vireo_device_ops vscsi_device_ops = {
	.size = sizeof(vscsi_device_ops),
	.queue_kicked = vscsi_queue_kicked,
	.queue_started = vscsi_queue_started,
	.queue_stop = vscsi_queue_stop,
	.queue_renew = vscsi_queue_renew,
	.queue_enabled = vscsi_queue_enabled,
	.features_set = vscsi_features_set,
	.config_write = vscsi_config_write,
	.connected = vscsi_connected,
	.reset = vscsi_reset,
	.memory_changed = vscsi_memory_changed,
	.postcopy = vscsi_postcopy,
	.events_missed = vscsi_events_missed,
	.events_missed_set = vscsi_events_missed_set,
	.state_save = vscsi_state_save,
	.state_load = vscsi_state_load,
};

static int vscsi_device_new(struct vireo_scsi *scsi, const struct vireo_scsi_config *config)
{
	const struct virtio_scsi_config_space space = vscsi_space(config);
	const struct vireo_device_config device = {
		.size = sizeof(device),
		.device_id = SCSI_DEVICE_ID,
		.features = scsi->features_offered,
		.queue_count = VIREO_SCSI_REQUEST_QUEUE + config->queues,
		.queue_size_max = config->queue_size_max,
		.control_queues_first = VIREO_SCSI_REQUEST_QUEUE,
		.control_queues_keep = true,
		.control_queues_filled = 1u << SCSI_EVENT_QUEUE,
		.config = &space,
		.config_bytes = sizeof(space),
		.ops = &vscsi_device_ops,
		.opaque = scsi,
		.out_of_order = true,
		.state_bytes_max = VSCSI_STATE_BYTES_MAX,
		.log = config->log,
		.name = config->name ? config->name : "scsi",
		.faults = config->faults,
		.notifier = config->notifier,
		.memory = config->memory,
		.memory_max_bytes = config->memory_max_bytes,
	};

	return vireo_device_new(&device, &scsi->device);
}

static void vscsi_fill(struct vireo_scsi *scsi, const struct vireo_scsi_config *config)
{
	scsi->opaque = config->opaque;
	scsi->queues = config->queues;
	scsi->features_offered = vscsi_features_offered(config);
	scsi->command_room_bytes = config->command_room_bytes;
	scsi->management_room_bytes = config->management_room_bytes;
	scsi->segments_max = config->segments_max;
	scsi->change_untold = config->change_untold;
	scsi->protection_first = config->protection_first;
	for (unsigned i = 0; i < scsi->queues; i++) {
		scsi->queue[i].scsi = scsi;
		scsi->queue[i].index = i;
	}
}

static int vscsi_new(const struct vireo_scsi_config *config, struct vireo_scsi **ret_scsi)
{
	size_t bytes = sizeof(struct vireo_scsi) + config->queues * sizeof(struct vscsi_queue);
	struct vireo_scsi *scsi = aligned_alloc(_Alignof(struct vireo_scsi), bytes);
	int r;

	if (!scsi)
		return -ENOMEM;
	memset(scsi, 0, bytes);
	vscsi_fill(scsi, config);
	r = config_copy(&scsi->ops, sizeof(scsi->ops), config->ops);
	if (!r && (!scsi->ops.submit || !scsi->ops.manage))
		r = -EINVAL;
	if (!r)
		r = vscsi_device_new(scsi, config);
	if (r) {
		free(scsi);
		return r;
	}
	vscsi_sizes_reset(scsi);
	*ret_scsi = scsi;
	return 0;
}

int vireo_scsi_new(const struct vireo_scsi_config *config, struct vireo_scsi **ret_scsi)
{
	struct vireo_scsi_config copy;
	int r = config_copy(&copy, sizeof(copy), config);

	if (!r)
		r = vscsi_config_check(&copy);
	return r ? r : vscsi_new(&copy, ret_scsi);
}

void vireo_scsi_free(struct vireo_scsi *scsi)
{
	if (!scsi)
		return;
	assert(!scsi->managing); /* the application still has some */
	vireo_device_free(scsi->device);
	for (unsigned i = 0; i < scsi->queues; i++)
		shelf_free(&scsi->queue[i].at);
	free(scsi);
}

struct vireo_device *vireo_scsi_device(struct vireo_scsi *scsi)
{
	return scsi->device;
}

/* ---- counters ---- */

/* Words behind a size, each read by itself. */
static size_t words_read(const uint64_t *from, void *ret, size_t bytes, size_t room)
{
	for (size_t at = sizeof(size_t); at < bytes && at + sizeof(uint64_t) <= room; at += sizeof(uint64_t)) {
		uint64_t value = from ? counter_read(from++) : 0;

		memcpy((char *)ret + at, &value, sizeof(value));
	}
	return min_u64(bytes, room);
}

void vireo_scsi_queue_stats(const struct vireo_scsi *scsi, unsigned queue, struct vireo_scsi_queue_stats *ret_stats)
{
	const uint64_t *from = queue < scsi->queues ? &scsi->queue[queue].stats.commands : NULL;

	_Static_assert(sizeof(*ret_stats) == offsetof(struct vireo_scsi_queue_stats, no_status) + sizeof(uint64_t), "counters alone");
	ret_stats->size = words_read(from, ret_stats, sizeof(*ret_stats), ret_stats->size);
}

void vireo_scsi_stats(const struct vireo_scsi *scsi, struct vireo_scsi_stats *ret_stats)
{
	_Static_assert(sizeof(*ret_stats) == offsetof(struct vireo_scsi_stats, events_lost) + sizeof(uint64_t), "counters alone");
	ret_stats->size = words_read(&scsi->stats.managements, ret_stats, sizeof(*ret_stats), ret_stats->size);
}
