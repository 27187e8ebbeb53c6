/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <string.h>

/*
 * Ioctls of a node that is a SCSI target (struct vireo_cuse_config.target). Its rings have no back end each: SET_ENDPOINT
 * gives all of them one, the target that it names, and CLEAR_ENDPOINT takes it away. Version 1 of this interface ignores
 * vhost_tpgt: whoever names the target sees all that is behind it.
 *
 * The errnos are the kernel's: ENODEV, there is no such target; EEXIST, it is set; EINVAL, another one is; EFAULT, a ring does not
 * lie in memory.
 */

static struct vhost_scsi_target take_target(const struct request *request)
{
	struct vhost_scsi_target target;

	memcpy(&target, request->in, sizeof(target));
	return target;
}

/* The name may have no end: anybody has written it. */
static bool is_ours(const struct opener *opener, const struct vhost_scsi_target *target)
{
	return !strncmp(target->vhost_wwpn, opener->endpoint->target, sizeof(target->vhost_wwpn));
}

/* A ring without a kick is none that the caller uses: as with the kernel's it gets the back end with the others, and runs if it is set up later. */
static int rings_check(const struct opener *opener, const char **why)
{
	for (uint32_t i = 0; i < device_queue_count(opener->device); i++) {
		int r = device_queue_kickable(opener->device, i) ? device_queue_check(opener->device, i, why) : 0;

		if (r)
			return r;
	}
	return 0;
}

static void rings_enable(struct opener *opener, bool on)
{
	for (uint32_t i = 0; i < device_queue_count(opener->device); i++)
		device_queue_enable(opener->device, i, on);
	opener->endpoint_set = on;
}

int ioctl_scsi_set_endpoint(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_scsi_target target = take_target(request);
	int r;

	if (target.reserved)
		return refuse(-EOPNOTSUPP, "its reserved bytes are not zero", why);
	r = rings_check(opener, why);
	if (r)
		return r;
	if (opener->endpoint_set)
		return refuse(-EEXIST, "the endpoint is set: VHOST_SCSI_CLEAR_ENDPOINT comes first", why);
	if (!is_ours(opener, &target))
		return refuse(-ENODEV, "there is no such target here: give wwpn= the name of this one", why);
	rings_enable(opener, true);
	return 0;
}

int ioctl_scsi_clear_endpoint(struct opener *opener, const struct request *request, void *out, const char **why)
{
	struct vhost_scsi_target target = take_target(request);

	if (target.reserved)
		return refuse(-EOPNOTSUPP, "its reserved bytes are not zero", why);
	if (!opener->endpoint_set)
		return 0;
	if (!is_ours(opener, &target))
		return refuse(-EINVAL, "another target is the endpoint", why);
	rings_enable(opener, false);
	return 0;
}

int ioctl_scsi_get_abi_version(struct opener *opener, const struct request *request, void *out, const char **why)
{
	int version = VHOST_SCSI_ABI_VERSION;

	memcpy(out, &version, sizeof(version));
	return 0;
}

int ioctl_scsi_set_events_missed(struct opener *opener, const struct request *request, void *out, const char **why)
{
	uint32_t missed;

	memcpy(&missed, request->in, sizeof(missed));
	return refuse(device_events_missed_set(opener->device, missed), "the device has no events", why);
}

int ioctl_scsi_get_events_missed(struct opener *opener, const struct request *request, void *out, const char **why)
{
	bool missed = false;
	int r = device_events_missed(opener->device, &missed);
	uint32_t told = missed;

	memcpy(out, &told, sizeof(told));
	return refuse(r, "the device has no events", why);
}
