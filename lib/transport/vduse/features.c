/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>

/*
 * The kernel takes few device types, and not all of their features: config space cannot be written by the driver, and
 * of a network device it does not want a control queue, whose commands it would have to trust us with. What lives by a
 * forbidden feature goes with it; without a control queue a driver uses one pair of queues.
 *
 * Resetting one queue has no message.
 */

#define BIT(n) (UINT64_C(1) << (n))

static const struct taken_type {
	uint32_t device_id;
	uint64_t forbidden;
	uint64_t newer; /* offered since there are daemons that took devices over: nothing else depends on them */
	unsigned queues; /* at most, or 0 */
	const char *once; /* what `parts` are, or NULL */
	struct part {
		uint8_t at, bytes;
	} parts[2]; /* of config space, VDUSE_ONCE_BYTES at most in all */
} taken_types[] = {
	{ VIRTIO_ID_NET,
	  BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
		  BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ) |
		  BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
		  BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT) |
		  BIT(52 /* VQ_NOTF_COAL, which no older header has */) | BIT(53 /* NOTF_COAL */),
	  BIT(VIRTIO_NET_F_SPEED_DUPLEX), 2,
	  "address (mac) or MTU",
	  { { offsetof(struct virtio_net_config, mac), 6 }, { offsetof(struct virtio_net_config, mtu), 2 } } },
	{ VIRTIO_ID_BLOCK, BIT(VIRTIO_BLK_F_CONFIG_WCE), 0, 0, NULL, { { 0, 0 } } },
};

static const struct taken_type *type_of(const struct vireo_device *device)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken_types); i++)
		if (taken_types[i].device_id == device_id(device))
			return &taken_types[i];
	return NULL;
}

int vduse_offer(const struct vireo_device *device, struct vduse_key *key)
{
	const struct taken_type *type = type_of(device);
	unsigned queues = device_queue_count(device);

	if (!type) {
		log_error(device_log(device), "%s: VDUSE takes no device of type %u: offer it by vhost-user or CUSE",
			  device_name(device), device_id(device));
		return -EOPNOTSUPP;
	}
	key->device_id = type->device_id;
	key->features = device_features_offered(device) & ~type->forbidden & ~VIREO_FEATURE(VIREO_F_RING_RESET_BIT);
	key->features |= VIREO_FEATURE(VDUSE_F_ACCESS_PLATFORM_BIT);
	key->newer = key->features & type->newer;
	key->queue_count = type->queues ? min_u32(queues, type->queues) : queues;
	key->config_bytes = device_config_bytes(device);
	return 0;
}

const char *vduse_once(struct vireo_device *device, uint8_t ret_once[VDUSE_ONCE_BYTES])
{
	const struct taken_type *type = type_of(device);
	size_t have = 0;

	memset(ret_once, 0, VDUSE_ONCE_BYTES);
	if (!type || !type->once)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(type->parts); have += type->parts[i++].bytes)
		device_config_read(device, type->parts[i].at, ret_once + have, type->parts[i].bytes);
	return type->once;
}
