/* SPDX-License-Identifier: BSD-3-Clause */
/* A virtual machine's port at a vhost-user socket. */
#include "daemon/endpoint.h"
#include "port_device.h"
#include "port_session.h"

static const struct spec_key keys[] = {
	SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_SPEED, PORT_KEY_MAC, PORT_KEY_SPOOF, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, PORT_KEYS_LIMITS, PORT_KEYS_RETRY, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEY_RSS, PORT_KEYS_RUNNING, ENDPOINT_VHOST_USER_KEYS,
};

static void report(const struct port *port, json_t *object)
{
	if (endpoint_handed_fd(&port->spec.at) < 0)
		json_object_set_new(object, "mode", json_string(port->spec.at.endpoint.client ? "client" : "server"));
	port_session_report((const struct device_port *)port, device_port_peer(port), object);
}

/* The number of an fd is this process's own. */
static const char *hold_refused(const struct port *port)
{
	if (endpoint_handed_fd(&port->spec.at) >= 0)
		return "its socket has no path";
	return device_port_end_state(port) ? "it has failed" : NULL;
}

const struct port_kind port_vhost_user = {
	.spec = ENDPOINT_VHOST_USER(keys),
	.ops = &device_port_ops,
	.open = device_port_open,
	.close = device_port_close,
	.free = device_port_free,
	.state = device_port_state,
	.peer = device_port_peer,
	.memory_use = device_port_memory_use,
	.report = report,
	.link_set = device_port_link_set,
	.speed_set = device_port_speed_set,
	.memory_max_set = device_port_memory_max_set,
	.hello_set = device_port_hello_set,
	.retry_set = device_port_retry_set,
	.hold_refused = hold_refused,
	.silence = device_port_silence,
	.hold = device_port_hold,
	.export = device_port_export,
	.go_on = device_port_go_on,
	.guests = true,
};
