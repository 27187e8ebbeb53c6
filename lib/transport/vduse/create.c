/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The control file makes and destroys devices. A device outlives whoever made it: one that is there already was left
 * behind by a daemon that was killed. If it was made as we would make it, it is taken over as it is; if not, or if the
 * kernel has given it up, it is destroyed and made anew, unless somebody uses it.
 *
 * API version and VDUSE features are the device's for life. The kernel does not tell which versions it has, only
 * whether it takes one.
 */

#define CONTROL_PATH "/dev/vduse/control"
#define FEATURES_WANTED                                                                                      \
	((UINT64_C(1) << VDUSE_WIRE_F_QUEUE_READY_BIT) | (UINT64_C(1) << VDUSE_WIRE_F_SUSPEND_BIT))

static int control_ioctl(const struct vduse *v, int control_fd, unsigned long request, void *argument)
{
	return v->kernel.ioctl(v->kernel.opaque, control_fd, request, argument);
}

static int control_open(const struct vduse *v)
{
	return v->kernel.open(v->kernel.opaque, CONTROL_PATH, O_RDWR | O_CLOEXEC);
}

int vduse_control_check(const struct vduse *v)
{
	int fd = control_open(v);

	if (fd < 0)
		return fd;
	fd_close(&fd);
	return 0;
}

/* A kernel that does not know these calls has no such features. */
static uint64_t control_features(const struct vduse *v, int control_fd)
{
	uint64_t features = 0;

	if (control_ioctl(v, control_fd, VDUSE_WIRE_GET_FEATURES, &features))
		return 0;
	features &= FEATURES_WANTED;
	return features && !control_ioctl(v, control_fd, VDUSE_WIRE_SET_FEATURES, &features) ? features : 0;
}

static int control_negotiate(struct vduse *v, int control_fd)
{
	uint64_t api;
	int r = -EINVAL;

	for (api = VDUSE_WIRE_API_MAX + 1; r && api--;)
		r = control_ioctl(v, control_fd, VDUSE_WIRE_SET_API_VERSION, &(uint64_t){ api });
	if (r)
		return r;
	v->key.api = api;
	v->key.vduse_features = control_features(v, control_fd);
	return 0;
}

static int control_create(const struct vduse *v, int control_fd)
{
	struct vduse_wire_config *wire = calloc(1, sizeof(*wire) + v->key.config_bytes);
	int r;

	if (!wire)
		return -ENOMEM;
	memcpy(wire->name, v->name, strlen(v->name));
	wire->device_id = v->key.device_id;
	wire->features = v->key.features;
	wire->queue_count = v->key.queue_count;
	wire->queue_align_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	if (v->key.api) /* one group in one address space: no queue is anybody's but the driver's */
		wire->group_count = wire->space_count = 1;
	wire->config_bytes = v->key.config_bytes;
	device_config_read(v->device, 0, wire + 1, v->key.config_bytes);
	r = control_ioctl(v, control_fd, VDUSE_WIRE_CREATE_DEV, wire);
	free(wire);
	return r;
}

static int control_destroy(const struct vduse *v, int control_fd)
{
	char name[VDUSE_WIRE_NAME_BYTES] = { 0 };

	memcpy(name, v->name, strlen(v->name));
	return control_ioctl(v, control_fd, VDUSE_WIRE_DESTROY_DEV, name);
}


static int device_open(struct vduse *v)
{
	char path[sizeof("/dev/vduse/") + VDUSE_NAME_BYTES];
	int fd;

	snprintf(path, sizeof(path), "/dev/vduse/%s", v->name);
	fd = v->kernel.open(v->kernel.opaque, path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd == -ENOENT) /* the module is there, and what makes nodes is not */
		return -EADDRNOTAVAIL;
	if (fd < 0)
		return fd;
	v->fd = fd;
	return 0;
}

/*
 * It was made with `found`, as we would make it. It is not worth anything if the predecessor has answered too late, or never:
 * somebody took it off the bus while nobody served it. All that the kernel says of it from then on is -EPERM. While it
 * is on the bus it cannot be made anew: then it is taken, and endpoint.c tells.
 */
static int take(struct vduse *v, int control_fd, const struct vduse_key *found, bool *ret_taken)
{
	uint64_t features;
	int r = device_open(v);

	if (r)
		return r;
	if (vduse_ioctl(v, VDUSE_WIRE_DEV_GET_FEATURES, &features) == -EPERM) {
		fd_close(&v->fd); /* who has it open is a user */
		r = control_destroy(v, control_fd);
		if (r != -EBUSY)
			return r ? r : control_create(v, control_fd);
	}
	v->key = *found;
	*ret_taken = true;
	return 0;
}

/* -EEXIST: there is one, which is neither ours to take over nor to be destroyed. */
static int create_or_take(struct vduse *v, int control_fd, bool *ret_taken)
{
	int r = control_negotiate(v, control_fd);
	struct vduse_key found = v->key;

	*ret_taken = false;
	if (r)
		return r;
	r = control_create(v, control_fd);
	if (r != -EEXIST)
		return r;
	if (vduse_state_matches(&v->state, &found))
		return take(v, control_fd, &found, ret_taken);
	r = control_destroy(v, control_fd);
	if (r == -EBUSY && vduse_state_is_older(&v->state, &found))
		return take(v, control_fd, &found, ret_taken);
	return r ? (r == -EBUSY ? -EEXIST : r) : control_create(v, control_fd);
}

/* All of them, before the device can be attached. */
static int queues_announce(const struct vduse *v)
{
	for (uint32_t i = 0; i < v->key.queue_count; i++) {
		struct vduse_wire_queue_config wire = { .index = i, .size_max = (uint16_t)v->key.queue_size };
		int r = vduse_ioctl(v, VDUSE_WIRE_VQ_SETUP, &wire);

		if (r)
			return r;
	}
	return 0;
}

int vduse_config_write(const struct vduse *v)
{
	struct vduse_wire_config_data *wire;
	int r;

	if (!v->key.config_bytes)
		return 0;
	wire = malloc(sizeof(*wire) + v->key.config_bytes);
	if (!wire)
		return -ENOMEM;
	*wire = (struct vduse_wire_config_data){ .bytes = v->key.config_bytes };
	device_config_read(v->device, 0, wire + 1, v->key.config_bytes);
	r = vduse_ioctl(v, VDUSE_WIRE_DEV_SET_CONFIG, wire);
	free(wire);
	return r;
}

/*
 * Of a device that was taken over: what its maker may have been killed in the middle of, and config space, which may
 * be another now. One whose driver runs has no need of the former, which says the same; API 1 refuses it.
 */
static void device_refresh(struct vduse *v)
{
	queues_announce(v);
	vduse_config_write(v);
}

static int device_begin(struct vduse *v, bool taken)
{
	int r = v->fd < 0 ? device_open(v) : 0;

	if (r)
		return r;
	if (taken)
		device_refresh(v);
	else
		r = queues_announce(v);
	if (!r && !taken)
		r = vduse_state_begin(&v->state, &v->key);
	if (r)
		fd_close(&v->fd);
	return r;
}

int vduse_create(struct vduse *v, bool *ret_taken)
{
	int control_fd = control_open(v);
	bool taken;
	int r;

	if (control_fd < 0)
		return control_fd;
	r = create_or_take(v, control_fd, &taken);
	if (!r) {
		r = device_begin(v, taken);
		if (r && !taken)
			control_destroy(v, control_fd);
	}
	fd_close(&control_fd);
	if (!r)
		*ret_taken = taken;
	return r;
}

int vduse_destroy(struct vduse *v)
{
	int control_fd = control_open(v);
	int r;

	if (control_fd < 0)
		return control_fd;
	r = control_destroy(v, control_fd);
	fd_close(&control_fd);
	return r;
}
