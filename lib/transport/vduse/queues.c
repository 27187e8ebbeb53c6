/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/loop.h"
#include "wire/feature_names.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * What the driver has set up is asked of the kernel when the driver says that it is done (DRIVER_OK): addresses, sizes,
 * and where each queue begins. Kicks come by an eventfd that is made here.
 *
 * Signals are an ioctl, which a worker calls itself. The kernel takes it only once it has noted DRIVER_OK, a moment
 * after our answer to it, and queues run from that answer on. A signal that comes in between is refused: its queue is
 * noted, and the control thread tries again. So it does with what it has to tell of config space.
 *
 * How far a ring has come, the device knows as long as it is not reset; after a takeover the used index and the record do.
 */

#define SIGNAL_RETRY_MS 1u
#define SIGNAL_TRIES_MAX 2000u /* the kernel's thread has not run for seconds: then the driver is as good as gone */

/* ---- set-up ---- */

int vduse_negotiate(struct vduse *v, const char **why)
{
	const uint64_t own = VIREO_FEATURE(VDUSE_F_ACCESS_PLATFORM_BIT);
	char text[FEATURES_TEXT_BYTES];
	uint64_t features;
	int r = vduse_ioctl(v, VDUSE_WIRE_DEV_GET_FEATURES, &features);

	if (r) {
		*why = "the driver's features cannot be read";
		return r;
	}
	if (features & ~v->key.features) {
		*why = "features that were not offered";
		return -EINVAL;
	}
	r = device_features_set(v->device, features & ~own);
	if (r) {
		*why = "the device does not take these features";
		return r;
	}
	v->negotiated = true;
	features = vireo_device_features(v->device) | (features & own);
	log_info(device_log(v->device), "%s: features negotiated: %#" PRIx64 " (%s)", device_name(v->device), features,
		 features_text(text, device_id(v->device), features));
	return 0;
}

/* The device has the eventfd; the kernel holds a reference of its own. */
static int kick_set(struct vduse *v, unsigned index)
{
	struct vduse_wire_kick wire = { .index = index };
	int fd, r = fd_event_new(&fd);

	if (r)
		return r;
	wire.fd = fd;
	r = device_queue_kick_set(v->device, index, fd);
	if (r) {
		fd_close(&fd);
		return r;
	}
	return vduse_ioctl(v, VDUSE_WIRE_VQ_SETUP_KICKFD, &wire);
}

static int queue_set_up(struct vduse *v, const struct vduse_wire_queue_info *info, bool again)
{
	/* The kernel does not compare it with what was announced. */
	int r = info->size > v->key.queue_size ? -EINVAL : device_queue_size_set(v->device, info->index, info->size);

	if (!r)
		r = device_queue_address_set(v->device, info->index, info->desc, info->driver, info->device);
	if (!r)
		r = device_queue_base_set(v->device, info->index, vduse_base(&info->state, vduse_packed(v)));
	if (r)
		return r;
	device_queue_record_set(v->device, info->index, vduse_state_record(&v->state, info->index), again);
	r = kick_set(v, info->index);
	return r ? r : device_queue_enable(v->device, info->index, true);
}

/* The kernel keeps what the driver has set up, and does not follow the ring: this is where it began. */
static bool info_same(const struct vduse_wire_queue_info *a, const struct vduse_wire_queue_info *b,
		      bool packed)
{
	return a->size == b->size && a->desc == b->desc && a->driver == b->driver && a->device == b->device &&
	       vduse_base(&a->state, packed) == vduse_base(&b->state, packed);
}

/* A queue that was stopped by name, and is set up as it was, goes on where it was stopped. */
int vduse_queue_start(struct vduse *v, unsigned index, bool again, const char **why)
{
	struct vduse_queue *queue = &v->queues[index];
	struct vduse_wire_queue_info info = { .index = index };
	int r;

	if (queue->started)
		return 0;
	r = vduse_ioctl(v, VDUSE_WIRE_VQ_GET_INFO, &info);
	if (!r) {
		info.index = index;
		r = queue_set_up(v, &info, again || info_same(&info, &queue->info, vduse_packed(v)));
	}
	if (r) {
		*why = "a queue cannot be set up as the driver says";
		return r;
	}
	queue->info = info;
	queue->started = true;
	return 0;
}

void vduse_queue_stop(struct vduse *v, unsigned index)
{
	struct vduse_wire_kick wire = { .index = index, .fd = -1 };
	uint32_t base;

	v->queues[index].started = false;
	vduse_ioctl(v, VDUSE_WIRE_VQ_SETUP_KICKFD, &wire);
	device_queue_enable(v->device, index, false);
	device_queue_stop(v->device, index, &base);
}

void vduse_queues_forget(struct vduse *v)
{
	for (uint32_t i = 0; i < v->key.queue_count; i++) {
		v->queues[i].started = false;
		v->queues[i].info = (struct vduse_wire_queue_info){ 0 };
	}
}

/* A driver need not use all queues: what is not ready is left alone. */
static int queues_start(struct vduse *v, bool again, const char **why)
{
	vduse_queues_forget(v); /* an earlier DRIVER_OK may have been refused half-way */
	for (unsigned i = 0; i < v->key.queue_count; i++) {
		struct vduse_wire_queue_info info = { .index = i };
		int r = vduse_ioctl(v, VDUSE_WIRE_VQ_GET_INFO, &info);

		if (r)
			*why = "a queue's set-up cannot be read";
		else if (info.ready)
			r = vduse_queue_start(v, i, again, why);
		if (r)
			return r;
	}
	return 0;
}

int vduse_start(struct vduse *v, bool again, const char **why)
{
	int r = v->negotiated ? 0 : vduse_negotiate(v, why);

	if (!r)
		r = vduse_memory_map(v, why);
	return r ? r : queues_start(v, again, why);
}

int vduse_suspended_recover(struct vduse *v, const char **why)
{
	for (uint32_t i = 0; i < v->key.queue_count; i++) {
		int r = v->queues[i].started ? device_queue_recover(v->device, i) : 0;

		if (r) {
			*why = "a queue of a suspended device cannot be read";
			return r;
		}
	}
	return 0;
}

void vduse_resume(struct vduse *v)
{
	if ((v->status & VIREO_STATUS_DRIVER_OK) && !v->suspended && !v->reset_due && !v->break_due && !v->closed)
		device_resume(v->device);
	else
		device_resume_not(v->device);
}

/* ---- signals ---- */

void vduse_signal(void *opaque, unsigned queue)
{
	struct vduse *v = opaque;
	uint32_t index = queue;

	if (vduse_ioctl(v, VDUSE_WIRE_VQ_INJECT_IRQ, &index) != -EINVAL)
		return;
	if (!__atomic_exchange_n(&v->queues[queue].signal_lost, true, __ATOMIC_ACQ_REL))
		fd_event_raise(v->signal_event_fd);
}

void vduse_config_signal(struct vduse *v)
{
	if (vduse_ioctl(v, VDUSE_WIRE_INJECT_CONFIG_IRQ, NULL) != -EINVAL || !(v->status & VIREO_STATUS_DRIVER_OK))
		return;
	v->config_signal_lost = true;
	v->signal_tries = SIGNAL_TRIES_MAX;
	loop_timer_start(v->signal_timer, SIGNAL_RETRY_MS);
}

/* Another refusal leaves the mark, and a worker that comes meanwhile leaves it to us. */
static bool signals_retry(struct vduse *v)
{
	bool left = false;

	if (v->config_signal_lost) {
		v->config_signal_lost = vduse_ioctl(v, VDUSE_WIRE_INJECT_CONFIG_IRQ, NULL) == -EINVAL;
		left = v->config_signal_lost;
	}
	for (uint32_t i = 0; i < v->key.queue_count; i++) {
		if (!__atomic_exchange_n(&v->queues[i].signal_lost, false, __ATOMIC_ACQ_REL))
			continue;
		if (vduse_ioctl(v, VDUSE_WIRE_VQ_INJECT_IRQ, &i) != -EINVAL)
			continue;
		__atomic_store_n(&v->queues[i].signal_lost, true, __ATOMIC_RELEASE);
		left = true;
	}
	return left;
}

static void signals_due(void *opaque)
{
	struct vduse *v = opaque;

	if (!signals_retry(v))
		return;
	if (v->signal_tries && --v->signal_tries) {
		loop_timer_start(v->signal_timer, SIGNAL_RETRY_MS);
		return;
	}
	v->config_signal_lost = false;
	for (unsigned i = 0; i < v->key.queue_count; i++)
		__atomic_store_n(&v->queues[i].signal_lost, false, __ATOMIC_RELEASE);
}

static void signals_event(void *opaque, uint32_t events)
{
	struct vduse *v = opaque;

	fd_event_clear(v->signal_event_fd);
	v->signal_tries = SIGNAL_TRIES_MAX;
	signals_due(v);
}

int vduse_queues_new(struct vduse *v)
{
	int r;

	v->queues = calloc(v->key.queue_count, sizeof(*v->queues));
	if (!v->queues)
		return -ENOMEM;
	r = fd_event_new(&v->signal_event_fd);
	if (!r)
		r = loop_add(v->loop, v->signal_event_fd, EPOLLIN, signals_event, v, &v->signal_watch);
	return r ? r : loop_timer_new(v->loop, signals_due, v, &v->signal_timer);
}

void vduse_queues_free(struct vduse *v)
{
	loop_remove(&v->signal_watch);
	if (v->signal_timer)
		loop_timer_free(&v->signal_timer);
	fd_close(&v->signal_event_fd);
	free(v->queues);
}
