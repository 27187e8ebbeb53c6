/* SPDX-License-Identifier: BSD-3-Clause */
/* Links and workers of ports, as their SPECs say. */
#include "base/log.h"
#include "port.h"
#include "port_running.h"
#include <stdio.h>

bool port_workers_there(const struct ports *ports, const struct port_spec *spec, char *why)
{
	unsigned count = sw_worker_count(ports->sw);

	for (unsigned i = 0; i < spec->queues; i++) {
		if (spec->running.worker[i] <= count)
			continue;
		snprintf(why, SPEC_WHY_BYTES, "port '%s': worker=%u: expected a number below %u: there %s", spec->at.name,
			 spec->running.worker[i] - 1u, count, count == 1 ? "is one worker; --workers gives more" : "are so many workers");
		return false;
	}
	return true;
}

static void queue_run(struct port *port, unsigned queue, unsigned worker)
{
	int err = worker ? sw_queue_move(port->sw, queue, worker - 1, NULL, NULL) : 0;

	if (!worker)
		sw_queue_anywhere(port->sw, queue);
	if (err)
		log_error(&port->log, "queue %u stays with its worker: out of memory", queue);
}

void port_workers_run(struct port *port, const struct port_running *to, const struct port_running *was)
{
	for (unsigned i = 0; i < port->spec.queues; i++)
		if (!was || was->worker[i] != to->worker[i])
			queue_run(port, i, to->worker[i]);
}

void port_link_run(struct port *port, const struct port_running *to, const struct port_running *was)
{
	if (!was || was->link_down != to->link_down)
		port_link_set(port, !to->link_down);
}

void port_running_begin(struct port *port)
{
	static const struct port_running nothing;

	port_workers_run(port, &port->spec.running, &nothing);
	if (port->spec.running.link_down)
		sw_port_link_set(port->sw, false);
}
