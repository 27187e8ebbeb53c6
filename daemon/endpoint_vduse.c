/* SPDX-License-Identifier: BSD-3-Clause */
/* vduse:NAME, a device of this machine's own kernel: /dev/vduse/NAME. */
#include "daemon/aside.h"
#include "daemon/endpoint.h"
#include "vireo/endpoint.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define END_MS 10000 /* a driver of this kernel lets go of its device, and has its own pace */

bool endpoint_set_attach(struct spec *spec, const char *value)
{
	static const char *const names[] = {
		[VIREO_ATTACH_NONE] = "none",
		[VIREO_ATTACH_VIRTIO] = "virtio",
		[VIREO_ATTACH_VHOST] = "vhost",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		spec->endpoint.attach = i;
		return true;
	}
	return false;
}

bool endpoint_set_queue_size(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 2, 32768, &n) || (n & (n - 1)))
		return false;
	spec->endpoint.queue_size = (unsigned)n;
	return true;
}

const char *endpoint_vduse_name_problem(const char *address)
{
	if (!spec_name_valid(address) || !isalnum((unsigned char)*address) || !strcmp(address, "control"))
		return "a device's name has 1 to 63 letters, digits, '.', '_' or '-', begins with one of the "
		       "first two, and is not control";
	return NULL;
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->vduse.attach = spec->endpoint.attach;
	ret->vduse.queue_size = spec->endpoint.queue_size;
	ret->run_aside = aside_run_rtnl;
}

/* `%s` is the device's name. */
static const struct endpoint_advice advices[] = {
	{EMFILE, ENDPOINT_NO_FDS},
	{ENOENT, "/dev/vduse/control is not there: load the kernel's module (modprobe vduse, Linux 5.15)"},
	{ENXIO, "/dev/vduse/control has no module behind it: modprobe vduse"},
	{EACCES, "no access to /dev/vduse/control, or to /run/vireo/vduse-%s: run as root"},
	{EPERM, "the kernel wants CAP_NET_ADMIN for a network device: run as root"},
	{EOPNOTSUPP, "this build has no VDUSE: build it with libmnl"},
	{EPROTONOSUPPORT, "the kernel has no vdpa bus: modprobe vdpa"},
	{ENONET, "the vdpa bus is the first network namespace's, and this is another one: start it there, or give attach=none "
		 "and say there: vdpa dev add name %s mgmtdev vduse"},
	{EADDRNOTAVAIL, "/dev/vduse/%s has not appeared: /dev must be a devtmpfs, or have a udev"},
	{ELOOP, "/run/vireo/vduse-%s is not a file of this user's alone: remove it"},
	{EROFS, "/run/vireo/vduse-%s cannot be written, its file system is read-only: make /run/vireo writable"},
	{ENOSPC, "/run/vireo/vduse-%s cannot be written, its file system is full: make room there"},
	{ENOTDIR, "/run/vireo is no folder: remove it"},
	{EBUSY, "another program serves it: stop that (fuser /dev/vduse/%s), or choose another name"},
	{EEXIST, "it is in use, and was made with other settings: vdpa dev del %s, or choose another name"},
};

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice = endpoint_advice(advices, ARRAY_SIZE(advices), err);
	int n = snprintf(why, SPEC_WHY_BYTES, "vduse '%.64s': ", spec->address);

	if (err == -ENODEV)
		advice = spec->endpoint.attach == VIREO_ATTACH_VHOST
				 ? "the driver to attach to is not loaded: modprobe vhost_vdpa, or give attach=none"
				 : "the driver to attach to is not loaded: modprobe virtio_vdpa, or give attach=none";
	endpoint_advice_fill(why + n, SPEC_WHY_BYTES - (size_t)n, advice, spec->address);
}

static const char *waiting(const struct spec *spec)
{
	return "waiting";
}

const struct endpoint_kind endpoint_vduse = {
	.what = "device",
	.config = config,
	.explain = explain,
	.waiting = waiting,
	.end_ms = END_MS,
};
