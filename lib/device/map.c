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
 * that the one before has may come at any moment, and nobody waits: not for a worker, nor for a back end that holds its chains.
 *
 * One that takes something away (device_map_change()) must not be told to be in force while somebody may still touch what has gone.
 * A queue whose own ring lies there is stopped. Any other goes on, so that nothing that comes for it is lost:
 *
 *	control thread				worker
 *	1 offers the map to the ring
 *	2 ops->queue_renew: says so to the
 *	  data path (a flag of the queue)	a call that began before 2 may pop by the old map, copy, keep chains
 *	3 waits until every call that began
 *	  before 2 has ended			a call that begins after 2 sees the flag first: what was kept is
 *	4 vireo_queue_renewed()			given back untouched (unpop), and popped again by the new map
 *
 * Why nobody touches what has gone after 4. Chains' memory is touched in calls only, and each looks at the flag before it touches
 * any. Had it begun before 2, it has ended by 3. If it began after 2, it has seen the flag (release and acquire), therefore also the
 * offer of 1, which is before it in the control thread: its ring_pop() takes the map offered or a later one, and of chains popped
 * before that it touches none. A call that has seen the offer and not the flag holds chains by both maps, and is one of those that 3
 * waits for. A flag that is set again before it has been seen is seen once, for both; the worker clears it in one step with its look,
 * so it never clears one that it has not obeyed.
 * The ring's own areas are where they were in both maps, and so are used entries, which are written without the map.
 *
 * After 4 the map before is let go of if the ring has taken the new one: chains that were kept are not looked at but to be given
 * back. Who has not popped meanwhile is idle. Where memory itself has gone, and not only a view of it, its queue is stopped and
 * started, so that nothing stays mapped for it.
 *
 * A map is let go of by the control thread alone, and never is the last to hold a mapping that a worker may touch. A queue that does
 * not pop holds two: no peer can pile them up.
 */

bool device_map_takes_away(const struct vireo_device *device, const struct map *map)
{
	return (device_running(device) || device_beginning(device)) && !map_keeps(map, device->map);
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

/* Between the ring's set-up and now another one may have come. */
void queue_map_begin(struct vireo_queue *queue, struct map *map)
{
	queue->map = map_ref(map);
	if (map != queue->device->map)
		queue_map_offer(queue, queue->device->map);
}

void queue_map_end(struct vireo_queue *queue)
{
	map_unref(queue->map);
	map_unref(queue->map_next);
	queue->map = queue->map_next = NULL;
}

/* Returns the one before: the caller's. */
static struct map *map_install(struct vireo_device *device, struct map *map)
{
	struct map *old = device->map;

	device->map = map;
	__atomic_fetch_add(&device->maps_set, 1, __ATOMIC_RELAXED);
	if (device->ops.memory_changed) /* before chains can lie in it */
		device->ops.memory_changed(device->opaque);
	device_log_memory_changed(device);
	return old;
}

void device_map_set(struct vireo_device *device, struct map *map)
{
	struct map *old;

	assert(!device_map_takes_away(device, map));
	old = map_install(device, map);
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			queue_map_offer(&device->queues[i], map);
	map_unref(old);
}

/* A queue that goes on has the map; one that does not, its ring's own. */
static void queue_map_change(struct vireo_queue *queue, struct map *map, bool kept)
{
	if (!kept) {
		queue_quiesce(queue);
		return;
	}
	queue_map_offer(queue, map);
	queue_renew(queue);
}

void device_map_change(struct vireo_device *device, struct map *map, bool unmaps, void (*done)(void *opaque), void *opaque)
{
	struct map *old;

	quiesce_begin(device, done, opaque);
	device->map_changing = true;
	device->map_unmaps = unmaps;
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queues[i].kept = device->queues[i].running && queue_areas_kept(&device->queues[i], map);
	old = map_install(device, map);
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running || device->queues[i].begin)
			queue_map_change(&device->queues[i], map, device->queues[i].kept);
	map_unref(old);
	quiesce_drop(device);
}

/* It has renewed. */
static void queue_map_settle(struct vireo_queue *queue)
{
	if (!queue->map_next)
		return;
	if (!ring_map_taken(queue->ring)) {
		if (queue->device->map_unmaps)
			queue_quiesce(queue);
		return;
	}
	map_unref(queue->map);
	queue->map = queue->map_next;
	queue->map_next = NULL;
}

bool maps_settle(struct vireo_device *device)
{
	if (!device->map_changing)
		return true;
	device->map_changing = false;
	device->quiesce_waits = 1;
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			queue_map_settle(&device->queues[i]);
	return !--device->quiesce_waits;
}

struct map *device_map(const struct vireo_device *device)
{
	return device->map;
}
