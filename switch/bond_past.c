/* SPDX-License-Identifier: BSD-3-Clause */
/* What LACP has agreed on, from one process to another. Control thread. */
#include "base/clock.h"
#include "switch/bond.h"
#include "switch/core.h"
#include "switch/port.h"
#include <errno.h>
#include <string.h>

static struct lacp_end end_taken(const struct sw_bond_end *told)
{
	struct lacp_end end = {
		.system_priority = told->system_priority,
		.key = told->key,
		.port_priority = told->port_priority,
		.port = told->port,
		.state = told->state,
	};

	memcpy(end.system, told->system, sizeof(end.system));
	return end;
}

void sw_bond_past_each(const struct sw_port *port, void (*fn)(void *opaque, const struct sw_bond_past *past), void *opaque)
{
	const struct bond *bond = port->bond;
	uint64_t now_ms = clock_now_ms();

	for (unsigned i = 0; bond->config.mode == SW_BOND_LACP && i < SW_BOND_MEMBERS_MAX; i++) {
		struct lacp_past past;

		if (!bond->member[i] || !bond->lacp.members[i].up)
			continue;
		lacp_past_tell(&bond->lacp, i, now_ms, &past);
		fn(opaque, &(struct sw_bond_past){
				   .port = bond->member[i]->name,
				   .leads = past.leads,
				   .nobody = past.nobody,
				   .receive = (uint8_t)past.receive,
				   .periodic = (uint8_t)past.periodic,
				   .selected = (uint8_t)past.selected,
				   .mux = (uint8_t)past.mux,
				   .partner = bond_end_told(&past.partner),
				   .current_ms = past.current_ms,
				   .periodic_ms = past.periodic_ms,
				   .wait_ms = past.wait_ms,
			   });
	}
}

static int member_of(const struct bond *bond, const char *name)
{
	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i] && !strcmp(bond->member[i]->name, name))
			return (int)i;
	return -1;
}

static struct lacp_past past_taken(const struct sw_bond_past *told)
{
	return (struct lacp_past){
		.leads = told->leads,
		.nobody = told->nobody,
		.receive = (enum lacp_receive)told->receive,
		.periodic = (enum lacp_periodic)told->periodic,
		.selected = (enum lacp_selected)told->selected,
		.mux = (enum lacp_mux)told->mux,
		.partner = end_taken(&told->partner),
		.current_ms = told->current_ms,
		.periodic_ms = told->periodic_ms,
		.wait_ms = told->wait_ms,
	};
}

static bool speaks_lacp(const struct sw_port *port)
{
	return port->bond && port->bond->config.mode == SW_BOND_LACP;
}

bool sw_bond_pasts_valid(const struct sw_port *port, const struct sw_bond_past *told, unsigned count)
{
	struct lacp_past pasts[SW_BOND_MEMBERS_MAX];

	if (!speaks_lacp(port) || count > SW_BOND_MEMBERS_MAX)
		return false;
	for (unsigned i = 0; i < count; i++)
		pasts[i] = past_taken(&told[i]);
	return lacp_pasts_valid(&port->bond->lacp.config, pasts, count);
}

int sw_bond_past_set(struct sw_port *port, const struct sw_bond_past *told)
{
	const struct lacp_past past = past_taken(told);
	struct bond *bond = port->bond;
	int number = speaks_lacp(port) ? member_of(bond, told->port) : -1;

	if (number < 0 || (told->leads && bond->lacp.chosen && bond->lacp.leader != (unsigned)number))
		return -EINVAL;
	return lacp_past_set(&bond->lacp, (unsigned)number, &past, clock_now_ms()) ? 0 : -EINVAL;
}
