/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_DEVICE_H
#define SWITCHD_PORT_DEVICE_H

/* A network device as a port, whatever sort of endpoint it is offered at: what a kind with an endpoint is made of. */

#include "port.h"
#include "vireo/endpoint.h"

struct vireo_net;

/* What one sort of endpoint has of its own. Its address begins with the name of the port's type. */
struct device_door {
	const char *what; /* the thing that the endpoint holds, for the log */
	void (*config)(const struct spec *spec, struct vireo_endpoint_config *ret_config);
	void (*explain)(int err, const struct spec *spec, char why[SPEC_WHY_BYTES]);
	const char *(*waiting)(const struct spec *spec); /* the state without a peer */
};

int device_port_open(const struct port_kind *kind, const struct device_door *door, struct ports *ports,
		     const struct spec *spec, struct port **ret_port, char why[SPEC_WHY_BYTES]);

/* Mode and owner of what peers open, as user=, group= and perm= have them. */
struct vireo_endpoint_access device_port_access(const struct spec *spec);

/* The rest of the kind's row. */
extern const struct sw_port_ops device_port_ops;
void device_port_close(struct port *port);
void device_port_free(struct port *port);
const char *device_port_state(const struct port *port);
pid_t device_port_peer(const struct port *port);
void device_port_memory_use(const struct port *port, struct vireo_memory_use *ret_use);

/* What a network device has counted at its queue `index`, in the switch's terms. Any thread. */
void device_queue_stats(const struct vireo_net *net, unsigned index, struct sw_queue_stats *ret_stats);

#endif
