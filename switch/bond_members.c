/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Bonds and their members come and go here, in either order. A member keeps its number, which is its place in all sets of members, until it leaves.
 */

#include "switch/bond.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/port.h"
#include "switch/scramble.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int bond_number_of(const struct bond *bond, const struct sw_port *port)
{
	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i] == port)
			return (int)i;
	return -1;
}

void bond_offloads_look(struct sw_port *port)
{
	const struct bond *bond = port->joined;
	unsigned offloads = ~0u;

	for (unsigned i = 0; bond && i < SW_BOND_MEMBERS_MAX; i++)
		offloads &= bond->member[i] ? bond->member[i]->offloads : ~0u;
	if (bond)
		__atomic_store_n(&bond->port->offloads, offloads, __ATOMIC_RELEASE);
}

static void gate(struct sw_port *port)
{
	port->was_member = true;
	bucket_fill(&port->lacpdus, LACPDUS_PER_S, LACPDUS_AT_ONCE);
	/* A worker that knows of it by the topology sees this: it is published with release. */
	port_gate_set(port, GATE_BOND, true);
}

static void join(struct bond *bond, struct sw_port *port)
{
	int number = bond_number_of(bond, NULL);

	if (number < 0) {
		log_warning(&port->sw->log, "%s: %s has as many members as a bond may have (%u): it carries nothing", port->name,
			    bond->port->name, SW_BOND_MEMBERS_MAX);
		return;
	}
	bond->member[number] = port;
	port->joined = bond;
	lacp_member_add(&bond->lacp, (unsigned)number, (uint16_t)(port->id + 1u));
	bond_offloads_look(port);
}

static void leave(struct sw_port *port)
{
	struct bond *bond = port->joined;
	int number = bond_number_of(bond, port);

	lacp_member_remove(&bond->lacp, (unsigned)number, clock_now_ms());
	bond->member[number] = NULL;
	bond->roles.carries &= ~(1u << number); /* another may get the number at once */
	bond->moved = true;
	bond->active = bond->active == number ? -1 : bond->active;
	bond_offloads_look(port);
	port->joined = NULL;
}

static void members_find(struct bond *bond)
{
	struct sw_port *port;

	TAILQ_FOREACH(port, &bond->port->sw->ports, link) {
		if (port->member_of && !port->joined && !strcmp(port->member_of, bond->port->name))
			join(bond, port);
	}
}

static void bond_find(struct sw_port *port)
{
	struct sw_port *found = sw_port_find(port->sw, port->member_of);

	gate(port);
	if (found && found->bond)
		join(found->bond, port);
}

void bond_port_came(struct sw_port *port)
{
	if (port->bond) {
		TAILQ_INSERT_TAIL(&port->sw->bonds, port->bond, link);
		members_find(port->bond);
	} else if (port->member_of) {
		bond_find(port);
	}
}

/* Who has found no room may have some now. */
static void leave_for_others(struct sw_port *port)
{
	struct bond *bond = port->joined;
	char *member_of = port->member_of;

	leave(port);
	port->member_of = NULL;
	members_find(bond);
	port->member_of = member_of;
}

void bond_port_left(struct sw_port *port)
{
	if (port->joined)
		leave_for_others(port);
	if (!port->bond)
		return;
	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (port->bond->member[i])
			leave(port->bond->member[i]);
	loop_timer_stop(port->bond->timer);
	TAILQ_REMOVE(&port->sw->bonds, port->bond, link);
}

char *bond_member_set(struct sw_port *port, char *member_of)
{
	char *before = port->member_of;

	if (port->joined)
		leave_for_others(port);
	port->member_of = member_of;
	if (member_of)
		bond_find(port);
	return before;
}

/* ---- the whole ---- */

static int system_choose(uint8_t system[6])
{
	static const uint8_t none[6];

	if (memcmp(system, none, sizeof(none)) != 0)
		return system[0] & 1 ? -EINVAL : 0;
	if (getrandom(system, 6, GRND_NONBLOCK) != 6)
		memcpy(system, &(uint64_t){clock_now_us() * SCRAMBLE_FIRST}, 6);
	system[0] = (uint8_t)((system[0] & 0xfc) | 2); /* local, and of one */
	return 0;
}

void bond_lacp_begin(struct bond *bond)
{
	struct lacp_config lacp = {
		.system_priority = 0x8000,
		.key = (uint16_t)(bond->port->id + 1u),
		.passive = bond->config.lacp_passive,
		.fast = bond->config.lacp_fast,
	};

	memcpy(lacp.system, bond->config.lacp_system, sizeof(lacp.system));
	lacp_init(&bond->lacp, &lacp);
	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i])
			lacp_member_add(&bond->lacp, i, (uint16_t)(bond->member[i]->id + 1u));
}

/* What of the config is the bond's own: its primary is a copy, its system is chosen. */
static int config_take(struct bond *bond, const struct sw_bond_config *config)
{
	char *primary = config->primary ? strdup(config->primary) : NULL;
	struct sw_bond_config next = *config;
	int err = system_choose(next.lacp_system);

	if (err || (config->primary && !primary)) {
		free(primary);
		return err ? err : -ENOMEM;
	}
	free(bond->primary);
	bond->primary = primary;
	next.primary = primary;
	bond->config = next;
	return 0;
}

static bool lacp_same(const struct sw_bond_config *a, const struct sw_bond_config *b)
{
	return a->mode == b->mode && a->lacp_passive == b->lacp_passive && a->lacp_fast == b->lacp_fast &&
	       !memcmp(a->lacp_system, b->lacp_system, sizeof(a->lacp_system));
}

int sw_bond_set(struct sw_port *port, const struct sw_bond_config *config)
{
	static const uint8_t none[6];
	struct bond *bond = port->bond;
	struct sw_bond_config before = bond->config, next = *config;
	int err;

	if (!memcmp(next.lacp_system, none, sizeof(none)))
		memcpy(next.lacp_system, before.lacp_system, sizeof(none));
	err = config_take(bond, &next);
	if (err)
		return err;
	if (!lacp_same(&before, &bond->config))
		bond_lacp_begin(bond);
	switch_publish_removal(port->sw);
	return 0;
}

int bond_new(struct sw_port *port, const struct sw_bond_config *config)
{
	struct bond *bond = calloc(1, sizeof(*bond));
	int err;

	if (!bond)
		return -ENOMEM;
	port->bond = bond;
	bond->port = port;
	bond->active = -1;
	err = config_take(bond, config);
	if (err)
		return err;
	bond_lacp_begin(bond);
	return loop_timer_new(port->sw->loop, bond_on_timer, bond, &bond->timer);
}

void bond_free(struct bond *bond)
{
	if (!bond)
		return;
	if (bond->timer)
		loop_timer_free(&bond->timer);
	free(bond->primary);
	free(bond);
}
