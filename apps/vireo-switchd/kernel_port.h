/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_KERNEL_PORT_H
#define SWITCHD_KERNEL_PORT_H

/* What ports have in common whose frames the host's kernel takes and gives: tap, af_packet. */

#include "daemon/retry.h"
#include "port.h"
#include <stddef.h>

#define KERNEL_BURST 32u /* frames of one receive */

/* clang-format off */
#define KERNEL_PORT_KEYS \
	SPEC_KEY_NAME, PORT_KEY_QUEUES, PORT_KEY_MTU, PORT_KEY_FLOOD_MAX, PORT_KEYS_VLAN, PORT_KEYS_ROLE, \
	PORT_KEYS_LIMITS, PORT_KEYS_GUARD, PORT_KEYS_MULTICAST, PORT_KEYS_RUNNING, PORT_KEY_GRO
/* clang-format on */

/* What such a port begins with. Control thread. */
struct kernel_port {
	struct port port;
	struct retry retry; /* of in queues that the switch had no memory for */
	unsigned leaving;   /* in queues that the switch is still to let go of */
	bool silent;	    /* what comes is left to the kernel */
	void (*silenced)(void *port);
};

/* Memory of `bytes` that costs nothing until it is touched. On failure a negative errno. */
int kernel_buffers_new(size_t bytes, uint8_t **ret_buffers);
void kernel_buffers_free(uint8_t **buffers, size_t bytes); /* or NULL */

/* As sw_port_ops has it, of a queue whose fd is readable while it has frames. */
bool kernel_kick_enable(int fd, bool on);

/* Counts a frame that did not go out, by the errno (positive) of the call, or of what was to lay it out. */
void kernel_refusal_count(struct sw_queue_stats *out, int err);

/*
 * Joins the switch, with as many pairs of queues as the SPEC has; if it was another process's until now (ports->state), without those
 * that bring frames, until it goes on. On failure a negative errno; port->sw says whether to abandon it.
 */
int kernel_port_start(struct kernel_port *kernel, unsigned offloads);
void kernel_port_fini(struct kernel_port *kernel); /* takes one that is all zeroes */

/*
 * As port.h has them. Frames that come meanwhile wait where the kernel keeps them, as they do for a worker that is late: so many as it
 * has room for (of a TAP interface its txqueuelen, of a packet socket its buffer).
 */
void kernel_port_silence(struct port *port, void (*silenced)(void *port));
int kernel_port_hold(struct port *port, void (*held)(void *opaque, int err), void *opaque);
void kernel_port_go_on(struct port *port);

#endif
