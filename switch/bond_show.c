/* SPDX-License-Identifier: BSD-3-Clause */
/* What people are told of bonds. Control thread. */
#include "switch/bond.h"
#include "switch/core.h"
#include "switch/port.h"
#include <string.h>

static const char *const receive_names[] = {
	[LACP_RECEIVE_DISABLED] = "disabled",
	[LACP_RECEIVE_EXPIRED] = "expired",
	[LACP_RECEIVE_DEFAULTED] = "defaulted",
	[LACP_RECEIVE_CURRENT] = "current",
};
static const char *const periodic_names[] = {
	[LACP_PERIODIC_NONE] = "none", [LACP_PERIODIC_FAST] = "fast", [LACP_PERIODIC_SLOW] = "slow"};
static const char *const selected_names[] = {
	[LACP_UNSELECTED] = "unselected", [LACP_STANDBY] = "standby", [LACP_SELECTED] = "selected"};
static const char *const mux_names[] = {
	[LACP_MUX_DETACHED] = "detached",
	[LACP_MUX_WAITING] = "waiting",
	[LACP_MUX_ATTACHED] = "attached",
	[LACP_MUX_COLLECTING] = "collecting",
	[LACP_MUX_DISTRIBUTING] = "distributing",
};

bool sw_port_is_bond(const struct sw_port *port)
{
	return port->bond;
}

void sw_bond_status(const struct sw_port *port, struct sw_bond_status *ret_status)
{
	const struct bond *bond = port->bond;
	const struct lacp_end *partner = &bond->lacp.members[bond->lacp.leader].partner;
	struct sw_bond_status status = {
		.mode = bond->config.mode,
		.hash = bond->config.hash,
		.primary = bond->primary,
		.active = bond->active < 0 || !bond->roles.carries ? NULL : bond->member[bond->active]->name,
		.last = bond->active < 0 ? NULL : bond->member[bond->active]->name,
		.lacp_passive = bond->config.lacp_passive,
		.lacp_fast = bond->config.lacp_fast,
		.lacp_key = bond->lacp.config.key,
		.lacp_partner = bond->lacp.chosen,
	};

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		status.member_count += bond->member[i] != NULL;
	memcpy(status.lacp_system, bond->config.lacp_system, sizeof(status.lacp_system));
	if (bond->lacp.chosen) {
		memcpy(status.partner_system, partner->system, sizeof(status.partner_system));
		status.partner_system_priority = partner->system_priority;
		status.partner_key = partner->key;
	}
	*ret_status = status;
}

void sw_bond_last_set(struct sw_port *port, const char *member)
{
	struct bond *bond = port->bond;

	for (unsigned i = 0; bond && i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i] && !strcmp(bond->member[i]->name, member))
			bond->active = (int)i;
}

struct sw_bond_end bond_end_told(const struct lacp_end *end)
{
	struct sw_bond_end told = {
		.system_priority = end->system_priority,
		.key = end->key,
		.port_priority = end->port_priority,
		.port = end->port,
		.state = end->state,
	};

	memcpy(told.system, end->system, sizeof(told.system));
	return told;
}

static void lacp_tell(const struct bond *bond, unsigned number, struct sw_bond_member *member)
{
	const struct lacp_member *m = &bond->lacp.members[number];

	member->loops = lacp_loops(&bond->lacp, number);
	member->receive = receive_names[m->receive];
	member->periodic = periodic_names[m->periodic];
	member->selected = selected_names[m->selected];
	member->mux = mux_names[m->mux];
	member->actor = bond_end_told(&m->actor);
	member->partner = bond_end_told(&m->partner);
	member->heard = m->counters.heard;
	member->sent = m->counters.sent;
	member->bad = m->counters.bad;
	member->markers = m->counters.markers;
}

void sw_bond_each(const struct sw_port *port, void (*fn)(void *opaque, const struct sw_bond_member *member), void *opaque)
{
	const struct bond *bond = port->bond;

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++) {
		struct sw_bond_member member = {
			.up = bond->roles.up >> i & 1, .takes = bond->roles.takes >> i & 1, .carries = bond->roles.carries >> i & 1};

		if (!bond->member[i])
			continue;
		member.port = bond->member[i]->name;
		for (unsigned share = 0; member.carries && share < SW_BOND_SHARES; share++)
			member.share += bond->carrier[share] == i;
		if (bond->config.mode == SW_BOND_LACP)
			lacp_tell(bond, i, &member);
		fn(opaque, &member);
	}
}
