/* SPDX-License-Identifier: BSD-3-Clause */
/* A port of this machine's own kernel, behind /dev/vduse. */
#include "daemon/endpoint.h"
#include "port_device.h"
#include "port_session.h"

static bool set_one_queue(struct spec *spec, const char *value)
{
	return port_set_queues(spec, value) && container_of(spec, struct port_spec, at)->queues == 1;
}

static const struct spec_key keys[] = {
	SPEC_KEY_NAME,
	{"queues", set_one_queue, "1: the kernel takes no control queue, and so no second pair", "1"},
	PORT_KEY_MTU,
	PORT_KEY_SPEED,
	PORT_KEY_MAC,
	PORT_KEY_SPOOF,
	PORT_KEY_FLOOD_MAX,
	PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_RETRY, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING,
	ENDPOINT_VDUSE_KEYS,
};

/* Its peer is this machine's kernel, whatever that makes of it. */
static void report(const struct port *port, json_t *object)
{
	port_session_report((const struct device_port *)port, 0, object);
}

const struct port_kind port_vduse = {
	.spec = ENDPOINT_VDUSE(keys),
	.ops = &device_port_ops,
	.open = device_port_open,
	.close = device_port_close,
	.free = device_port_free,
	.state = device_port_state,
	.memory_use = device_port_memory_use,
	.report = report,
	.link_set = device_port_link_set,
	.speed_set = device_port_speed_set,
	.memory_max_set = device_port_memory_max_set,
	.retry_set = device_port_retry_set,
	.opens_anew = true,
};
