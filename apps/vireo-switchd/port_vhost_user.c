/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtual machine's port at a vhost-user socket: port_device.c behind that door. */
#include "daemon/aside.h"
#include "port_device.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice;

	if (err == -EADDRINUSE)
		advice = "another program answers on it: choose another path";
	else if (err == -ENOENT || err == -ENOTDIR)
		advice = "its folder does not exist: make it first";
	else if (err == -EACCES)
		advice = "no permission there: choose a folder that this user may read and write";
	else if (err == -EPERM)
		advice = "not permitted: only root may give a socket to another user or group";
	else if (err == -EEXIST || err == -ENOTSOCK)
		advice = "something that is no socket is there: remove it, or choose another path";
	else if (err == -EBUSY)
		advice = "somebody holds a lock on its folder (lslocks): end that, or choose another folder";
	else if (err == -ENAMETOOLONG)
		advice = "its last part is too long: at most 80 bytes after the last '/'";
	else
		advice = strerror(-err);
	snprintf(why, SPEC_WHY_BYTES, "vhost-user socket '%.100s': %s", spec->address, advice);
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->vhost_user.client = spec->client;
	ret->vhost_user.access = device_port_access(spec);
	ret->close_aside = aside_run;
	ret->files = spec->any_files ? VIREO_FILES_ANY : VIREO_FILES_MEMORY;
}

static const char *waiting(const struct spec *spec)
{
	return spec->client ? "connecting" : "listening";
}

static const struct device_door door = {
	.what = "socket",
	.config = config,
	.explain = explain,
	.waiting = waiting,
};

static int vhost_user_open(struct ports *ports, const struct spec *spec, struct port **ret_port, char *why)
{
	return device_port_open(&port_vhost_user, &door, ports, spec, ret_port, why);
}

const struct port_kind port_vhost_user = {
	.ops = &device_port_ops,
	.open = vhost_user_open,
	.close = device_port_close,
	.free = device_port_free,
	.state = device_port_state,
	.peer = device_port_peer,
	.memory_use = device_port_memory_use,
};
