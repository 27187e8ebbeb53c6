/* SPDX-License-Identifier: BSD-3-Clause */
/* A port of this machine's own kernel: port_device.c behind /dev/vduse. */
#include "daemon/aside.h"
#include "port_device.h"
#include "base/util.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int err;
	const char *advice;
} advices[] = {
	{ENOENT, "/dev/vduse/control is not there: load the kernel's module (modprobe vduse, Linux 5.15)"},
	{ENXIO, "/dev/vduse/control has no module behind it: modprobe vduse"},
	{EACCES, "no access to /dev/vduse/control, or to /run/vireo: run as root"},
	{EPERM, "the kernel wants CAP_NET_ADMIN for a network device: run as root"},
	{EOPNOTSUPP, "this build has no VDUSE: build it with libmnl"},
	{EPROTONOSUPPORT, "the kernel has no vdpa bus: modprobe vdpa"},
	{EADDRNOTAVAIL, "/dev/vduse/NAME has not appeared: /dev must be a devtmpfs, or have a udev"},
	{ELOOP, "/run/vireo/vduse-NAME is not a file of this user's alone: remove it"},
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
	ret->vduse.attach = spec->attach;
	ret->vduse.queue_size = spec->queue_size;
	ret->run_aside = aside_run_rtnl;
	ret->close_aside = aside_run;
	ret->files = spec->any_files ? VIREO_FILES_ANY : VIREO_FILES_MEMORY;
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
	.memory_use = device_port_memory_use,
};
