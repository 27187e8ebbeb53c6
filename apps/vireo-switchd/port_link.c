/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link of a port's devices, and how fast it is said to be, as their drivers see it. A device keeps both over all its sessions and resets, so whoever comes later
 * reads them in config space. A driver that is there hears of it if its transport has words for that: the kernel behind VDUSE does, a
 * vhost-user front end that takes notifications of config space does, the kernel's vhost ioctls have none. QEMU keeps config
 * space to itself: its own monitor (set_link) is what tells its guest.
 */
#include "base/log.h"
#include "port_device.h"
#include "vireo/net.h"
#include <string.h>

static bool somebody_is_there(const struct port *port)
{
	const char *state = port->kind->state(port);

	return !strcmp(state, "connected") || !strcmp(state, "occupied");
}

/* A device of a port that has several is one pair of queues, whose `taken` says whether anybody has it. */
enum port_told device_port_link_set(struct port *port, bool up)
{
	struct device_port *device = (struct device_port *)port;
	struct vireo_net *last = NULL;
	bool told = true;

	for (unsigned i = 0; i < port->spec.queues; i++) {
		struct device_pair *pair = &device->pairs[i];

		if (pair->net == last)
			continue;
		last = pair->net;
		vireo_net_link_set(pair->net, up);
		told = told && (!pair->taken || vireo_net_link_told(pair->net));
	}
	if (!somebody_is_there(port))
		return PORT_TOLD_NOBODY;
	return told ? PORT_TOLD : PORT_TOLD_NOT;
}

void device_port_speed_set(struct port *port)
{
	struct device_port *device = (struct device_port *)port;
	const struct port_speed *speed = &port->spec.speed;
	enum vireo_net_duplex duplex = speed->half ? VIREO_NET_DUPLEX_HALF : VIREO_NET_DUPLEX_FULL;

	for (unsigned i = 0; i < port->spec.queues; i++)
		if (!device->pairs[i].at) /* one of each device */
			vireo_net_speed_set(device->pairs[i].net, speed->mbits ? speed->mbits : VIREO_NET_SPEED_UNKNOWN,
					    speed->mbits ? duplex : VIREO_NET_DUPLEX_UNKNOWN);
}
