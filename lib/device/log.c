/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/barrier.h"
#include "device/device_internal.h"
#include "mem/dirty.h"
#include "ring/log.h"
#include <assert.h>
#include <errno.h>

/*
 * The dirty log of a device: what its queues write to guest memory, for a front end that moves its guest to another machine
 * (vhost-user: "Migration"). Three things are told, in any order, while queues run: the log itself, whether everything is to be
 * logged, and for each ring whether, and where, what is written to the ring is. Each change gives every queue that runs a struct
 * ring_log, which its worker takes at its next call; ring/log.c says why nothing is missed in between.
 *
 *	control thread: offers, barrier, answers	worker: takes, at its next call
 *	queue->log, log_next: the ones it may use	(as with maps, see map.c)
 *
 * All that can be wrong with a log is found here: it covers all of guest memory, and each place where a ring is logged, or it
 * is refused. What it is cut short by later is found like memory that is.
 *
 * A log takes the place of another one when all queues are quiet, for the front end looks at the old one once more when it has the
 * answer, and then never again. What is left in the old one is carried over: a front end that stops a device forgets the log
 * and names another one when it has set the device up again, and rings may run before that. Where there was none and rings have
 * run, everything is marked.
 */

static struct map *device_memory(const struct vireo_device *device)
{
	return device->memory ? device->memory : device->map;
}

/* Behind an IOMMU, where a ring is logged is told by its driver's addresses, if at all, and found by what the ring's are. */
static bool queue_log_told(const struct vireo_queue *queue)
{
	return !queue->device->memory && !device_accepted(queue->device, VIREO_F_RING_PACKED_BIT);
}

/* Without a size it is looked at again when the queue starts. */
static bool queue_log_fits(const struct vireo_queue *queue, const struct dirty_log *log)
{
	if (!log || !queue->log_areas || !queue->size || !queue_log_told(queue))
		return true;
	return dirty_log_covers(log, queue->log_gpa, ring_area_bytes(false, queue->size).device_bytes);
}

/* ---- what queues go by ---- */

static int area_told(uint64_t gpa, uint64_t bytes, struct ring_log_area *area)
{
	int r = ring_log_area_new(area, gpa, bytes);

	for (unsigned i = 0; !r && i < area->pages; i++)
		area->gpas[i] = gpa - area->into + (uint64_t)i * DIRTY_PAGE_BYTES;
	return r;
}

/*
 * Where `bytes` of the peer's address `at` lie in guest memory. False: nowhere, or in several places: windows behind an IOMMU may
 * end anywhere, and regions that lie far from each other may be neighbours in our address space.
 */
static bool piece_find(const struct vireo_device *device, uint64_t at, uint64_t bytes, uint64_t *ret_gpa)
{
	struct map_cache cache = { 0 }, back = { 0 };
	uint64_t gpa, seen = bytes, here;

	for (uint64_t done = 0; done < bytes; done += min_u64(seen, here)) {
		void *host = device->patient ? map_at(device->map, &cache, at + done, true, &seen)
					     : map_uaddr(device->map, at + done, bytes - done);

		if (!host || !map_host(device_memory(device), &back, host, &gpa, &here))
			return false;
		if (!done)
			*ret_gpa = gpa;
		else if (gpa != *ret_gpa + done)
			return false;
	}
	return true;
}

/* Where the area lies, page by page of the peer's addresses, in guest memory. */
static int area_find(const struct vireo_device *device, uint64_t start, uint64_t bytes, struct ring_log_area *area)
{
	int r = ring_log_area_new(area, start, bytes);

	for (unsigned i = 0; !r && i < area->pages; i++) {
		uint64_t at = i ? start - area->into + (uint64_t)i * DIRTY_PAGE_BYTES : start, gpa = 0;

		if (!piece_find(device, at, min_u64(start + bytes - at, DIRTY_PAGE_BYTES - at % DIRTY_PAGE_BYTES), &gpa))
			r = -EFAULT;
		else
			area->gpas[i] = gpa - at % DIRTY_PAGE_BYTES;
	}
	return r;
}

static int queue_log_areas(const struct vireo_queue *queue, struct ring_log *log)
{
	const struct vireo_device *device = queue->device;
	bool packed = device_accepted(device, VIREO_F_RING_PACKED_BIT);
	struct ring_area area = ring_area_bytes(packed, queue->size);
	int r = 0;

	if (queue_log_told(queue))
		return area_told(queue->log_gpa, area.device_bytes, &log->device);
	if (packed)
		r = area_find(device, queue->desc_uaddr, area.desc_bytes, &log->desc);
	return r ? r : area_find(device, queue->device_uaddr, area.device_bytes, &log->device);
}

static int queue_log_new(const struct vireo_queue *queue, struct ring_log **ret_log)
{
	struct vireo_device *device = queue->device;
	struct ring_log *log = ring_log_new(device_logs(device) ? device->dirty_log : NULL, device_memory(device));
	int r = log ? 0 : -ENOMEM;

	if (!r && log->dirty && queue->log_areas)
		r = queue_log_areas(queue, log);
	if (r)
		ring_log_free(log);
	else
		*ret_log = log;
	return r;
}

/* As queue_map_offer(). */
static int queue_log_offer(struct vireo_queue *queue)
{
	struct ring_log *log, *untaken;
	int r = queue_log_new(queue, &log);

	if (r)
		return r;
	untaken = ring_log_offer(queue->ring, log);
	assert(!untaken || untaken == queue->log_next);
	if (!untaken && queue->log_next) {
		ring_log_free(queue->log);
		queue->log = queue->log_next;
	}
	ring_log_free(untaken);
	queue->log_next = log;
	return 0;
}

const char *queue_log_begin(struct vireo_queue *queue)
{
	queue->device->log_ran |= queue->device->log_all && !queue->device->dirty_log;
	if (!device_logs(queue->device))
		return NULL;
	if (!queue_log_fits(queue, queue->device->dirty_log))
		return "where the ring is logged lies behind the end of the dirty log";
	return queue_log_offer(queue) ? "the ring cannot be logged: no memory, or it lies outside of what is logged" : NULL;
}

void queue_log_end(struct vireo_queue *queue)
{
	ring_log_free(queue->log);
	ring_log_free(queue->log_next);
	queue->log = queue->log_next = NULL;
}

static int device_log_offer(struct vireo_device *device)
{
	int r = 0;

	for (unsigned i = 0; i < device->queue_count && !r; i++)
		if (device->queues[i].running)
			r = queue_log_offer(&device->queues[i]);
	(void)barrier_everywhere();
	return r;
}

void device_log_memory_changed(struct vireo_device *device)
{
	if (device_logs(device) && !device->memory && device_log_offer(device))
		device_break_now(device, NULL, "no memory for the dirty log");
}

/* ---- what the peer says ---- */

bool device_log_replaces(const struct vireo_device *device)
{
	return device_logs(device) && device_running(device);
}

bool device_log_covers(const struct vireo_device *device, const struct map *map)
{
	return !device_logs(device) || dirty_log_covers_map(device->dirty_log, map);
}

void device_log_memory_set(struct vireo_device *device, struct map *memory)
{
	device->memory = memory;
	if (memory && device_logs(device) && device_log_offer(device))
		device_break_now(device, NULL, "no memory for the dirty log");
}

static const char *log_wrong(const struct vireo_device *device, const struct dirty_log *log)
{
	if (!dirty_log_covers_map(log, device_memory(device)))
		return "the dirty log ends before guest memory does";
	for (unsigned i = 0; i < device->queue_count; i++)
		if (!queue_log_fits(&device->queues[i], log))
			return "where a ring is logged lies behind the end of the dirty log";
	return NULL;
}

int device_log_set(struct vireo_device *device, struct dirty_log *log, const char **why)
{
	struct dirty_log *old = device->dirty_log;

	assert(!device_log_replaces(device));
	*why = log_wrong(device, log);
	if (*why)
		return -EINVAL;
	if (old && device->log_all)
		dirty_log_carry(log, old);
	else if (device->log_all && device->log_ran && device_memory(device))
		dirty_log_mark_map(log, device_memory(device));
	device->log_ran = false;
	device->log_named = !device->log_all;
	device->dirty_log = dirty_log_ref(log);
	dirty_log_unref(old);
	*why = "out of memory";
	log_bell_begin(device);
	return device_log_offer(device);
}

int device_log_switch(struct vireo_device *device, bool on, const char **why)
{
	if (on == device->log_all)
		return 0;
	*why = on && device->dirty_log ? log_wrong(device, device->dirty_log) : NULL;
	if (*why)
		return -EINVAL;
	device->log_all = on;
	device->log_named = false;
	if (on)
		device->log_ran = !device->dirty_log && device_running(device);
	*why = "out of memory";
	log_bell_begin(device);
	return device->dirty_log ? device_log_offer(device) : 0;
}

int device_queue_log_set(struct vireo_device *device, uint32_t index, bool on, uint64_t gpa, const char **why)
{
	struct vireo_queue *queue;

	*why = "no such ring";
	if (index >= device->queue_count)
		return -EINVAL;
	queue = &device->queues[index];
	if (on == queue->log_areas && (!on || gpa == queue->log_gpa))
		return 0;
	queue->log_areas = on;
	queue->log_gpa = gpa;
	*why = "where the ring is logged lies behind the end of the dirty log";
	if (!queue_log_fits(queue, device->dirty_log)) {
		queue->log_areas = false;
		return -EINVAL;
	}
	*why = "out of memory";
	return queue->running && device_logs(device) ? device_log_offer(device) : 0;
}

bool device_queue_logs(const struct vireo_device *device, uint32_t index)
{
	return index < device->queue_count && device->queues[index].log_areas;
}

void device_log_reset(struct vireo_device *device)
{
	device->log_named |= device->log_all && device->dirty_log;
	device->log_all = false;
}

void device_log_forget(struct vireo_device *device)
{
	device->log_all = device->log_ran = device->log_named = false;
	log_bell_end(device);
	dirty_log_unref(device->dirty_log);
	device->dirty_log = NULL;
}
