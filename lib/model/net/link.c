/* SPDX-License-Identifier: BSD-3-Clause */

/* What the driver is told of its link, in config space (virtio 1.3, 5.1.4): whether it is up, and how fast. Control thread. */

#include "device/device.h"
#include "model/net/net_internal.h"
#include <endian.h>
#include <errno.h>
#include <stddef.h>

#define SPEED_MAX 0x7fffffffu

int vireo_net_link_set(struct vireo_net *net, bool up)
{
	return net_status_set(net, up ? net->status | NET_S_LINK_UP : net->status & ~NET_S_LINK_UP);
}

bool vireo_net_link_told(const struct vireo_net *net)
{
	return net_has(net, VIREO_NET_F_STATUS_BIT) && device_config_told(net->device);
}

/* Both fields lie side by side, so the driver is told once. */
int vireo_net_speed_set(struct vireo_net *net, uint32_t mbits, enum vireo_net_duplex duplex)
{
	const uint32_t at = offsetof(struct virtio_net_config_space, speed);
	struct {
		uint32_t speed;
		uint8_t duplex;
	} __attribute__((packed)) now, next = { htole32(mbits), (uint8_t)duplex };

	_Static_assert(offsetof(struct virtio_net_config_space, duplex) == offsetof(struct virtio_net_config_space, speed) + 4, "side by side");
	if (mbits > SPEED_MAX && mbits != VIREO_NET_SPEED_UNKNOWN)
		return -EINVAL;
	if (duplex != VIREO_NET_DUPLEX_HALF && duplex != VIREO_NET_DUPLEX_FULL && duplex != VIREO_NET_DUPLEX_UNKNOWN)
		return -EINVAL;
	if (!device_config_read(net->device, at, &now, sizeof(now)) && !memcmp(&now, &next, sizeof(now)))
		return 0;
	return vireo_device_config_set(net->device, at, &next, sizeof(next));
}
