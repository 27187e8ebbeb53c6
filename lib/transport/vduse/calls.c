/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices for this machine's own kernel: /dev/vduse, and the vdpa bus by netlink. */
#include "base/calls.h"
#include "base/util.h"
#include "wire/vduse.h"
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sys/socket.h>

static const struct call rows[] = {
	{"socket", "the vdpa bus is told of a device", "AF_NETLINK, NETLINK_GENERIC",
	 {{0, false, 0xffffffffu, AF_NETLINK}, {2, false, 0xffffffffu, NETLINK_GENERIC}}, 2},
	CALL("fallocate", "where queues stand is kept in a file, whose room is made beforehand"),
	CALL_IOCTL(VDUSE_WIRE_GET_API_VERSION, "the control file"),
	CALL_IOCTL(VDUSE_WIRE_SET_API_VERSION, "the control file"),
	CALL_IOCTL(VDUSE_WIRE_GET_FEATURES, "the control file"),
	CALL_IOCTL(VDUSE_WIRE_SET_FEATURES, "the control file"),
	CALL_IOCTL(VDUSE_WIRE_CREATE_DEV, "a device is made"),
	CALL_IOCTL(VDUSE_WIRE_DESTROY_DEV, "a device is taken away"),
	CALL_IOCTL(VDUSE_WIRE_IOTLB_GET_FD, "memory of the driver"),
	CALL_IOCTL(VDUSE_WIRE_IOTLB_GET_INFO, "memory of the driver"),
	CALL_IOCTL(VDUSE_WIRE_REG_UMEM, "bounce buffers of our own"),
	CALL_IOCTL(VDUSE_WIRE_DEREG_UMEM, "and their end"),
	CALL_IOCTL(VDUSE_WIRE_DEV_GET_FEATURES, "what the driver has accepted"),
	CALL_IOCTL(VDUSE_WIRE_DEV_SET_CONFIG, "config space"),
	CALL_IOCTL(VDUSE_WIRE_INJECT_CONFIG_IRQ, "config space has changed"),
	CALL_IOCTL(VDUSE_WIRE_VQ_SETUP, "a queue's size"),
	CALL_IOCTL(VDUSE_WIRE_VQ_GET_INFO, "where a queue lies"),
	CALL_IOCTL(VDUSE_WIRE_VQ_SETUP_KICKFD, "a queue's kicks"),
	CALL_IOCTL(VDUSE_WIRE_VQ_INJECT_IRQ, "a queue's interrupt"),
};

static const struct call_privilege privileges[] = {
	CALL_PRIVILEGE(CAP_NET_ADMIN, "a device is made for the kernel, and put on the vdpa bus"),
	CALL_PRIVILEGE(CAP_IPC_LOCK, "bounce buffers of our own stay in memory"),
};

extern const struct calls vduse_calls;
const struct calls vduse_calls = {"lib/transport/vduse", rows, ARRAY_SIZE(rows), privileges, ARRAY_SIZE(privileges)};
