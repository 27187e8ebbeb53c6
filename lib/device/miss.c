/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/miss.h"
#include <errno.h>
#include <stdlib.h>

/*
 * What a queue has missed: an address that is not in the map yet. It has stopped there, and starts again when the map has it.
 *
 * Behind an IOMMU (a patient device) a driver's buffers come one page at a time, and go as soon as they have been used; each
 * miss stops the queue, and a receive queue that stands still loses frames. So one that starts after a miss, or for the first
 * time, or after something has been taken away, looks ahead: what of the next buffers is not in the map is asked for at the
 * same time, and so is what of its own areas is not. One that runs has that done when it has popped all that it could, and more lies
 * there, or when something has been taken away: if the answers come before it needs them, it never stands still. (In the latter case for
 * what is to be written to alone: what is read is mostly used by then, and can wait.) It waits for what the first chains need alone, and no longer than until
 * device_misses_settle() says: what does not come may not be needed, or be a lie of which the ring will tell.
 */

#define SOON_CHAINS 4u /* with so many it runs, and what it needs then may come meanwhile */

int misses_new(struct vireo_device *device)
{
	device->misses = calloc(device->queue_count, sizeof(device->misses[0]));
	if (!device->misses)
		return -ENOMEM;
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queues[i].miss = &device->misses[i];
	return 0;
}

void misses_free(struct vireo_device *device)
{
	free(device->misses);
}

void miss_raise(struct vireo_queue *queue, uint64_t gpa, bool write)
{
	struct queue_miss *miss = queue->miss;

	if (miss->missed)
		return;
	miss->looked = false;
	miss->gpa = gpa;
	miss->maps = __atomic_load_n(&queue->device->maps_set, __ATOMIC_RELAXED);
	miss->write = write;
	__atomic_store_n(&miss->missed, true, __ATOMIC_RELAXED); /* device_miss_raise() releases it */
	device_miss_raise(queue->device);
}

void miss_near(struct vireo_queue *queue, uint64_t gpa)
{
	struct queue_miss *miss = queue->miss;
	uint64_t maps = __atomic_load_n(&queue->device->maps_set, __ATOMIC_RELAXED);

	if (miss->near_gpa == gpa && miss->near_maps == maps)
		return;
	miss->near_gpa = gpa;
	miss->near_maps = maps;
	__atomic_store_n(&miss->near, true, __ATOMIC_RELAXED); /* device_miss_raise() releases it */
	device_miss_raise(queue->device);
}

void miss_forget(struct vireo_queue *queue)
{
	struct queue_miss *miss = queue->miss;

	miss->missed = false;
	miss->looked = false;
	miss->gone = false;
	__atomic_store_n(&miss->near, false, __ATOMIC_RELAXED);
	miss->ahead_count = miss->ahead_awaited = 0;
	miss->ahead_settled = false;
}

bool device_queue_missed(const struct vireo_device *device, uint32_t index, unsigned nth, uint64_t *ret_gpa,
			 bool *ret_write)
{
	const struct queue_miss *miss;
	struct ring_absence absent;
	bool missed;

	if (index >= device->queue_count)
		return false;
	miss = &device->misses[index];
	missed = !device->queues[index].running && miss->missed; /* while it runs, that is the worker's */
	if (nth >= missed + miss->ahead_count)
		return false;
	absent = nth < missed ? (struct ring_absence){ miss->gpa, miss->write } : miss->ahead[nth - missed];
	*ret_gpa = absent.gpa;
	*ret_write = absent.write;
	return true;
}

bool device_misses_settle(struct vireo_device *device)
{
	bool settled = false;

	for (unsigned i = 0; i < device->queue_count; i++) {
		struct queue_miss *miss = &device->misses[i];

		miss->gone |= miss->ahead_count != 0; /* if it runs: what has been used meanwhile is asked for no longer */
		if (device->queues[i].running) {
			miss_come(&device->queues[i]);
			continue;
		}
		if (miss->missed || !miss->ahead_awaited)
			continue;
		if (!miss->ahead_old) {
			miss->ahead_old = true;
			continue;
		}
		miss->ahead_count = miss->ahead_awaited = 0;
		miss->ahead_settled = settled = true;
	}
	return settled;
}

void device_misses_look(struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			device->misses[i].gone = true;
		else
			device->misses[i].looked = false;
}

static bool is_there(const struct vireo_queue *queue, uint64_t gpa, bool write)
{
	struct map_cache cache = { 0 };
	uint64_t usable;

	return map_at(queue->device->map, &cache, gpa, write, &usable);
}

static bool same_page(uint64_t a, uint64_t b)
{
	return a / RING_PAGE_BYTES == b / RING_PAGE_BYTES;
}

/* What has come is left out, and what has been missed meanwhile. True: some of what it waits for is not there. */
static bool ahead_remains(struct vireo_queue *queue)
{
	struct queue_miss *miss = queue->miss;
	unsigned kept = 0, awaited = 0;

	for (unsigned i = 0; i < miss->ahead_count; i++) {
		struct ring_absence absent = miss->ahead[i];

		if (is_there(queue, absent.gpa, absent.write) || (!queue->running && miss->missed && same_page(absent.gpa, miss->gpa)))
			continue;
		awaited += i < miss->ahead_awaited;
		miss->ahead[kept++] = absent;
	}
	miss->ahead_count = kept;
	miss->ahead_awaited = awaited;
	return awaited;
}

void miss_come(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;
	struct queue_miss *miss = queue->miss;
	bool near = __atomic_exchange_n(&miss->near, false, __ATOMIC_RELAXED);

	if (!device->patient || device_late(device) || !(near || miss->gone)) {
		ahead_remains(queue);
		return;
	}
	miss->gone = false;
	miss->ahead_awaited = 0;
	miss->ahead_count = ring_absent_running(queue->ring, device->map, !near, miss->ahead, ARRAY_SIZE(miss->ahead));
}

/*
 * What it has met is still not in memory, or not to be written to. That is a lie if the map has been asked for since; if
 * not, something else has made queues quiet, and the transport will hear of the miss, or has heard of it. Behind an
 * IOMMU any number of maps may come before the one that has it.
 */
bool miss_remains(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;
	struct queue_miss *miss = queue->miss;
	bool ahead = ahead_remains(queue);

	if (miss->missed && !is_there(queue, miss->gpa, miss->write)) {
		if (!device->patient && miss->maps != device->maps_set)
			device_break_now(device, queue, "an address outside guest memory");
		return true;
	}
	miss->missed = false;
	return ahead;
}

/* Where an area is not in the map, page by page: the first is missed, others will be. */
static void area_missed(struct vireo_queue *queue, uint64_t start, uint64_t bytes, bool write)
{
	struct queue_miss *miss = queue->miss;
	struct map_cache cache = { 0 };
	uint64_t usable;

	for (uint64_t done = 0; done < bytes; done += usable) {
		uint64_t gpa = start + done;

		if (map_at(queue->device->map, &cache, gpa, write, &usable))
			continue;
		usable = RING_PAGE_BYTES - gpa % RING_PAGE_BYTES;
		if (!miss->missed) {
			miss->ahead_count = miss->ahead_awaited = 0; /* buffers come later */
			miss_raise(queue, gpa, write);
		} else if (miss->ahead_count < ARRAY_SIZE(miss->ahead)) {
			miss->ahead[miss->ahead_count++] = (struct ring_absence){ gpa, write };
			miss->ahead_awaited++;
		}
	}
}

bool miss_areas(struct vireo_queue *queue, bool packed)
{
	struct ring_area area = ring_area_bytes(packed, queue->size);

	area_missed(queue, queue->desc_uaddr, area.desc_bytes, packed);
	area_missed(queue, queue->driver_uaddr, area.driver_bytes, false);
	area_missed(queue, queue->device_uaddr, area.device_bytes, true);
	return queue_missed(queue);
}

bool miss_ahead(struct vireo_queue *queue, const struct ring_setup *setup)
{
	struct queue_miss *miss = queue->miss;

	if (miss->looked)
		return false;
	miss->looked = true;
	miss->ahead_old = false;
	miss->ahead_count =
		ring_absent(setup, miss->ahead, ARRAY_SIZE(miss->ahead), SOON_CHAINS, &miss->ahead_awaited);
	if (!miss->ahead_awaited)
		miss->ahead_settled = false;
	if (miss->ahead_settled)
		miss->ahead_awaited = 0;
	return miss->ahead_awaited;
}
