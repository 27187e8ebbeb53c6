/* SPDX-License-Identifier: BSD-3-Clause */

/* Ports whose link is down, as if their cable were pulled: the topology has none of their out queues. Control thread. */

#include "switch/core.h"
#include "switch/multicast.h"
#include "switch/port.h"

void sw_port_link_set(struct sw_port *port, bool up)
{
	if (port->removing || port->cut != up)
		return;
	__atomic_store_n(&port->cut, !up, __ATOMIC_RELAXED);
	__atomic_store_n(&port->gated, !up || port->was_member, __ATOMIC_RELAXED);
	switch_publish_removal(port->sw);
	if (up)
		return;
	sw_fdb_flush(port->sw, port);
	multicast_port_remove(port);
	multicast_port_add(port);
}

bool sw_port_link(const struct sw_port *port)
{
	return !port->cut;
}
