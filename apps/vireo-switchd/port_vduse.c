/* SPDX-License-Identifier: BSD-3-Clause */
/* A port of this machine's own kernel: port_device.c behind /dev/vduse. */
#include "port_device.h"
#include "base/util.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the thread that the library borrows ---- */

struct aside {
	void (*work)(void *argument);
	void *argument;
};

static void *aside_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	return NULL;
}

static int run_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){.work = work, .argument = argument};
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attributes, aside_main, aside);
	pthread_attr_destroy(&attributes);
	if (err)
		free(aside);
	return err;
}

/* ---- the door ---- */

static const struct {
	int err;
	const char *advice;
} advices[] = {
	{ENOENT, "/dev/vduse/control is not there: load the kernel's module (modprobe vduse, Linux 5.15)"},
	{ENXIO, "/dev/vduse/control has no module behind it: modprobe vduse"},
	{EACCES, "no access to /dev/vduse/control, or to /run/vireo: run as root"},
	{EPERM, "the kernel wants CAP_NET_ADMIN for a network device: run as root"},
	{EPROTONOSUPPORT, "the kernel has no vdpa bus: modprobe vdpa"},
	{EBUSY, "another program serves it: stop that, or choose another name"},
	{EEXIST, "it is in use, and was made with other settings: vdpa dev del NAME, or choose another name"},
};

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice = strerror(-err);

	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (advices[i].err == -err)
			advice = advices[i].advice;
	if (err == -ENODEV)
		advice = spec->attach == VIREO_ATTACH_VHOST
				 ? "the driver to attach to is not loaded: modprobe vhost_vdpa, or give attach=none"
				 : "the driver to attach to is not loaded: modprobe virtio_vdpa, or give attach=none";
	snprintf(why, SPEC_WHY_BYTES, "vduse '%.64s': %s", spec->address, advice);
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->attach = spec->attach;
	ret->queue_size = spec->queue_size;
	ret->run_aside = run_aside;
}

static const char *waiting(const struct spec *spec)
{
	return "waiting";
}

static const struct device_door door = {
	.what = "device",
	.config = config,
	.explain = explain,
	.waiting = waiting,
};

static int vduse_open(struct ports *ports, const struct spec *spec, struct port **ret_port, char *why)
{
	return device_port_open(&port_vduse, &door, ports, spec, ret_port, why);
}

const struct port_kind port_vduse = {
	.ops = &device_port_ops,
	.open = vduse_open,
	.close = device_port_close,
	.free = device_port_free,
	.state = device_port_state,
};
