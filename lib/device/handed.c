/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_internal.h"
#include <assert.h>
#include <errno.h>

/*
 * A session that goes on in another process. Most of what a device knows is told again by the verbs that told it here: features,
 * memory, each queue's size, addresses, base and fds. A queue knows a little more, which no peer says: that it has run (and
 * so is left alone while it is disabled), has lied, or stands exactly where its base says.
 *
 * What is told is anybody's bytes: a queue that "stands there" begins there and is checked as any other, so a lie in it harms the rings
 * that it speaks of.
 */

#define FLAGS_ALL (DEVICE_QUEUE_RAN | DEVICE_QUEUE_HALTED | DEVICE_QUEUE_SURE | DEVICE_QUEUE_CARRIED | DEVICE_QUEUE_OWES)

void device_hold(struct vireo_device *device, bool on)
{
	assert(!on || !device_running(device));
	device->held = on;
}

const char *device_hold_refused(const struct vireo_device *device)
{
	if (device_late(device))
		return "its memory has not all come (postcopy)";
	return device->log_all || device->log_named ? "what is written to its memory is logged, or about to be (a migration)" : NULL;
}

bool device_status_is_required(const struct vireo_device *device)
{
	return device->status_required;
}

static uint32_t queue_flags(const struct vireo_queue *queue)
{
	return (queue->ran ? DEVICE_QUEUE_RAN : 0) | (queue->halted ? DEVICE_QUEUE_HALTED : 0) | (queue->sure ? DEVICE_QUEUE_SURE : 0) |
	       (queue->carried ? DEVICE_QUEUE_CARRIED : 0) | (queue->owes ? DEVICE_QUEUE_OWES : 0);
}

bool device_queue_state(const struct vireo_device *device, uint32_t index, struct device_queue_state *ret_state)
{
	const struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;

	if (!queue)
		return false;
	assert(!queue->running);
	*ret_state = (struct device_queue_state){
		.size = queue->size,
		.desc = queue->desc_uaddr,
		.driver = queue->driver_uaddr,
		.device_area = queue->device_uaddr,
		.base = queue->base,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call.fd,
		.error_fd = queue->error.fd,
		.flags = queue_flags(queue),
		.addressed = queue->addressed,
		.based = queue->based,
		.kickable = queue->kickable,
		.enabled = queue->enabled,
	};
	return true;
}

int device_queue_go_on(struct vireo_device *device, uint32_t index, uint32_t flags)
{
	struct vireo_queue *queue = index < device->queue_count ? &device->queues[index] : NULL;

	if (!queue || flags & ~FLAGS_ALL || ((flags & DEVICE_QUEUE_SURE) && !queue->based))
		return -EINVAL;
	assert(device->held && !queue->running);
	queue->ran = flags & DEVICE_QUEUE_RAN;
	queue->halted = flags & DEVICE_QUEUE_HALTED;
	queue->sure = flags & DEVICE_QUEUE_SURE;
	queue->carried = flags & DEVICE_QUEUE_CARRIED;
	queue->owes = flags & DEVICE_QUEUE_OWES && queue->region;
	queue->fresh = queue->fresh && !queue->ran;
	return 0;
}
