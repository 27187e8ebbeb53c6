/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/miss.h"
#include "base/probe.h"
#include <assert.h>

/*
 * Queues are made quiet: asked back from who serves them (ops->queue_stop), or to look again by another map (ops->queue_renew, map.c).
 * Whoever asks is told when all of them have answered, and one asks at a time.
 */

void quiesce_begin(struct vireo_device *device, void (*done)(void *opaque), void *opaque)
{
	assert(!device_quiescing(device));
	device->quiesce_done = done;
	device->quiesce_opaque = opaque;
	device->quiesce_waits = 1; /* keeps `done` back until all have been asked */
}

/* The last thing its callers do: `done` may go as far as freeing the device. */
void quiesce_drop(struct vireo_device *device)
{
	void (*done)(void *opaque) = device->quiesce_done;

	assert(device->quiesce_waits && done);
	if (--device->quiesce_waits || !maps_settle(device))
		return;
	device->quiesce_done = NULL;
	device->quiesce_tells = false;
	done(device->quiesce_opaque);
}

/* In the control thread, where nothing is held from one call to the next, there is nobody to ask. */
static bool somebody_has(const struct vireo_queue *queue)
{
	return queue->device->ops.queue_stop && (!queue->control || queue->device->control_keeps);
}

/* What its type has kept for the driver is for nobody. */
void queue_ended(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (!queue->paused)
		return;
	queue->paused = false;
	if (device->ops.queue_ended)
		device->ops.queue_ended(device->opaque, queue);
}

void queue_take_back(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	queue->stopping = true;
	if (!somebody_has(queue))
		vireo_queue_quiesced(queue);
	else
		device->ops.queue_stop(device->opaque, queue);
}

void queue_quiesce(struct vireo_queue *queue)
{
	if (!queue->running && !queue->begin)
		return;
	queue->quiesced = true;
	queue->device->quiesce_waits++;
	if (queue->running && !queue->stopping) /* it may be about to be halted */
		queue_take_back(queue);
}

void device_quiesce(struct vireo_device *device, uint32_t index, void (*done)(void *opaque), void *opaque)
{
	quiesce_begin(device, done, opaque);
	for (uint32_t i = 0; i < device->queue_count; i++)
		if (index == DEVICE_ALL_QUEUES || index == i ||
		    (index == DEVICE_MISSED_QUEUES && queue_missed(&device->queues[i])))
			queue_quiesce(&device->queues[i]);
	quiesce_drop(device);
}

void device_quiesce_to_tell(struct vireo_device *device, uint32_t index, void (*done)(void *opaque), void *opaque)
{
	assert(!device_quiescing(device));
	device->quiesce_tells = true;
	device_quiesce(device, index, done, opaque);
}

/* Who asked for it is gone, or does not wait any longer: nobody is told anything. */
void device_quiesce_rest(struct vireo_device *device)
{
	assert(device_quiescing(device));
	device->quiesce_tells = false;
	device->quiesce_waits++; /* keeps `done` back until all have been asked */
	for (uint32_t i = 0; i < device->queue_count; i++)
		if (!device->queues[i].quiesced)
			queue_quiesce(&device->queues[i]);
	quiesce_drop(device);
}

bool device_quiescing(const struct vireo_device *device)
{
	return device->quiesce_done;
}

void vireo_queue_quiesced(struct vireo_queue *queue)
{
	unsigned waits = queue->quiesced + queue->renewing;
	bool tells = queue->quiesced && queue->device->quiesce_tells;

	assert(queue->running && queue->stopping);
	queue_coalesce_end(queue);
	queue->stopping = queue->quiesced = queue->renewing = false;
	queue->running = false;
	PROBE2(ring_stop, queue->device->name, queue->index);
	queue->paused = !queue->control;
	queue_signal_settle(queue);
	queue->carried |= ring_carried(queue->ring);
	if (!ring_error(queue->ring))
		queue_base_note(queue, queue->ring);
	if (tells)
		ring_rest(queue->ring);
	if (__atomic_exchange_n(&queue->lied, false, __ATOMIC_ACQUIRE))
		queue_halt(queue, ring_error(queue->ring));
	ring_log_settle(queue->ring);
	log_bell_tell(queue->device);
	queue_ring_free(queue);
	queue_unstitch(queue);
	if (queue->halted)
		queue_ended(queue);
	for (struct vireo_device *device = queue->device; waits; waits--)
		quiesce_drop(device);
}

void queue_renew(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (queue->stopping) {
		queue_quiesce(queue);
		return;
	}
	if (!somebody_has(queue))
		return;
	if (device->ops.queue_renew) {
		queue->renewing = true;
		device->quiesce_waits++;
		if (!device->ops.queue_renew(device->opaque, queue))
			return;
		queue->renewing = false;
		device->quiesce_waits--;
	}
	queue_quiesce(queue);
}

void vireo_queue_renewed(struct vireo_queue *queue)
{
	if (!queue->renewing)
		return;
	queue->renewing = false;
	quiesce_drop(queue->device);
}
