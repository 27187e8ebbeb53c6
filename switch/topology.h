/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_TOPOLOGY_H
#define SWITCH_TOPOLOGY_H

/* What workers know of ports and queues: topology.c. */

#include "base/util.h"
#include "switch/port.h"
#include "work/grace.h"
#include "work/table.h"

enum topology_membership {
	MEMBER_NOT,
	MEMBER_SILENT, /* of a bond that does not take what it brings, or of one that is not there */
	MEMBER_TAKEN,
};

/* A port as workers see it. */
struct topology_port {
	struct sw_port *port;
	const struct sw_port_ops *ops;
	void *opaque;
	struct port_rules rules;
	uint32_t out_count; /* of a bond: 2, if it has a member that carries, and `out` says nothing */
	struct out_queue **out;
	enum topology_membership member;
	struct topology_bond *bond; /* that it is, or is a member of; or NULL */
};

/* A bond as workers see it. */
struct topology_bond {
	const struct topology_port *port;
	const struct topology_port *only; /* who carries all, or NULL: */
	enum sw_bond_hash hash;
	bool lacp;
	const struct topology_port *member[SW_BOND_MEMBERS_MAX];
	uint8_t carrier[SW_BOND_SHARES]; /* of each share of the flows: a member's number */
};

/* Who is in a VLAN, without gaps: for flooding. */
struct topology_vlan {
	uint32_t port_count;
	uint32_t open_count; /* of those, with running out queues */
	uint16_t of_role[ROLE_COUNT], open_of_role[ROLE_COUNT]; /* of either */
	struct topology_port **ports; /* uplinks come first */
};

/*
 * Ports and queues at one moment. Immutable (but for the workers' scratch, see work/table.h), in one allocation. Workers take the published one
 * at the top of their loop and keep it for the round; it is freed a grace period after its successor came.
 */
struct topology {
	struct work_table table; /* the in queues, as sources */
	uint32_t port_count;
	uint32_t id_limit;
	uint32_t vlan_limit;
	bool guests_apart, guests_relayed; /* some ports are ROLE_OFF or ROLE_RELAYED; the latter */
	struct topology_port *ports;
	struct topology_bond *bonds;
	struct topology_port **by_id; /* NULL: no such port */
	struct topology_vlan *vlans;  /* by number; maybe without a port */
};

/* What is published is the table. */
static inline struct topology *topology_of(struct work_table *table)
{
	return container_of(table, struct topology, table);
}

int topology_new(const struct sw *sw, struct topology **ret_topology);
/*
 * Makes what the control thread changed visible, and defers what went to the grace thread. -ENOMEM:
 * workers still use the old topology.
 */
int topology_publish(struct sw *sw);
/* Of what was removed no published topology tells any more: a grace period from now nobody knows it. */
void topology_defer_removed(struct sw *sw);

static inline struct topology_port *topology_port(const struct topology *topology, unsigned id)
{
	return likely(id < topology->id_limit) ? topology->by_id[id] : NULL;
}

/* Its out queue of that number, if it runs; or NULL. */
static inline struct out_queue *topology_out(const struct topology_port *port, unsigned number)
{
	for (uint32_t i = 0; i < port->out_count; i++)
		if (port->out[i]->number == number)
			return port->out[i];
	return NULL;
}

/* NULL: no such port, or not in this VLAN. */
static inline struct topology_port *topology_port_in(const struct topology *topology, uint16_t vlan, unsigned id)
{
	struct topology_port *port = topology_port(topology, id);

	return likely(port) && (likely(port->rules.vlan == vlan) || rules_in_vlan(&port->rules, vlan)) ? port : NULL;
}

static inline const struct topology_vlan *topology_vlan(const struct topology *topology, uint16_t vlan)
{
	static const struct topology_vlan nobody;

	return likely(vlan < topology->vlan_limit) ? &topology->vlans[vlan] : &nobody;
}

#endif
