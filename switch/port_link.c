/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Ports whose link is down, as if their cable were pulled: the topology has none of their out queues. Control thread.
 *
 * What such a queue holds (hold.c) is lost as well: when everybody has seen that topology, and the link has been down all the time, nobody
 * but us has the queue in hand. A link that comes back sooner has its frames, and a worker is sent for them: the letter of a
 * queue that has gone on meanwhile has found no queue.
 */

#include "switch/core.h"
#include "switch/multicast.h"
#include "switch/port.h"
#include "switch/signals.h"

static void cut_begin(struct sw_port *port);

static void cut_seen(struct grace_item *item)
{
	struct sw_port *port = container_of(item, struct sw_port, cut_step.passed);
	bool again = port->cut_again;

	port->cut_pending = port->cut_again = false;
	if (!port->cut || port->removing)
		return;
	if (again) {
		cut_begin(port);
		return;
	}
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		if (port->out[i])
			hold_cut(port->out[i]);
	signals_cut(port);
}

static void cut_begin(struct sw_port *port)
{
	port->cut_again = port->cut_pending;
	if (!port->cut_pending) {
		port->cut_pending = true;
		port->cut_step.passed.fn = cut_seen;
		STAILQ_INSERT_TAIL(&port->sw->unpublished_steps, &port->cut_step, unpublished);
	}
	switch_publish_removal(port->sw);
}

void sw_port_link_set(struct sw_port *port, bool up)
{
	if (port->removing || port->cut != up)
		return;
	__atomic_store_n(&port->cut, !up, __ATOMIC_RELAXED);
	port_gate_set(port, GATE_BOND, !up || port->was_member);
	switch_port_changed(port->sw);
	if (up) {
		switch_publish_removal(port->sw);
		port_held_send(port);
		if (signals_held(port)) /* what has been due meanwhile has found no queue */
			sw_port_signals_set(port, true);
		return;
	}
	cut_begin(port);
	sw_fdb_flush(port->sw, port);
	multicast_port_remove(port);
	multicast_port_add(port);
}

bool sw_port_link(const struct sw_port *port)
{
	return !port->cut;
}
