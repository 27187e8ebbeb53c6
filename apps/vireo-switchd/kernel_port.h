/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_KERNEL_PORT_H
#define SWITCHD_KERNEL_PORT_H

/* What ports have in common whose frames the host's kernel takes and gives: tap, af_packet, af_xdp. */

#include "port.h"
#include <stddef.h>

#define KERNEL_BURST 32u /* frames of one receive */

/* clang-format off */
#define KERNEL_PORT_KEYS \
	SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, \
	PORT_KEYS_LIMITS, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING, PORT_KEY_GRO
/* clang-format on */

/* Memory of `bytes` that costs nothing until it is touched. On failure a negative errno. */
int kernel_buffers_new(size_t bytes, uint8_t **ret_buffers);
void kernel_buffers_free(uint8_t **buffers, size_t bytes); /* or NULL */

/* As sw_port_ops has it, of a queue whose fd is readable while it has frames. */
bool kernel_kick_enable(int fd, bool on);

/* Counts a frame that did not go out, by the errno (positive) of the call, or of what was to lay it out. */
void kernel_refusal_count(struct sw_queue_stats *out, int err);

/* Joins the switch, with as many pairs of queues as the SPEC has. On failure a negative errno; port->sw says whether to abandon it. */
int kernel_port_start(struct port *port, unsigned offloads);

#endif
