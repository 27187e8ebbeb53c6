/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/aside.h"
#include "switch/bond.h"
#include "switch/core.h"
#include "switch/topology.h"
#include "switch/forwarder.h"
#include <errno.h>
#include <stdlib.h>

struct sizes {
	size_t ports, bonds, ids, vlans, members, outs, slots; /* members: of all VLANs */
};

static bool queue_live(const struct queue *queue)
{
	return !queue->removing;
}

static bool in_live(const struct in_queue *in)
{
	return queue_live(&in->queue) && !in->waits;
}

/* Nothing goes to a port whose link is down. */
static bool out_live(const struct sw_port *port, unsigned number)
{
	return port->out[number] && queue_live(&port->out[number]->queue) && !port->cut;
}

static unsigned port_outs(const struct sw_port *port)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		count += out_live(port, i);
	return count;
}

static struct sizes measure(const struct sw *sw)
{
	struct sizes sizes = {0};
	const struct sw_port *port;

	TAILQ_FOREACH(port, &sw->ports, link) {
		sizes.ports++;
		sizes.bonds += port->bond != NULL;
		sizes.outs += port_outs(port);
		if (port->id >= sizes.ids)
			sizes.ids = port->id + 1u;
		for (uint16_t vlan = 0; rules_next_vlan(&port->rules, &vlan); vlan++) {
			sizes.members++;
			if (vlan >= sizes.vlans)
				sizes.vlans = vlan + 1u;
		}
	}
	for (unsigned i = 0; i < sw->worker_count; i++)
		sizes.slots += sw->forwarders[i]->worker.slot_count;
	return sizes;
}

/* Cuts the next `bytes` (a multiple of 8) off the allocation. */
static void *carve(char **at, size_t bytes)
{
	void *piece = *at;

	*at += bytes;
	return piece;
}

static struct topology *allocate(const struct sw *sw, const struct sizes *sizes)
{
	size_t worker_bytes = sw->worker_count * sizeof(struct work_list);
	size_t port_bytes = sizes->ports * sizeof(struct topology_port);
	size_t bond_bytes = sizes->bonds * sizeof(struct topology_bond);
	size_t vlan_bytes = sizes->vlans * sizeof(struct topology_vlan);
	size_t pointers = sizes->members + sizes->ids + sizes->outs + 2 * sizes->slots;
	struct topology *topology;
	char *at;

	topology = calloc(1, sizeof(*topology) + worker_bytes + port_bytes + bond_bytes + vlan_bytes + pointers * sizeof(void *));
	if (!topology)
		return NULL;
	at = (char *)(topology + 1);
	topology->table.lists = carve(&at, worker_bytes);
	topology->ports = carve(&at, port_bytes);
	topology->bonds = carve(&at, bond_bytes);
	topology->vlans = carve(&at, vlan_bytes);
	topology->by_id = carve(&at, sizes->ids * sizeof(void *));
	topology->id_limit = (uint32_t)sizes->ids;
	topology->vlan_limit = (uint32_t)sizes->vlans;
	topology->port_count = (uint32_t)sizes->ports;
	if (sizes->members)
		topology->vlans[0].ports = carve(&at, sizes->members * sizeof(void *));
	if (sizes->ports) {
		topology->ports[0].out = carve(&at, sizes->outs * sizeof(void *));
	}
	for (unsigned i = 0; i < sw->worker_count; i++) {
		struct work_list *worker = &topology->table.lists[i];

		worker->slot_count = sw->forwarders[i]->worker.slot_count;
		worker->slots = carve(&at, worker->slot_count * sizeof(void *));
		worker->active = carve(&at, worker->slot_count * sizeof(void *));
	}
	return topology;
}

static void fill_ports(const struct sw *sw, struct topology *topology)
{
	struct topology_port *to = topology->ports;
	struct out_queue **outs = topology->port_count ? to->out : NULL;
	struct sw_port *port;

	TAILQ_FOREACH(port, &sw->ports, link) {
		*to = (struct topology_port){
			.port = port, .ops = port->ops, .opaque = port->opaque, .rules = port->rules, .out = outs};
		if (port->aside) {
			to->ops = &aside_ops;
			to->opaque = port->aside;
		}
		for (unsigned i = 0; i < SW_QUEUES_MAX; i++) {
			if (out_live(port, i))
				to->out[to->out_count++] = port->out[i];
		}
		outs += to->out_count;
		topology->guests_relayed |= rules_role(&to->rules) == ROLE_RELAYED;
		topology->guests_apart |= (to->rules.is & ROLES_APART) != 0;
		topology->by_id[port->id] = to++;
	}
}

static void vlan_add(struct topology_vlan *vlan, struct topology_port *port)
{
	unsigned role = rules_role(&port->rules);

	vlan->ports[vlan->port_count++] = port;
	vlan->of_role[role]++;
	vlan->open_of_role[role] += port->out_count != 0;
	vlan->open_count += port->out_count != 0;
}

static void vlans_add(struct topology *topology, unsigned roles)
{
	for (uint32_t i = 0; i < topology->port_count; i++) {
		struct topology_port *port = &topology->ports[i];

		if (!(port->rules.is & roles))
			continue;
		for (uint16_t in = 0; rules_next_vlan(&port->rules, &in); in++)
			vlan_add(&topology->vlans[in], port);
	}
}

/* The VLANs' sets lie one behind the other, in the room that allocate() has given to the first. */
static void fill_vlans(struct topology *topology)
{
	struct topology_vlan *vlans = topology->vlans;

	for (uint32_t i = 0; i < topology->port_count; i++) {
		for (uint16_t vlan = 0; rules_next_vlan(&topology->ports[i].rules, &vlan); vlan++)
			vlans[vlan].port_count++;
	}
	for (uint32_t i = 1; i < topology->vlan_limit; i++) {
		vlans[i].ports = vlans[i - 1].ports + vlans[i - 1].port_count;
		vlans[i - 1].port_count = 0;
	}
	if (topology->vlan_limit)
		vlans[topology->vlan_limit - 1].port_count = 0;
	vlans_add(topology, ROLE_BIT(ROLE_UPLINK));
	vlans_add(topology, ~ROLE_BIT(ROLE_UPLINK));
}

static void fill_workers(const struct sw *sw, struct topology *topology)
{
	for (unsigned i = 0; i < sw->worker_count; i++) {
		struct source **slots = sw->forwarders[i]->worker.slots;

		for (unsigned slot = 0; slot < sw->forwarders[i]->worker.slot_count; slot++) {
			if (slots[slot] && in_live(container_of(slots[slot], struct in_queue, source)))
				topology->table.lists[i].slots[slot] = slots[slot];
		}
	}
}

int topology_new(const struct sw *sw, struct topology **ret_topology)
{
	struct sizes sizes = measure(sw);
	struct topology *topology = allocate(sw, &sizes);

	if (!topology)
		return -ENOMEM;
	fill_ports(sw, topology);
	bonds_fill(sw, topology);
	fill_vlans(topology);
	fill_workers(sw, topology);
	topology->table.version = sw->version + 1;
	*ret_topology = topology;
	return 0;
}

static void topology_gone(struct grace_item *item)
{
	free(topology_of(container_of(item, struct work_table, gone)));
}

void topology_defer_removed(struct sw *sw)
{
	while (!STAILQ_EMPTY(&sw->unpublished)) {
		struct queue *queue = STAILQ_FIRST(&sw->unpublished);

		STAILQ_REMOVE_HEAD(&sw->unpublished, unpublished);
		grace_defer(sw->grace, &queue->gone);
	}
	while (!STAILQ_EMPTY(&sw->unpublished_sets)) {
		struct vlan_set *set = STAILQ_FIRST(&sw->unpublished_sets);

		STAILQ_REMOVE_HEAD(&sw->unpublished_sets, unpublished);
		grace_defer(sw->grace, &set->gone);
	}
	while (!STAILQ_EMPTY(&sw->unpublished_steps)) {
		struct topology_step *step = STAILQ_FIRST(&sw->unpublished_steps);

		STAILQ_REMOVE_HEAD(&sw->unpublished_steps, unpublished);
		grace_defer(sw->grace, &step->passed);
	}
	while (!STAILQ_EMPTY(&sw->unpublished_ports)) {
		struct sw_port *port = STAILQ_FIRST(&sw->unpublished_ports);

		STAILQ_REMOVE_HEAD(&sw->unpublished_ports, unpublished);
		grace_defer(sw->grace, &port->gone);
	}
}

int topology_publish(struct sw *sw)
{
	struct topology *topology;
	int err;

	if (sw->held)
		return 0;
	bonds_choose(sw);
	err = topology_new(sw, &topology);
	if (err)
		return err;
	sw->version = topology->table.version;
	topology->table.gone.fn = topology_gone;
	work_table_publish(&sw->published, &topology->table, sw->grace);
	topology_defer_removed(sw);
	/* What came with a change that could not be published is news to workers, which may sleep. */
	for (unsigned i = 0; i < sw->started && sw->stale; i++)
		worker_wake(&sw->forwarders[i]->worker);
	return 0;
}
