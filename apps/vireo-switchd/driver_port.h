/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_DRIVER_PORT_H
#define SWITCHD_DRIVER_PORT_H

/*
 * What ports have in common that are a network device's driver: virtio-pci, virtio-user. Receive queue i of the device is the switch's in
 * queue i, transmit queue i the out queue i.
 *
 * A device that breaks a rule of its rings, or is of no use any more for another reason, is lost: whoever finds out, a worker or the control
 * thread, says so by driver_port_lost(), and the control thread, later, does what that asks for: `lost`.
 */

#include "driver_queue.h"
#include "port.h"

struct loop_watch;

/* What such a port begins with. */
struct driver_port {
	struct port port;
	struct driver_queue *queues; /* as many as the SPEC has; they work while the switch has them */
	bool polled;  /* the device does not say when a frame has come */
	bool link_up; /* atomic: without, nothing is sent */
	/* Control thread, with the errno of the first who has said so. May stop. */
	void (*lost)(struct driver_port *driver, int err);
	int lost_fd, lost_err; /* err: atomic, 0: it is not */
	struct loop_watch *lost_watch;
};

extern const struct sw_port_ops driver_port_ops; /* their opaque is the port */

/* A new port, which port_init() has filled in: nothing is lost, and nothing has to be stopped. */
void driver_port_init(struct driver_port *driver, struct driver_queue *queues, void (*lost)(struct driver_port *driver, int err));
/* From now on `lost` is called. -errno of eventfd(2), or what the loop says. */
int driver_port_start(struct driver_port *driver);
void driver_port_stop(struct driver_port *driver); /* from now on it is not; takes one that has not been started */
void driver_port_fini(struct driver_port *driver); /* of one that has been stopped; takes one that has not been started, too */

void driver_port_lost(struct driver_port *driver, int err); /* any thread */
void driver_port_found(struct driver_port *driver); /* it is another device from now on, that nobody has lost */

/* Gives the switch all queues, in and out. After an error there may be some. */
int driver_port_queues_add(struct driver_port *driver);

/* For struct port_kind: a driver cannot pull its device's cable. */
enum port_told driver_port_link_set(struct port *port, bool up);

#endif
