/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/probe.h"
#include "base/system.h"
#include "device/miss.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Starting queues; quiesce.c takes them back.
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

	if (queue->stopping) /* asked back, and its chains are being ended */
		return;
	if (device->ops.queue_kicked)
		device->ops.queue_kicked(device->opaque, queue);
	if (!queue->running || device->broken || ring_error(queue->ring))
		return;
	if (!queue->filled && ring_kick_enable(queue->ring, true))
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

void device_queue_again(struct vireo_queue *queue)
{
	if (queue->running && queue->poll_timer)
		loop_timer_start(queue->poll_timer, CONTROL_MORE_MS);
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

static bool queue_laid(const struct vireo_queue *queue)
{
	return queue->device->map && queue->size && queue->addressed;
}

/*
 * A queue that is disabled starts when it is set up; what has been stopped for a message is left alone until it
 * is enabled: its driver may have gone, and something else lie where its ring was.
 *
 * DRIVER_OK, where status is told - or the queue has been enabled by name: QEMU 7.2 tells status of some
 * device types up to FEATURES_OK and never DRIVER_OK, but enables their queues.
 */
static bool queue_complete(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;

	if (queue->halted || (queue->ran && !queue->enabled))
		return false;
	if (queue->control && device_late(device))
		return false;
	if (device->status_required && !(device->status & VIREO_STATUS_DRIVER_OK) && !queue->enabled)
		return false;
	return queue_laid(queue) && queue->kickable && queue_there(queue);
}

/*
 * Where all of an area is seen. NULL: nowhere, or not in one piece. Behind an IOMMU guest addresses and user
 * addresses are the same, and neighbours that are in one piece here may have different permissions.
 */
static void *area_at(const struct vireo_device *device, uint64_t start, uint64_t bytes, bool write)
{
	struct map_cache cache = { 0 };
	uint64_t usable;
	uint8_t *host;

	if (!device->patient)
		return map_uaddr(device->map, start, bytes);
	host = map_at(device->map, &cache, start, write, &usable);
	for (uint64_t done = usable; host && done < bytes; done += usable)
		if (map_at(device->map, &cache, start + done, write, &usable) != host + done)
			return NULL;
	return host;
}

static bool area_kept(const struct vireo_queue *queue, const struct map *map, uint64_t start, uint64_t bytes, bool write)
{
	const struct map *before = queue->device->map;
	struct map_cache had_cache = { 0 }, has_cache = { 0 };
	uint64_t had, has;

	if (!queue->device->patient)
		return map_uaddr(map, start, bytes) == map_uaddr(before, start, bytes);
	for (uint64_t done = 0; done < bytes; done += min_u64(had, has)) {
		const void *host = map_at(before, &had_cache, start + done, write, &had);

		if (!host || map_at(map, &has_cache, start + done, write, &has) != host)
			return false;
	}
	return true;
}

bool queue_areas_kept(const struct vireo_queue *queue, const struct map *map)
{
	bool packed = device_accepted(queue->device, VIREO_F_RING_PACKED_BIT);
	struct ring_area area = ring_area_bytes(packed, queue->size);

	return map && area_kept(queue, map, queue->desc_uaddr, area.desc_bytes, packed) &&
	       area_kept(queue, map, queue->driver_uaddr, area.driver_bytes, false) &&
	       area_kept(queue, map, queue->device_uaddr, area.device_bytes, true);
}

/* Where this process sees the three areas. False: one of them is not in guest memory. */
static bool queue_translate(const struct vireo_queue *queue, struct ring_setup *setup)
{
	const struct vireo_device *device = queue->device;
	struct ring_area area = ring_area_bytes(setup->packed, queue->size);

	setup->desc = area_at(device, queue->desc_uaddr, area.desc_bytes, setup->packed);
	setup->driver = area_at(device, queue->driver_uaddr, area.driver_bytes, false);
	setup->device = area_at(device, queue->device_uaddr, area.device_bytes, true);
	return setup->desc && setup->driver && setup->device;
}

/*
 * A patient device's areas may be nowhere yet: then the driver's addresses have to be aligned by themselves.
 */
static int queue_check(const struct vireo_queue *queue, const char **why)
{
	struct ring_setup setup = {
		.packed = device_accepted(queue->device, VIREO_F_RING_PACKED_BIT),
		.size = queue->size,
		.base = queue_base(queue),
		.desc = (void *)(uintptr_t)queue->desc_uaddr,
		.driver = (void *)(uintptr_t)queue->driver_uaddr,
		.device = (void *)(uintptr_t)queue->device_uaddr,
	};

	*why = "the ring's size, addresses or memory have not been set";
	if (!queue_laid(queue))
		return -EINVAL;
	*why = "the ring is not in guest memory";
	if (!queue->device->patient && !queue_translate(queue, &setup))
		return -EFAULT;
	*why = ring_setup_wrong(&setup);
	return *why ? -EINVAL : 0;
}

int device_queue_check(const struct vireo_device *device, uint32_t index, const char **why)
{
	*why = "no such queue";
	return index < device->queue_count ? queue_check(&device->queues[index], why) : -EINVAL;
}

int device_queue_address_check(const struct vireo_device *device, uint32_t index, uint64_t desc,
			       uint64_t driver, uint64_t device_area, const char **why)
{
	struct vireo_queue trial;

	*why = "no such queue";
	if (index >= device->queue_count)
		return -EINVAL;
	trial = device->queues[index];
	trial.desc_uaddr = desc;
	trial.driver_uaddr = driver;
	trial.device_uaddr = device_area;
	trial.addressed = true;
	return queue_check(&trial, why);
}

static void queue_refuse(struct vireo_queue *queue, const char *why)
{
	if (queue->device->transport->halts)
		queue_halt(queue, why);
	else
		device_break_now(queue->device, queue, why);
}

/*
 * A ring that has just been set up outside memory is a lie. One from under which memory has been taken waits:
 * a front end that changes a region removes it first and adds it again.
 */
static void queue_outside_memory(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	if (queue->fresh) {
		queue_refuse(queue, "the ring's addresses are not in guest memory" RING_SHARE_HINT);
		return;
	}
	if (!queue->waiting)
		log_warning(&device->log, "%s: queue %u: its ring is not in guest memory any more, it waits",
			    device->name, queue->index);
	queue->waiting = true;
}

void queue_unstitch(struct vireo_queue *queue)
{
	for (unsigned i = 0; i < ARRAY_SIZE(queue->stitches); i++) {
		map_stitch_free(queue->stitches[i]);
		queue->stitches[i] = NULL;
	}
}

static int area_stitch(struct vireo_queue *queue, unsigned number, uint64_t start, uint64_t bytes, bool write,
		       void **host)
{
	struct map_stitch **stitch = &queue->stitches[number];
	int r = *host ? 0
		      : map_stitch_new(queue->device->map, start, bytes, write, &queue->device->faults,
				       stitch);

	if (!r && *stitch)
		*host = map_stitch_host(*stitch);
	return r;
}

/* All of a ring behind an IOMMU is there, but not in one piece: drivers get pages for it from anywhere. */
static int queue_stitch(struct vireo_queue *queue, struct ring_setup *setup)
{
	struct ring_area area = ring_area_bytes(setup->packed, queue->size);
	int r;

	if (device_late(queue->device) && !(setup->desc && setup->driver && setup->device))
		return -EOPNOTSUPP; /* mapped once more, its pages would be made here, and the peer's be lost */
	r = area_stitch(queue, 0, queue->desc_uaddr, area.desc_bytes, setup->packed, &setup->desc);

	if (!r)
		r = area_stitch(queue, 1, queue->driver_uaddr, area.driver_bytes, false, &setup->driver);
	if (!r)
		r = area_stitch(queue, 2, queue->device_uaddr, area.device_bytes, true, &setup->device);
	if (r)
		queue_unstitch(queue);
	return r;
}

int ring_begin(const struct ring_setup *setup, struct ring **ret_ring, const char **why)
{
	*why = "no memory for the ring";
	if (!setup->packed && setup->base > UINT16_MAX) {
		*why = "the base of a split ring has more than 16 bits";
		return -EINVAL;
	}
	return ring_new(setup, ret_ring, why);
}

void queue_ring_free(struct vireo_queue *queue)
{
	control_unwatch(queue);
	ring_free(queue->ring);
	queue->ring = NULL;
	ring_ledger_free(queue->ledger);
	queue->ledger = NULL;
	queue_map_end(queue);
	queue_log_end(queue);
}

static void queue_run(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;

	queue->running = queue->ran = true;
	queue->paused = false;
	queue->region_ours = queue->region;
	if (!device_late(device)) /* else its helper has done it, unlogged: it is done again when that is over */
		ring_kick_enable(queue->ring, true);
	queue_signal(queue);
	PROBE3(ring_start, device->name, queue->index, queue->size);
	log_debug(&device->log, "%s: queue %u started, %u entries, base %#x", device->name, queue->index,
		  queue->size, queue->base);
	if (queue->control)
		control_serve(queue);
	else if (device->ops.queue_started)
		device->ops.queue_started(device->opaque, queue);
}

/* A split ring shows by itself where a device that completes in order stands. */
static int queue_witness(struct vireo_queue *queue, struct ring_setup *setup, const char **why)
{
	int r = 0;

	*why = "no memory for what is in flight";
	if (queue->region_ours && !queue->sure && !queue->owes)
		ring_ledger_clear(queue->region); /* of a ring that the driver has set up anew since, and that owes nothing */
	if (queue->region)
		r = ring_ledger_new(queue->region, setup->packed, queue->region_entries, &queue->ledger);
	if (queue->ledger)
		setup->witness = ring_ledger_witness(queue->ledger);
	else if (queue->record && setup->packed)
		setup->witness = ring_record_witness(queue->record);
	return r;
}

static struct ring_setup queue_setup(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;
	bool packed = device_accepted(device, VIREO_F_RING_PACKED_BIT);

	return (struct ring_setup){
		.packed = packed,
		.indirect = device_accepted(device, VIREO_F_RING_INDIRECT_DESC_BIT),
		.event_idx = device_accepted(device, VIREO_F_RING_EVENT_IDX_BIT),
		.in_order = device_accepted(device, VIREO_F_IN_ORDER_BIT),
		.size = queue->size,
		.base = queue_base(queue),
		.sure = queue->sure,
		.region_kept = queue->region_kept && queue->told,
		.keeps_order = !device->out_of_order,
		.lazy = device_lazy(device),
		.map = device->map,
	};
}

void queue_base_note(struct vireo_queue *queue, const struct ring *ring)
{
	queue->base = ring_base(ring);
	queue->based = queue->sure = true;
	queue->owes = ring_owes(ring);
}

/* Where there is a record, the peer names where the ring began long ago. */
static void queue_remark(const struct vireo_queue *queue)
{
	const struct vireo_device *device = queue->device;

	if (ring_remark(queue->ring) && queue->based && !queue->record && !queue->region)
		log_warning(&device->log, "%s: queue %u begins at %#x, its base is %#x: %s", device->name, queue->index,
			    ring_base(queue->ring), queue->base, ring_remark(queue->ring));
}

static void queue_tell_owed(const struct vireo_queue *queue)
{
	if (ring_owes(queue->ring))
		log_info(&queue->device->log, "%s: queue %u: %u chains were in flight, and come first", queue->device->name,
			 queue->index, ring_owes(queue->ring));
}

static void queue_tell_believed(const struct vireo_queue *queue)
{
	if (ring_base_believed(queue->ring))
		log_info(&queue->device->log, "%s: queue %u: the memory for what is in flight says nothing yet; what waits at the base is taken for new",
			 queue->device->name, queue->index);
}

/* What lies in the front end's memory for what is in flight is its own, and no driver's that may have gone: it ends the session. */
void queue_run_not(struct vireo_queue *queue, int err, const char *why)
{
	if (queue->ring)
		ring_unused(queue->ring);
	queue_ring_free(queue);
	queue_unstitch(queue);
	if (why)
		queue_ended(queue);
	if (why && err == -EPROTO)
		device_break_now(queue->device, queue, why);
	else if (why)
		queue_refuse(queue, why);
}

void queue_run_begun(struct vireo_queue *queue, struct map *map)
{
	const char *why;
	int r = queue->control ? control_watch(queue) : 0;

	if (r) {
		queue_run_not(queue, r, system_errno_text(-r));
		return;
	}
	queue_remark(queue);
	queue_tell_owed(queue);
	queue_tell_believed(queue);
	queue->goes_on = queue->sure;
	queue_base_note(queue, queue->ring);
	queue_coalesce_begin(queue);
	queue->running = true; /* what it is offered goes to its ring */
	queue_map_begin(queue, map);
	why = queue_log_begin(queue);
	if (!why) {
		queue_run(queue);
		return;
	}
	queue->running = false;
	queue_run_not(queue, -EINVAL, why);
}

static int queue_ring_new(struct vireo_queue *queue, struct ring_setup *setup, const char **why)
{
	int r = queue_witness(queue, setup, why);

	if (r)
		return r;
	if (device_late(queue->device))
		return queue_begin_aside(queue, setup, why);
	r = ring_begin(setup, &queue->ring, why);
	if (!r)
		queue_run_begun(queue, setup->map);
	return r;
}

static void queue_start(struct vireo_queue *queue)
{
	struct vireo_device *device = queue->device;
	struct ring_setup setup = queue_setup(queue);
	const char *why;
	int r;

	if (miss_remains(queue))
		return;
	if (!queue_translate(queue, &setup) && !device->patient) {
		queue_outside_memory(queue);
		return;
	}
	if (device->patient && miss_areas(queue, setup.packed))
		return;
	if (device->patient && queue_stitch(queue, &setup)) {
		device_break_now(device, queue,
				 "the ring is in one piece for its driver alone, and cannot be put together");
		return;
	}
	queue->fresh = false;
	queue->waiting = false;
	if (device->patient && !device_late(device) && miss_ahead(queue, &setup)) {
		queue_unstitch(queue);
		return;
	}
	r = queue_ring_new(queue, &setup, &why);
	if (r)
		queue_run_not(queue, r, why);
}

int device_queue_recover(struct vireo_device *device, uint32_t index)
{
	struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;
	struct ring_setup setup;
	const char *why;
	int r;

	if (!queue || !queue->size || !queue->addressed || !device->map)
		return -EINVAL;
	assert(!queue->running);
	setup = queue_setup(queue);
	if (!queue_translate(queue, &setup))
		return -EFAULT;
	r = queue_witness(queue, &setup, &why);
	if (!r)
		r = ring_new(&setup, &queue->ring, &why);
	if (!r) {
		queue_base_note(queue, queue->ring);
		ring_unused(queue->ring);
	}
	queue_ring_free(queue);
	return r;
}

/* For an answer of the peer, or for a helper. */
static bool queue_awaits(const struct vireo_queue *queue)
{
	return queue->begin || queue->miss->missed || queue->miss->ahead_awaited;
}

void device_resume(struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count && device->session && !device->broken && !device->held; i++) {
		struct vireo_queue *queue = &device->queues[i];

		if (queue->running) {
			miss_come(queue);
			continue;
		}
		if (queue->begin)
			continue;
		if (queue_complete(queue)) {
			queue_start(queue);
			if (!queue->running && !queue_awaits(queue))
				queue_ended(queue);
			continue;
		}
		queue_ended(queue);
		miss_forget(queue); /* it begins anew, perhaps elsewhere */
		if (!device->map)
			queue->fresh = false;
	}
}

void device_resume_not(struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (!device->queues[i].running)
			queue_ended(&device->queues[i]);
}

bool device_running(const struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].running)
			return true;
	return false;
}
