/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VDUSE_H
#define WIRE_VDUSE_H

/*
 * What passes between a VDUSE device and the kernel (Linux Documentation/userspace-api/vduse.rst, include/uapi/linux/
 * vduse.h of 7.3): ioctls, messages, and pure functions that turn bytes into checked structs. Host byte order. No fd.
 *
 * Defined here and not taken from linux/vduse.h, whose structs change with its age: what API version 1 and the
 * features of 7.3 need lies in fields that were reserved before. The unit test holds both against each other.
 */

#include <linux/ioctl.h>
#include <stdbool.h>
#include <stdint.h>

#define VDUSE_WIRE_NAME_BYTES 256u
#define VDUSE_WIRE_API_MAX 1u
#define VDUSE_WIRE_QUEUES_MAX 0xffffu

/* Features of VDUSE itself, negotiated on the control file. */
#define VDUSE_WIRE_F_QUEUE_READY_BIT 0 /* SET_VQ_READY is told */
#define VDUSE_WIRE_F_SUSPEND_BIT 1 /* SUSPEND is told */

/* ---- the control file ---- */

struct vduse_wire_config { /* followed by config_bytes of config space */
	char name[VDUSE_WIRE_NAME_BYTES];
	uint32_t vendor_id, device_id;
	uint64_t features;
	uint32_t queue_count, queue_align_bytes;
	uint32_t group_count, space_count; /* API 1; 0 before */
	uint32_t reserved[11];
	uint32_t config_bytes;
};

/* The kernel's struct ends in an array without a size, which does not count. */
#define VDUSE_WIRE_GET_API_VERSION _IOR(0x81, 0x00, uint64_t)
#define VDUSE_WIRE_SET_API_VERSION _IOW(0x81, 0x01, uint64_t)
#define VDUSE_WIRE_CREATE_DEV _IOW(0x81, 0x02, struct vduse_wire_config)
#define VDUSE_WIRE_DESTROY_DEV _IOW(0x81, 0x03, char[VDUSE_WIRE_NAME_BYTES])
#define VDUSE_WIRE_GET_FEATURES _IOR(0x81, 0x04, uint64_t)
#define VDUSE_WIRE_SET_FEATURES _IOW(0x81, 0x05, uint64_t)

/* ---- a device's file: ioctls ---- */

#define VDUSE_WIRE_ACCESS_WRITE 2u /* in perm; 1: read */

struct vduse_wire_iotlb {
	uint64_t offset; /* in the file whose fd is returned */
	uint64_t first, last;
	uint8_t perm;
};

struct vduse_wire_config_data { /* followed by the bytes */
	uint32_t offset, bytes;
};

struct vduse_wire_queue_config {
	uint32_t index;
	uint16_t size_max, reserved1;
	uint32_t group; /* API 1; 0 before */
	uint16_t reserved2[10];
};

/* Where a queue stands: see vduse_base(). */
union vduse_wire_state {
	uint16_t split; /* available index */
	struct {
		uint16_t avail_wrap, avail_pos, used_wrap, used_pos;
	} packed;
};

struct vduse_wire_queue_info {
	uint32_t index, size;
	uint64_t desc, driver, device;
	union vduse_wire_state state;
	uint8_t ready;
};

struct vduse_wire_kick {
	uint32_t index;
	int fd; /* an eventfd, -1: none */
};

struct vduse_wire_umem {
	uint64_t uaddr, iova, bytes;
	uint32_t space, reserved[5];
};

#define VDUSE_WIRE_CAP_UMEM UINT64_C(1)

struct vduse_wire_iova_info {
	uint64_t first, last, capability;
	uint32_t space, reserved[5];
};

#define VDUSE_WIRE_IOTLB_GET_FD _IOWR(0x81, 0x10, struct vduse_wire_iotlb)
#define VDUSE_WIRE_DEV_GET_FEATURES _IOR(0x81, 0x11, uint64_t)
#define VDUSE_WIRE_DEV_SET_CONFIG _IOW(0x81, 0x12, struct vduse_wire_config_data)
#define VDUSE_WIRE_INJECT_CONFIG_IRQ _IO(0x81, 0x13)
#define VDUSE_WIRE_VQ_SETUP _IOW(0x81, 0x14, struct vduse_wire_queue_config)
#define VDUSE_WIRE_VQ_GET_INFO _IOWR(0x81, 0x15, struct vduse_wire_queue_info)
#define VDUSE_WIRE_VQ_SETUP_KICKFD _IOW(0x81, 0x16, struct vduse_wire_kick)
#define VDUSE_WIRE_VQ_INJECT_IRQ _IOW(0x81, 0x17, uint32_t)
#define VDUSE_WIRE_REG_UMEM _IOW(0x81, 0x18, struct vduse_wire_umem)
#define VDUSE_WIRE_DEREG_UMEM _IOW(0x81, 0x19, struct vduse_wire_umem)
#define VDUSE_WIRE_IOTLB_GET_INFO _IOWR(0x81, 0x1a, struct vduse_wire_iova_info)

/* ---- a device's file: messages ---- */

enum vduse_message {
	VDUSE_MSG_GET_VQ_STATE,
	VDUSE_MSG_SET_STATUS,
	VDUSE_MSG_UPDATE_IOTLB,
	VDUSE_MSG_SET_VQ_GROUP_ASID, /* API 1 */
	VDUSE_MSG_SET_VQ_READY, /* F_QUEUE_READY */
	VDUSE_MSG_SUSPEND, /* F_SUSPEND */
	VDUSE_MSG_COUNT
};

#define VDUSE_MESSAGE_BYTES 152u /* each way: 24 and 32 words */

/* A message as it was read; which fields hold, the type says. */
struct vduse_request {
	uint32_t type, id;
	uint32_t queue; /* GET_VQ_STATE, SET_VQ_READY */
	bool ready; /* SET_VQ_READY */
	uint8_t status; /* SET_STATUS */
	uint64_t first, last; /* UPDATE_IOTLB */
	uint32_t group, space; /* SET_VQ_GROUP_ASID; UPDATE_IOTLB: space */
};

struct vduse_response {
	uint32_t id;
	bool ok;
	union vduse_wire_state state; /* GET_VQ_STATE */
};

/*
 * -EINVAL and a static string in *why: too short, or a value that cannot be. The id has been read even then, if bytes
 * suffice: such a message is answered with a refusal. An unknown type is not an error here.
 */
int vduse_parse_request(const void *data, uint32_t bytes, uint64_t api, struct vduse_request *ret_request,
			const char **why);
void vduse_put_response(const struct vduse_response *response, uint8_t data[VDUSE_MESSAGE_BYTES]);

/* Where a queue stands, as VHOST_USER_GET_VRING_BASE encodes it and as VDUSE does. */
uint32_t vduse_base(const union vduse_wire_state *state, bool packed);
union vduse_wire_state vduse_state(uint32_t base, bool packed);

#endif
