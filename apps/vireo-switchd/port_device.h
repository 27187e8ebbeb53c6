/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_DEVICE_H
#define SWITCHD_PORT_DEVICE_H

/* A network device as a port, whatever sort of endpoint it is offered at: what a kind with an endpoint is made of. */

#include "port.h"

struct vireo_net;


/* The kind's row; its spec has an endpoint. */
int device_port_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char why[SPEC_WHY_BYTES]);
extern const struct sw_port_ops device_port_ops;
void device_port_close(struct port *port);
void device_port_free(struct port *port);
const char *device_port_state(const struct port *port);
pid_t device_port_peer(const struct port *port);
void device_port_memory_use(const struct port *port, struct vireo_memory_use *ret_use);

/* What a network device has counted at its queue `index`, in the switch's terms. Any thread. */
void device_queue_stats(const struct vireo_net *net, unsigned index, struct sw_queue_stats *ret_stats);

#endif
