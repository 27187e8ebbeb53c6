/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A bond is a port without queues of its own: it has the name, the id, the VLANs, the role and the counters. Its members are ports that are in no
 * VLAN and of which nobody hears. What a member brings is, for all that follows, from the bond (bond_gate()), so the forwarding database
 * learns the bond, and nothing goes back to another member; what goes to the bond goes out of one member (bond_deliver()). A port is a member by the
 * bond's name: either may come first, and go.
 *
 * Which members take frames in, and which carry them out, is decided whenever a topology is made, by what is known then of ports, queues and
 * cables, and is part of it: so who is down is left out in the same moment in which no frame goes to him any more. A change that shows otherwise (a
 * LACPDU, a timer, a cable of a port that nobody tells of) has a topology made.
 *
 * Flows are 256 shares by a hash of their headers. A share's carrier is, of those that carry, the one with the largest number that share and member
 * make together (rendezvous hashing): if one goes its shares alone move, and when it comes back it gets the same.
 *
 * Cables: members whose ports can say whether there is one are asked every 100 ms, which is what the kernel's bonding driver does (miimon).
 */

#include "switch/bond.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "switch/core.h"
#include "switch/topology.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARRIER_MS 100u
#define NAMES_BYTES 512u

const struct sw_port_ops bond_ops = {.peer_memory = false};

/* ---- who is up ---- */

static bool port_has_queue(const struct sw_port *port)
{
	for (unsigned i = 0; i < SW_QUEUES_MAX; i++)
		if (port->out[i] && !port->out[i]->queue.removing)
			return true;
	return false;
}

static bool member_up(const struct bond *bond, const struct sw_port *member)
{
	return !bond->port->cut && !member->cut && port_has_queue(member) && (!member->ops->carrier || member->ops->carrier(member->opaque));
}

static uint32_t members_up(const struct bond *bond)
{
	uint32_t up = 0;

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		up |= (uint32_t)(bond->member[i] && member_up(bond, bond->member[i])) << i;
	return up;
}

/* ---- who carries ---- */

static int active_of(const struct bond *bond, uint32_t up)
{
	for (unsigned i = 0; bond->primary && i < SW_BOND_MEMBERS_MAX; i++)
		if (up >> i & 1 && !strcmp(bond->member[i]->name, bond->primary))
			return (int)i;
	if (bond->active >= 0 && up >> bond->active & 1)
		return bond->active;
	return up ? __builtin_ctz(up) : -1;
}

static struct bond_roles roles_of(const struct bond *bond)
{
	struct bond_roles roles = {.up = members_up(bond)};
	int active;

	switch (bond->config.mode) {
	case SW_BOND_ACTIVE_BACKUP:
		active = active_of(bond, roles.up);
		roles.takes = roles.carries = active < 0 ? 0 : 1u << active;
		break;
	case SW_BOND_BALANCE:
		roles.takes = roles.carries = roles.up;
		break;
	case SW_BOND_LACP:
		roles.takes = lacp_collecting(&bond->lacp) & roles.up;
		roles.carries = lacp_distributing(&bond->lacp) & roles.up;
		break;
	}
	return roles;
}

static bool roles_same(const struct bond_roles *a, const struct bond_roles *b)
{
	return a->up == b->up && a->takes == b->takes && a->carries == b->carries;
}

static uint64_t name_number(const char *name)
{
	uint64_t number = 0xcbf29ce484222325u;

	for (; *name; name++)
		number = (number ^ (uint8_t)*name) * 0x100000001b3u;
	return number;
}

static uint64_t weight(unsigned share, uint64_t member)
{
	uint64_t mixed = (member ^ (share + 1) * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

	mixed = (mixed ^ mixed >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return mixed ^ mixed >> 33;
}

static void shares_give(struct bond *bond)
{
	uint64_t best[SW_BOND_SHARES] = {0};

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++) {
		uint64_t number;

		if (!(bond->roles.carries >> i & 1))
			continue;
		number = name_number(bond->member[i]->name);
		for (unsigned share = 0; share < SW_BOND_SHARES; share++) {
			uint64_t mine = weight(share, number) | 1;

			if (mine <= best[share])
				continue;
			best[share] = mine;
			bond->carrier[share] = (uint8_t)i;
		}
	}
}

static void tell(const struct bond *bond)
{
	char names[NAMES_BYTES] = "";
	size_t at = 0;

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX && at < sizeof(names); i++)
		if (bond->roles.carries >> i & 1)
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "", bond->member[i]->name);
	if (at)
		log_info(&bond->port->sw->log, "%s: frames go out of %s", bond->port->name, names);
	else
		log_warning(&bond->port->sw->log, "%s: no member carries frames: bond show says why", bond->port->name);
}

static void timer_start(struct bond *bond, uint64_t now_ms)
{
	uint64_t due_ms = bond->config.mode == SW_BOND_LACP ? lacp_due_ms(&bond->lacp, now_ms) : LACP_NEVER;

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i] && bond->member[i]->ops->carrier)
			due_ms = min_u64(due_ms, now_ms + CARRIER_MS);
	if (bond->announce)
		due_ms = now_ms;
	if (due_ms == LACP_NEVER)
		loop_timer_stop(bond->timer);
	else
		loop_timer_start(bond->timer, due_ms - now_ms);
}

static void choose(struct bond *bond)
{
	uint64_t now_ms = clock_now_ms();
	uint32_t up = members_up(bond), carried = bond->roles.carries;

	for (unsigned i = 0; bond->config.mode == SW_BOND_LACP && i < SW_BOND_MEMBERS_MAX; i++)
		lacp_link_set(&bond->lacp, i, up >> i & 1, now_ms);
	bond->roles = roles_of(bond);
	if (bond->config.mode == SW_BOND_ACTIVE_BACKUP && bond->roles.carries)
		bond->active = __builtin_ctz(bond->roles.carries);
	if (bond->roles.carries != carried || bond->moved) {
		bond->moved = false;
		bond->announce = bond->config.mode == SW_BOND_ACTIVE_BACKUP && bond->roles.carries;
		shares_give(bond);
		tell(bond);
	}
	timer_start(bond, now_ms);
}

void bonds_choose(struct sw *sw)
{
	struct bond *bond;

	TAILQ_FOREACH(bond, &sw->bonds, link)
		choose(bond);
}

/* ---- what is due ---- */

static void speak(struct bond *bond, uint64_t now_ms)
{
	uint8_t frame[LACP_FRAME_BYTES];

	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++)
		if (bond->member[i] && lacp_speak(&bond->lacp, i, now_ms, frame))
			bond_say(bond->member[i], frame, sizeof(frame));
}

/* What has changed is published; what was said before that is said by who carried then. */
static void settle(struct bond *bond, uint64_t now_ms)
{
	struct bond_roles now;

	if (bond->config.mode == SW_BOND_LACP)
		speak(bond, now_ms);
	now = roles_of(bond);
	if (!roles_same(&now, &bond->roles))
		switch_publish_removal(bond->port->sw);
	if (bond->announce && bond->active >= 0)
		bond_announce(bond, bond->member[bond->active]);
	bond->announce = false;
	timer_start(bond, now_ms);
}

void bond_on_timer(void *opaque)
{
	struct bond *bond = opaque;
	uint64_t now_ms = clock_now_ms();

	if (bond->config.mode == SW_BOND_LACP)
		lacp_run(&bond->lacp, now_ms);
	settle(bond, now_ms);
}

static void hear(struct sw *sw, const struct lacpdu *pdu)
{
	struct sw_port *port = sw->by_id[pdu->port];
	uint8_t answer[LACP_FRAME_BYTES];
	uint64_t now_ms = clock_now_ms();
	enum lacp_heard heard;
	struct bond *bond;

	if (!port || port->serial != pdu->serial || !port->joined || port->joined->config.mode != SW_BOND_LACP)
		return;
	bond = port->joined;
	heard = lacp_hear(&bond->lacp, (unsigned)bond_number_of(bond, port), pdu->data, pdu->bytes, now_ms, answer);
	if (heard == LACP_HEARD_BAD)
		counter_add(&port_counters_control(port)->rx_lacp_bad, 1);
	if (heard == LACP_HEARD_MARKER)
		bond_say(port, answer, sizeof(answer));
	bond->heard = true;
}

static struct lacpdu *reversed(struct lacpdu *list)
{
	struct lacpdu *first = NULL;

	while (list) {
		struct lacpdu *next = list->next;

		list->next = first;
		first = list;
		list = next;
	}
	return first;
}

/*
 * What has come meanwhile is looked at together: a partner that agrees and disagrees in turn, as often as it may speak, has one topology made
 * of all that, and not one of each word.
 */
void bonds_look(struct sw *sw)
{
	/* Pairs with the release in bond_carry.c (lacpdu_post). */
	struct lacpdu *pdu = reversed(__atomic_exchange_n(&sw->lacpdus, NULL, __ATOMIC_ACQUIRE));
	struct bond *bond;

	while (pdu) {
		struct lacpdu *next = pdu->next;

		hear(sw, pdu);
		free(pdu);
		pdu = next;
	}
	TAILQ_FOREACH(bond, &sw->bonds, link) {
		if (bond->heard)
			settle(bond, clock_now_ms());
		bond->heard = false;
	}
}

void bonds_end(struct sw *sw)
{
	struct lacpdu *pdu = sw->lacpdus;

	while (pdu) {
		struct lacpdu *next = pdu->next;

		free(pdu);
		pdu = next;
	}
	sw->lacpdus = NULL;
}

/* ---- what workers see ---- */

static void fill(const struct bond *bond, struct topology *topology, struct topology_bond *to)
{
	struct topology_port *port = topology->by_id[bond->port->id];
	uint32_t carries = bond->roles.carries;

	to->port = port;
	to->hash = bond->config.hash;
	to->lacp = bond->config.mode == SW_BOND_LACP;
	memcpy(to->carrier, bond->carrier, sizeof(to->carrier));
	port->bond = to;
	port->out_count = carries ? 2 : 0;
	for (unsigned i = 0; i < SW_BOND_MEMBERS_MAX; i++) {
		struct topology_port *member = bond->member[i] ? topology->by_id[bond->member[i]->id] : NULL;

		if (!member)
			continue;
		to->member[i] = member;
		member->bond = to;
		member->member = bond->roles.takes >> i & 1 ? MEMBER_TAKEN : MEMBER_SILENT;
	}
	if (carries && !(carries & (carries - 1)))
		to->only = to->member[__builtin_ctz(carries)];
}

void bonds_fill(const struct sw *sw, struct topology *topology)
{
	struct topology_bond *to = topology->bonds;
	const struct sw_port *port;
	const struct bond *bond;

	TAILQ_FOREACH(port, &sw->ports, link) {
		if (port->member_of)
			topology->by_id[port->id]->member = MEMBER_SILENT;
	}
	TAILQ_FOREACH(bond, &sw->bonds, link)
		fill(bond, topology, to++);
}
