/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/loop.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * The call that puts a device on the vdpa bus returns when a driver has taken it, and the driver asks us things first;
 * so does the one that takes it off. Made in the control thread they would wait for themselves. The program lends a
 * thread for them. Each side has an end of a pipe, through which the result comes: nothing else is shared.
 */

/* The borrowed thread's. */
struct call {
	struct vduse_kernel kernel;
	char name[VDUSE_NAME_BYTES];
	const char *driver;
	bool add, anew;
	int fd;
};

/* The control thread's. */
struct vduse_aside {
	struct vduse *vduse;
	bool add;
	int fd;
	struct loop_watch *watch;
};

const char *vduse_driver(unsigned attach)
{
	switch (attach) {
	case VIREO_ATTACH_VIRTIO:
		return "virtio_vdpa";
	case VIREO_ATTACH_VHOST:
		return "vhost_vdpa";
	default:
		return NULL;
	}
}

static void aside_free(struct vduse_aside *aside)
{
	loop_remove(&aside->watch);
	fd_close(&aside->fd);
	free(aside);
}

static void call_make(void *argument)
{
	struct call *call = argument;
	const struct vduse_kernel *kernel = &call->kernel;
	int result = call->add ? kernel->bus_add(kernel->opaque, call->name, call->driver, call->anew)
			       : kernel->bus_remove(kernel->opaque, call->name);

	/* A pipe takes so little at once. If it did not, the end of the pipe would tell. */
	if (write(call->fd, &result, sizeof(result)) < 0)
		result = -errno;
	fd_close(&call->fd);
	free(call);
}

static void aside_done(void *opaque, uint32_t events)
{
	struct vduse_aside *aside = opaque;
	struct vduse *v = aside->vduse;
	bool add = aside->add;
	int result;

	if (read(aside->fd, &result, sizeof(result)) != (ssize_t)sizeof(result))
		result = -EIO;
	aside_free(aside);
	v->aside = NULL;
	vduse_aside_done(v, add, result);
}

/*
 * This kernel's own driver takes a device in the thread that adds it to the bus, which was the predecessor's. If that was
 * killed in the middle, the driver has the device, its interface is there, and it will never say DRIVER_OK.
 */
static bool driver_is_half_done(const struct vduse *v)
{
	return v->taken && v->attach == VIREO_ATTACH_VIRTIO && !(v->status & VIREO_STATUS_DRIVER_OK);
}

static struct call *call_new(const struct vduse *v, bool add, int fd)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->kernel = v->kernel;
	memcpy(call->name, v->name, sizeof(call->name));
	call->driver = vduse_driver(v->attach);
	call->add = add;
	call->anew = driver_is_half_done(v);
	call->fd = fd;
	return call;
}

int vduse_attach(struct vduse *v, bool add)
{
	struct vduse_aside *aside = calloc(1, sizeof(*aside));
	struct call *call = NULL;
	int fds[2] = { -1, -1 }, r = 0;

	if (!aside)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC))
		r = -errno;
	*aside = (struct vduse_aside){ .vduse = v, .add = add, .fd = fds[0] };
	if (!r)
		r = loop_add(v->loop, aside->fd, EPOLLIN, aside_done, aside, &aside->watch);
	if (!r)
		call = call_new(v, add, fds[1]);
	if (!r && !call)
		r = -ENOMEM;
	v->aside = aside; /* it may be done before this returns */
	if (!r)
		r = v->run_aside(v->run_opaque, call_make, call);
	if (!r)
		return 0;
	v->aside = NULL;
	free(call);
	fd_close(&fds[1]);
	aside_free(aside);
	return r;
}
