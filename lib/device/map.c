/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include <assert.h>

/*
 * Guest memory changes under queues that run.
 *
 *	control thread				worker
 *	device_map_set(): the device's map
 *	is another one, and is offered to
 *	each ring that runs			...
 *	the peer is answered; its driver makes
 *	chains in what is new			ring_pop(): takes what was offered, goes by it
 *	the next one is offered: has the last
 *	been taken? Then the one before it
 *	is let go of; if not, it is itself
 *
 * What has been popped is not looked up again: it points into mappings, which belong to the regions of both maps. So a map that keeps all
 * that the one before has may come at any moment, and nobody waits: not for a worker, nor for a back end that holds its chains. One
 * that takes something away comes while all queues are quiet, with no chain out and no ring.
 *
 * A map is let go of by the control thread alone, and never is the last to hold a mapping while a queue runs. A queue that does not pop
 * holds two: no peer can pile them up.
 */

bool device_map_takes_away(const struct vireo_device *device, const struct map *map)
{
	return device_running(device) && !map_keeps(map, device->map);
}

static void queue_map_offer(struct vireo_queue *queue, struct map *map)
{
	struct map *untaken = ring_map_offer(queue->ring, map);

	assert(!untaken || untaken == queue->map_next);
	if (!untaken && queue->map_next) {
		map_unref(queue->map);
		queue->map = queue->map_next;
	}
	map_unref(untaken);
	queue->map_next = map_ref(map);
}

void queue_map_begin(struct vireo_queue *queue)
{
	queue->map = map_ref(queue->device->map);
}

void queue_map_end(struct vireo_queue *queue)
{
	map_unref(queue->map);
	map_unref(queue->map_next);
	queue->map = queue->map_next = NULL;
}

void device_map_set(struct vireo_device *device, struct map *map)
{
	struct map *old = device->map;

	assert(!device_map_takes_away(device, map));
	device->map = map;
	__atomic_fetch_add(&device->maps_set, 1, __ATOMIC_RELAXED);
	if (device->ops.memory_changed) /* before chains can lie in it */
		device->ops.memory_changed(device->opaque);
	device_log_memory_changed(device);
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			queue_map_offer(&device->queues[i], map);
	map_unref(old);
}

struct map *device_map(const struct vireo_device *device)
{
	return device->map;
}
