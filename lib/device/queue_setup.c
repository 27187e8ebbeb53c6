/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/fd.h"
#include "device/miss.h"
#include <assert.h>
#include <errno.h>

/*
 * What the peer says about a queue. Stored here, with checks of its own; checked against memory when the
 * queue starts.
 */

void queue_init(struct vireo_queue *queue, struct vireo_device *device, unsigned index, bool control)
{
	*queue = (struct vireo_queue){
		.device = device,
		.index = index,
		.control = control,
		.kick_fd = -1,
		.call = BELL_INIT,
		.error = BELL_INIT,
	};
}

static void queue_enable(struct vireo_queue *queue, bool on)
{
	__atomic_store_n(&queue->enabled, on, __ATOMIC_RELEASE);
}

void queue_reset(struct vireo_queue *queue)
{
	assert(!queue->running);
	queue_ended(queue);
	drop_fd(device_drop_get(queue->device), &queue->kick_fd);
	queue->kickable = false;
	queue->addressed = false;
	queue->fresh = queue->ran = false;
	queue->waiting = false;
	queue->halted = false;
	queue->log_areas = false;
	miss_forget(queue);
	if (queue->size) {
		queue->left = queue->based;
		queue->left_base = queue->base;
	}
	queue->size = 0;
	queue->told = queue->carried = false;
	queue->based = queue->sure = queue->owes = false;
	if (queue->region)
		ring_ledger_clear(queue->region);
	queue_enable(queue, false);
}

/* A ring that has run was one of the other format. What has been set up and not been started may be meant for this one. */
void queue_format_changed(struct vireo_queue *queue)
{
	if (!queue->ran)
		return;
	queue->addressed = false;
	queue->told = queue->carried = false;
	queue->based = queue->sure = false;
	if (queue->region)
		ring_ledger_clear(queue->region);
}

/* What its records say is for a successor. */
void queue_forget(struct vireo_queue *queue)
{
	queue->record = queue->region = NULL;
	queue->region_ours = false;
	queue_reset(queue);
	queue->left = false;
	bell_unset(&queue->call);
	bell_unset(&queue->error);
}

void queue_fini(struct vireo_queue *queue)
{
	bell_forget(&queue->call);
	bell_forget(&queue->error);
}

/* A peer need not tell where a new ring begins: a packed one in the lap whose wrap counters are 1 (virtio 1.3, 2.8.1). */
uint32_t queue_base(const struct vireo_queue *queue)
{
	if (queue->based)
		return queue->base;
	return device_accepted(queue->device, VIREO_F_RING_PACKED_BIT) ? RING_BASE_PACKED_NEW : 0;
}

/* All 32 bits of a peer's index. */
static struct vireo_queue *queue_quiet(struct vireo_device *device, uint32_t index)
{
	struct vireo_queue *queue;

	if (index >= device->queue_count)
		return NULL;
	queue = &device->queues[index];
	assert(!queue->running);
	return queue;
}

/* What it waited for belongs to the ring that it was, and so does a place that was found there. */
static void queue_anew(struct vireo_queue *queue)
{
	if (!queue->sure)
		queue_ended(queue);
	queue->fresh = true;
	queue->left = false;
	queue->halted = queue->ran = false;
	if (!queue->carried) {
		queue->base = queue->told_base;
		queue->based = queue->told;
	}
	miss_forget(queue);
}

int device_queue_size_set(struct vireo_device *device, uint32_t index, uint32_t size)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue || !size || size > device->queue_size_max)
		return -EINVAL;
	/*
	 * virtio 1.3, 2.7: a split queue's size is a power of two. Before the features are known, the start
	 * checks it.
	 */
	if (device->features && !device_accepted(device, VIREO_F_RING_PACKED_BIT) && (size & (size - 1)))
		return -EINVAL;
	queue->sure = queue->sure && size == queue->size;
	queue->size = size;
	queue_anew(queue);
	return 0;
}

int device_queue_address_set(struct vireo_device *device, uint32_t index, uint64_t desc, uint64_t driver,
			     uint64_t device_area)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	queue->sure = queue->sure && desc == queue->desc_uaddr && driver == queue->driver_uaddr &&
		      device_area == queue->device_uaddr;
	queue->desc_uaddr = desc;
	queue->driver_uaddr = driver;
	queue->device_uaddr = device_area;
	queue->addressed = true;
	queue_anew(queue);
	return 0;
}

bool device_queue_kickable(const struct vireo_device *device, uint32_t index)
{
	return index < device->queue_count && device->queues[index].kickable;
}

bool device_queue_set_up(const struct vireo_device *device, uint32_t index)
{
	const struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;

	return queue && queue->size && queue->addressed && queue->kickable && !queue->halted;
}

bool device_queue_goes_on(const struct vireo_queue *queue)
{
	return queue->goes_on;
}

bool device_queue_runs(const struct vireo_device *device, uint32_t index)
{
	return index < device->queue_count && device->queues[index].running;
}

bool device_queue_runs_at(const struct vireo_device *device, uint32_t index, uint64_t desc, uint64_t driver, uint64_t device_area)
{
	const struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;

	return queue && queue->running && desc == queue->desc_uaddr && driver == queue->driver_uaddr &&
	       device_area == queue->device_uaddr;
}

int device_queue_base_set(struct vireo_device *device, uint32_t index, uint32_t base)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	if (device->features && !device_accepted(device, VIREO_F_RING_PACKED_BIT) && base > UINT16_MAX)
		return -EINVAL;
	if (queue->sure && base == queue->base && !queue->halted)
		return 0; /* what we have told */
	queue->sure = false;
	queue->told_base = base;
	queue->told = true;
	queue->carried = false;
	queue_anew(queue);
	return 0;
}

/* Kicks are never read: a pipe would fill up, and bring no more of them. Such a queue is polled. */
int device_queue_kick_set(struct vireo_device *device, uint32_t index, int fd)
{
	struct vireo_queue *queue = queue_quiet(device, index);
	bool polled = fd >= 0 && fd_is_pipe(fd);
	int r = !queue ? -EINVAL : fd < 0 || polled ? 0 : fd_notifier_borrow(fd);

	if (r)
		return r;
	if (polled)
		drop_fd(device_drop_get(device), &fd);
	drop_fd(device_drop_get(device), &queue->kick_fd);
	queue->kick_fd = fd;
	queue->kickable = true;
	queue->fresh = true;
	queue->halted = queue->ran = false;
	return 0;
}

static int queue_bell_set(struct vireo_device *device, struct bell *bell, int fd)
{
	bell->drop = device_drop_get(device);
	return bell_set(bell, device->notifier, fd);
}

int device_queue_call_set(struct vireo_device *device, uint32_t index, int fd)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	queue->signal_aside = (struct signal_aside){ 0 }; /* whoever waits for this one is not known yet; a quiet queue owes nothing */
	return queue_bell_set(device, &queue->call, fd);
}

/* Only the control thread uses it: the queue may run. */
int device_queue_error_set(struct vireo_device *device, uint32_t index, int fd)
{
	return index < device->queue_count ? queue_bell_set(device, &device->queues[index].error, fd) : -EINVAL;
}

int device_queue_enable(struct vireo_device *device, uint32_t index, bool on)
{
	struct vireo_queue *queue;

	if (index >= device->queue_count)
		return -EINVAL;
	queue = &device->queues[index];
	if (queue->enabled == on)
		return 0;
	queue_enable(queue, on);
	queue->halted = false;
	if (device->ops.queue_enabled)
		device->ops.queue_enabled(device->opaque, queue, on);
	return 0;
}

static void queue_region_set(struct vireo_queue *queue, void *region, uint32_t entries)
{
	queue->region_ours = queue->region_ours && region == queue->region && entries == queue->region_entries;
	queue->region = region;
	queue->region_entries = entries;
}

int device_queue_record_set(struct vireo_device *device, uint32_t index, void *record, bool again)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue || (record && !queue->size))
		return -EINVAL;
	if (record && !again && device->out_of_order)
		ring_ledger_clear(record);
	else if (record && !again)
		ring_record_clear(record);
	queue->region_ours = queue->region_kept = false; /* the caller knows, and made it: a new one may be there because the last one is lost */
	if (device->out_of_order)
		queue_region_set(queue, record, queue->size);
	else
		queue->record = record;
	return 0;
}

/* A packed ring's ledger is the longer one. */
size_t device_queue_record_bytes(const struct vireo_device *device, uint32_t size)
{
	return device->out_of_order ? ring_ledger_bytes(true, size) : ring_record_bytes(size);
}

size_t device_queue_inflight_bytes(const struct vireo_device *device, uint32_t entries)
{
	return ring_ledger_bytes(device_accepted(device, VIREO_F_RING_PACKED_BIT), entries);
}

int device_queue_inflight_set(struct vireo_device *device, uint32_t index, void *region, uint32_t entries)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	queue_region_set(queue, region, entries);
	queue->region_kept = true;
	return 0;
}

int device_queue_base(struct vireo_device *device, uint32_t index, uint32_t *ret_base)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	if (queue->owes && queue->region)
		return -EBUSY;
	*ret_base = queue_base(queue);
	return 0;
}

bool device_queue_owes(const struct vireo_device *device, uint32_t index)
{
	return index < device->queue_count && device->queues[index].region && device->queues[index].owes;
}

int device_queue_stop(struct vireo_device *device, uint32_t index, uint32_t *ret_base)
{
	struct vireo_queue *queue = queue_quiet(device, index);

	if (!queue)
		return -EINVAL;
	drop_fd(device_drop_get(queue->device), &queue->kick_fd);
	queue->kickable = false;
	*ret_base = queue->left ? queue->left_base : queue_base(queue);
	return 0;
}
