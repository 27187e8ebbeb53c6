/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/util.h"
#include <errno.h>
#include <string.h>

/* What the kernel says, a row per message. Rows say what must be quiet; what a value means is checked here. */

static int refuse(int r, const char *text, const char **why)
{
	if (r)
		*why = text;
	return r;
}

/* ---- status ---- */

/*
 * A device that was broken begins anew with the driver: nothing of what was said before holds. Nor does what workers have
 * found out by now, and nobody has heard of yet.
 */
void vduse_reset(struct vduse *v)
{
	device_settle(v->device);
	v->reset_due = false;
	v->status = 0;
	v->negotiated = false;
	v->suspended = false;
	vduse_state_suspended_set(&v->state, false);
	v->miss_due = false;
	vduse_queues_forget(v);
	device_status_set(v->device, 0);
	device_map_set(v->device, NULL);
	if (!v->broken && !v->break_due)
		return;
	v->broken = false;
	v->break_due = v->lost;
	device_session_end(v->device);
	device_session_begin(v->device);
	device_status_required(v->device, true);
}

static int status_negotiated(struct vduse *v, const char **why)
{
	return v->negotiated ? 0 : vduse_negotiate(v, why);
}

static int driver_ok(struct vduse *v, const char **why)
{
	uint8_t once[VDUSE_ONCE_BYTES];
	int r = vduse_start(v, false, why);

	if (!r && vduse_once(v->device, once))
		vduse_state_once_set(&v->state, once);
	return r;
}

/*
 * The kernel tells every status that the driver writes, and takes our refusal for the driver's: FEATURES_OK then does
 * not stay set (virtio 1.3, 3.1.1). After a restart a status may come that has been carried out already.
 */
static int handle_set_status(struct vduse *v, const struct vduse_request *request,
			     struct vduse_response *response, const char **why)
{
	uint8_t fresh = request->status & (uint8_t)~v->status;
	int r = 0;

	if (!request->status) {
		vduse_reset(v);
		return 0;
	}
	if (v->broken)
		return refuse(-EIO, "the device is broken until it is reset", why);
	if (fresh & VIREO_STATUS_DRIVER_OK)
		r = driver_ok(v, why);
	else if (fresh & VIREO_STATUS_FEATURES_OK)
		r = status_negotiated(v, why);
	if (r)
		return r;
	v->status = request->status;
	device_status_set(v->device, request->status);
	return 0;
}

/* ---- queues ---- */

/*
 * It goes on afterwards: who wants it to stop says so by status, or by SUSPEND. Where it stands, no place in a ring says as long as
 * something is owed.
 */
static int handle_get_vq_state(struct vduse *v, const struct vduse_request *request,
			       struct vduse_response *response, const char **why)
{
	struct vduse_wire_queue_info info = { .index = request->queue };
	uint32_t base;
	int r;

	if (request->queue >= v->key.queue_count)
		return refuse(-EINVAL, "no such queue", why);
	if (v->status & VIREO_STATUS_DRIVER_OK) {
		r = device_queue_base(v->device, request->queue, &base);
		if (r == -EBUSY && vduse_serve_first(v))
			return 0;
		if (!r)
			response->state = vduse_state(base, vduse_packed(v));
		return refuse(r, "where the queue stands cannot be told", why);
	}
	r = vduse_ioctl(v, VDUSE_WIRE_VQ_GET_INFO, &info);
	response->state = info.state;
	return refuse(r, "the queue's set-up cannot be read", why);
}

/* Before DRIVER_OK the kernel keeps it, and tells it with the rest. */
static int handle_set_vq_ready(struct vduse *v, const struct vduse_request *request,
			       struct vduse_response *response, const char **why)
{
	if (request->queue >= v->key.queue_count)
		return refuse(-EINVAL, "no such queue", why);
	if (!(v->status & VIREO_STATUS_DRIVER_OK) || v->broken)
		return 0;
	if (request->ready)
		return vduse_queue_start(v, request->queue, false, why);
	vduse_queue_stop(v, request->queue);
	return 0;
}

/* There is no way back but a reset; and whoever suspends will ask where queues stand, to go on elsewhere. */
static int handle_suspend(struct vduse *v, const struct vduse_request *request,
			  struct vduse_response *response, const char **why)
{
	uint32_t base;

	for (uint32_t i = 0; i < v->key.queue_count; i++)
		if (v->queues[i].started && device_queue_base(v->device, i, &base) == -EBUSY)
			return vduse_serve_first(v) ? 0 : refuse(-EBUSY, "chains that were in flight in a killed program are not served", why);
	v->suspended = true;
	vduse_state_suspended_set(&v->state, true);
	return 0;
}

/* ---- memory ---- */

/*
 * A range is named, and all of it asked for again: see memory.c. Without a driver there is no map to be wrong. Where
 * there is no new map, nothing goes on with the old one: memory may have been taken away.
 */
static int handle_update_iotlb(struct vduse *v, const struct vduse_request *request,
			       struct vduse_response *response, const char **why)
{
	int r;

	if (!(v->status & VIREO_STATUS_DRIVER_OK) || v->broken)
		return 0;
	r = vduse_memory_map(v, why);
	if (r)
		v->break_due = true;
	return r;
}

/* We declare one group and one address space. */
static int handle_set_vq_group_asid(struct vduse *v, const struct vduse_request *request,
				    struct vduse_response *response, const char **why)
{
	return refuse(request->group || request->space ? -EINVAL : 0, "no such group or address space", why);
}

/* ---- rows ---- */

#define NEEDS(name) .feature = VDUSE_WIRE_F_##name##_BIT + 1

static const struct vduse_row rows[VDUSE_MSG_COUNT] = {
	[VDUSE_MSG_GET_VQ_STATE] = { "GET_VQ_STATE", handle_get_vq_state, .quiet = VDUSE_QUIET_QUEUE, .tells = true },
	[VDUSE_MSG_SET_STATUS] = { "SET_STATUS", handle_set_status, .quiet = VDUSE_QUIET_ALL },
	[VDUSE_MSG_UPDATE_IOTLB] = { "UPDATE_IOTLB", handle_update_iotlb, .quiet = VDUSE_QUIET_ALL },
	[VDUSE_MSG_SET_VQ_GROUP_ASID] = { "SET_VQ_GROUP_ASID", handle_set_vq_group_asid, .api = 1 },
	[VDUSE_MSG_SET_VQ_READY] = { "SET_VQ_READY", handle_set_vq_ready, .quiet = VDUSE_QUIET_QUEUE,
				     .patient = true, .tells = true, NEEDS(QUEUE_READY) },
	[VDUSE_MSG_SUSPEND] = { "SUSPEND", handle_suspend, .quiet = VDUSE_QUIET_ALL, .tells = true, NEEDS(SUSPEND) },
};

const struct vduse_row *vduse_row(const struct vduse *v, uint32_t type, const char **why)
{
	const struct vduse_row *row = type < ARRAY_SIZE(rows) ? &rows[type] : NULL;

	*why = "there is no such message";
	if (!row || !row->handle)
		return NULL;
	*why = "it belongs to an API version or feature that has not been negotiated";
	if (row->api > v->key.api ||
	    (row->feature && !(v->key.vduse_features & (UINT64_C(1) << (row->feature - 1)))))
		return NULL;
	return row;
}
