/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "device/device_internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Starting queues and taking them back.
 *
 * A queue starts as soon as it is complete and does not wait for a first kick: when this program takes over
 * from one that crashed, the driver's "no kick wanted" flag may still be set and no kick would ever come. For
 * the same reason the start publishes the notification state anew, and signals the driver once: a signal may
 * have been lost together with the predecessor, and one too many does no harm (virtio 1.3, 2.3).
 *
 * Control queues never leave the control thread: their kick is watched here, and ops->queue_kicked called on
 * every kick and once at the start. Afterwards a kick is asked for anew; what has come before that is found
 * by asking, and is served after others had their turn.
 */

#define CONTROL_POLL_MS 10u /* a control queue whose driver asks for polling */
#define CONTROL_MORE_MS 1u /* queue_kicked has left chains: others get their turn first */

/* ---- control queues ---- */

static void control_serve(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (device->ops.queue_kicked)
		device->ops.queue_kicked(device->opaque, queue);
	if (!queue->running || device->broken || ring_error(queue->ring))
		return;
	if (ring_kick_enable(queue->ring, true))
		loop_timer_start(queue->poll_timer, CONTROL_MORE_MS);
	else if (queue->kick_fd < 0)
		loop_timer_start(queue->poll_timer, CONTROL_POLL_MS);
}

static void control_kicked(void *opaque, uint32_t events)
{
	control_serve(opaque);
}

static void control_polled(void *opaque)
{
	control_serve(opaque);
}

static void control_unwatch(struct vireo_queue *queue)
{
	loop_remove(&queue->kick_watch);
	if (queue->poll_timer)
		loop_timer_free(&queue->poll_timer);
}

static int control_watch(struct vireo_queue *queue)
{
	struct loop *loop = queue->device->loop;
	int r = loop_timer_new(loop, control_polled, queue, &queue->poll_timer);

	/* Edge-triggered and never read: a peer that shares the fd could make a read block. */
	if (!r && queue->kick_fd >= 0)
		r = loop_add(loop, queue->kick_fd, EPOLLIN | EPOLLET, control_kicked, queue,
			     &queue->kick_watch);
	if (r)
		control_unwatch(queue);
	return r;
}

/* ---- start ---- */

/*
 * DRIVER_OK, where status is told - or the queue has been enabled by name: QEMU 7.2 tells status of some
 * device types up to FEATURES_OK and never DRIVER_OK, but enables their queues.
 */
static bool queue_complete(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;

	if (device->status_required && !(device->status & VIREO_STATUS_DRIVER_OK) && !queue->enabled)
		return false;
	return device->map && queue->size && queue->addressed && queue->kickable;
}

/* Where this process sees the three areas. False: one of them is not in guest memory. */
static bool queue_translate(const struct vireo_queue *queue, struct ring_setup *setup)
{
	const struct map *map = queue->device->map;
	struct ring_area area = ring_area_bytes(setup->packed, queue->size);

	setup->desc = map_uaddr(map, queue->desc_uaddr, area.desc_bytes);
	setup->driver = map_uaddr(map, queue->driver_uaddr, area.driver_bytes);
	setup->device = map_uaddr(map, queue->device_uaddr, area.device_bytes);
	return setup->desc && setup->driver && setup->device;
}

/*
 * A ring that has just been set up outside memory is a lie. One from under which memory has been taken waits:
 * a front end that changes a region removes it first and adds it again.
 */
static void queue_outside_memory(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (queue->fresh) {
		device_break_now(device, queue, "the ring's addresses are not in guest memory");
		return;
	}
	if (!queue->waiting)
		log_warning(&device->log, "%s: queue %u: its ring is not in guest memory any more, it waits",
			    device->name, queue->index);
	queue->waiting = true;
}

static int queue_ring_new(struct vireo_queue *queue, struct ring_setup *setup, const char **why)
{
	int r;

	*why = "no memory for the ring";
	if (!setup->packed && queue->base > UINT16_MAX) {
		*why = "the base of a split ring has more than 16 bits";
		return -EINVAL;
	}
	r = ring_new(setup, &queue->ring, why);
	if (r || !queue->control)
		return r;
	r = control_watch(queue);
	if (r) {
		*why = strerrordesc_np(-r);
		ring_free(queue->ring);
		queue->ring = NULL;
	}
	return r;
}

static void queue_run(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	queue->running = true;
	ring_kick_enable(queue->ring, true);
	queue_signal(queue);
	log_debug(&device->log, "%s: queue %u started, %u entries, base %#x", device->name, queue->index,
		  queue->size, queue->base);
	if (queue->control)
		control_serve(queue);
	else if (device->ops.queue_started)
		device->ops.queue_started(device->opaque, queue);
}

/*
 * What it has met is still not in memory. That is a lie if the map has been asked for since; if not, something else has
 * made queues quiet, and the transport will hear of the miss, or has heard of it.
 */
static bool queue_misses(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (!queue->missed || map_find(device->map, queue->miss_gpa))
		return false;
	if (queue->miss_maps != device->maps_set)
		device_break_now(device, queue, "an address outside guest memory");
	return true;
}

static struct ring_setup queue_setup(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;

	return (struct ring_setup){
		.packed = device_accepted(device, VIREO_F_RING_PACKED_BIT),
		.indirect = device_accepted(device, VIREO_F_RING_INDIRECT_DESC_BIT),
		.event_idx = device_accepted(device, VIREO_F_RING_EVENT_IDX_BIT),
		.in_order = device_accepted(device, VIREO_F_IN_ORDER_BIT),
		.size = queue->size,
		.base = queue->base,
		.lazy = device->transport->missed,
		.record = queue->record,
		.map = device->map,
	};
}

static void queue_start(struct vireo_queue *queue)
{
	struct ring_setup setup = queue_setup(queue);
	const char *why;

	if (queue_misses(queue))
		return;
	queue->missed = false;
	if (!queue_translate(queue, &setup)) {
		queue_outside_memory(queue);
		return;
	}
	queue->fresh = false;
	queue->waiting = false;
	if (queue_ring_new(queue, &setup, &why))
		device_break_now(queue->device, queue, why);
	else
		queue_run(queue);
}

int device_queue_recover(struct vireo_device *device, uint32_t index)
{
	struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;
	struct ring_setup setup;
	struct ring *ring;
	const char *why;
	int r;

	if (!queue || !queue->size || !queue->addressed || !device->map)
		return -EINVAL;
	assert(!queue->running);
	setup = queue_setup(queue);
	if (!queue_translate(queue, &setup))
		return -EFAULT;
	r = ring_new(&setup, &ring, &why);
	if (r)
		return r;
	queue->base = ring_base(ring);
	ring_free(ring);
	return 0;
}

void device_resume(struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count && device->session && !device->broken; i++) {
		struct vireo_queue *queue = &device->queues[i];

		if (queue->running)
			continue;
		if (queue_complete(queue))
			queue_start(queue);
		else if (!device->map)
			queue->fresh = false;
	}
}

bool device_running(const struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			return true;
	return false;
}

/* ---- quiesce ---- */

/* The last thing its callers do: `done` may go as far as freeing the device. */
static void quiesce_drop(struct vireo_device *device)
{
	void (*done)(void *opaque) = device->quiesce_done;

	assert(device->quiesce_waits);
	if (--device->quiesce_waits)
		return;
	device->quiesce_done = NULL;
	done(device->quiesce_opaque);
}

static void queue_quiesce(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (!queue->running)
		return;
	queue->stopping = true;
	device->quiesce_waits++;
	if (queue->control || !device->ops.queue_stop)
		vireo_queue_quiesced(queue);
	else
		device->ops.queue_stop(device->opaque, queue);
}

void device_quiesce(struct vireo_device *device, uint32_t index, void (*done)(void *opaque), void *opaque)
{
	assert(!device_quiescing(device));
	device->quiesce_done = done;
	device->quiesce_opaque = opaque;
	device->quiesce_waits = 1; /* keeps `done` back until all have been asked */
	for (uint32_t i = 0; i < device->queue_count; i++)
		if (index == DEVICE_ALL_QUEUES || index == i)
			queue_quiesce(&device->queues[i]);
	quiesce_drop(device);
}

bool device_quiescing(const struct vireo_device *device)
{
	return device->quiesce_done;
}

void vireo_queue_quiesced(struct vireo_queue *queue)
{
	assert(queue->running && queue->stopping);
	queue->stopping = false;
	queue->running = false;
	control_unwatch(queue);
	if (!ring_error(queue->ring))
		queue->base = ring_base(queue->ring);
	ring_free(queue->ring);
	queue->ring = NULL;
	quiesce_drop(queue->device);
}
