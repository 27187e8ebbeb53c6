/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/loop.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * The call that puts a device on the vdpa bus returns when a driver has taken it, and the driver asks us things first;
 * so does the one that takes it off. Made in the control thread they would wait for themselves. The program lends a
 * thread for them, and an eventfd tells of their end.
 */

struct vduse_aside {
	struct vduse *vduse; /* control thread only */
	struct vduse_kernel kernel;
	char name[VDUSE_NAME_BYTES];
	const char *driver;
	bool add;
	int event_fd;
	struct loop_watch *watch;
	int result; /* written before the event is raised */
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
	fd_close(&aside->event_fd);
	free(aside);
}

/* The borrowed thread. The event is the last that it does. */
static void aside_work(void *argument)
{
	struct vduse_aside *aside = argument;
	const struct vduse_kernel *kernel = &aside->kernel;

	aside->result = aside->add ? kernel->bus_add(kernel->opaque, aside->name, aside->driver)
				   : kernel->bus_remove(kernel->opaque, aside->name);
	fd_event_raise(aside->event_fd);
}

static void aside_event(void *opaque, uint32_t events)
{
	struct vduse_aside *aside = opaque;
	struct vduse *v = aside->vduse;
	bool add = aside->add;
	int result;

	fd_event_clear(aside->event_fd); /* orders: `result` was written before */
	result = aside->result;
	aside_free(aside);
	v->aside = NULL;
	vduse_aside_done(v, add, result);
}

int vduse_attach(struct vduse *v, bool add)
{
	struct vduse_aside *aside = calloc(1, sizeof(*aside));
	int r;

	if (!aside)
		return -ENOMEM;
	aside->vduse = v;
	aside->kernel = v->kernel;
	memcpy(aside->name, v->name, sizeof(aside->name));
	aside->driver = vduse_driver(v->attach);
	aside->add = add;
	aside->event_fd = -1;
	r = fd_event_new(&aside->event_fd);
	if (!r)
		r = loop_add(v->loop, aside->event_fd, EPOLLIN, aside_event, aside, &aside->watch);
	if (r) {
		aside_free(aside);
		return r;
	}
	v->aside = aside;
	v->run_aside(v->run_opaque, aside_work, aside);
	return 0;
}
