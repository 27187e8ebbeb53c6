/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * What decides where a port's frames go changes while the port is there: its VLANs, and of whom it hears. The next topology has the new rules in
 * its lists and in the port, so a worker that is in the middle of a round ends it by the old ones, and no frame sees both. Neither this port nor
 * others are stopped.
 *
 * Addresses that are fixed to the port are so in each of its VLANs: in new ones they are fixed before frames can come from there, and that may be
 * refused, with nothing changed then. In those that it leaves they are let go of afterwards. What has been learned behind the port is forgotten, and
 * learned again: until then such frames are flooded, and none is lost.
 */

#include "switch/bond.h"
#include "switch/core.h"
#include "switch/multicast.h"
#include "switch/port.h"
#include "switch/topology.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MACS_MAX 64u

/* The addresses that are fixed to a port; and whether one is held where the port will not be. */
struct fixed_macs {
	const struct sw_port *port;
	const struct port_rules *next;
	uint64_t mac[MACS_MAX];
	unsigned count;
	bool held, too_many;
};

static void mac_add(struct fixed_macs *macs, uint64_t mac)
{
	for (unsigned i = 0; i < macs->count; i++)
		if (macs->mac[i] == mac)
			return;
	if (macs->count < MACS_MAX)
		macs->mac[macs->count++] = mac;
	else
		macs->too_many = true;
}

static void mac_visit(void *opaque, const struct fdb_entry *entry)
{
	struct fixed_macs *macs = opaque;

	if (entry->port != macs->port->id || !entry->fixed)
		return;
	if (entry->held)
		macs->held |= !rules_in_vlan(macs->next, entry->vlan);
	else
		mac_add(macs, entry->mac);
}

/* Of the VLANs of one, those that are none of the other's. */
static void macs_let_go(struct sw_port *port, const struct fixed_macs *macs, const struct port_rules *of, const struct port_rules *but)
{
	struct fdb *fdb = port->sw->fdb;

	for (unsigned i = 0; i < macs->count; i++) {
		for (uint16_t vlan = 0; rules_next_vlan(of, &vlan); vlan++) {
			struct fdb_address address = fdb_address(fdb, vlan, macs->mac[i]);

			if (!rules_in_vlan(but, vlan))
				fdb_unfix_one(fdb, &address, port->id);
		}
	}
}

static int macs_fix(struct sw_port *port, const struct fixed_macs *macs, const struct port_rules *next)
{
	struct fdb *fdb = port->sw->fdb;
	int err = 0;

	for (unsigned i = 0; !err && i < macs->count; i++) {
		for (uint16_t vlan = 0; !err && rules_next_vlan(next, &vlan); vlan++) {
			struct fdb_address address = fdb_address(fdb, vlan, macs->mac[i]);

			if (!rules_in_vlan(&port->rules, vlan))
				err = fdb_fix(fdb, &address, port->id, switch_now_s());
		}
	}
	if (err)
		macs_let_go(port, macs, next, &port->rules);
	return err;
}

static void set_gone(struct grace_item *item)
{
	free(container_of(item, struct vlan_set, gone));
}

/* A worker that fixes an address reads them: port_addresses.c. */
static void rules_write(struct sw_port *port, const struct port_rules *rules)
{
	pthread_mutex_lock(&port->addresses);
	port->rules = *rules;
	pthread_mutex_unlock(&port->addresses);
}

/* 0, or nothing has changed. The old VLANs go after the topology that has them. */
static int publish(struct sw_port *port, const struct port_rules *next)
{
	struct port_rules old = port->rules;
	struct sw *sw = port->sw;
	int err;

	rules_write(port, next);
	err = topology_publish(sw);
	if (err)
		rules_write(port, &old);
	if (err || !old.tagged)
		return err;
	old.tagged->gone.fn = set_gone;
	if (sw->held)
		STAILQ_INSERT_TAIL(&sw->unpublished_sets, old.tagged, unpublished);
	else
		grace_defer(sw->grace, &old.tagged->gone);
	return 0;
}

static bool vlans_same(const struct port_rules *one, const struct port_rules *other)
{
	static const struct vlan_set none;
	const uint64_t *a = one->tagged ? one->tagged->words : none.words, *b = other->tagged ? other->tagged->words : none.words;

	return one->vlan == other->vlan && !memcmp(a, b, sizeof(none.words));
}

static int change_vlans(struct sw_port *port, const struct port_rules *next)
{
	struct fixed_macs macs = {.port = port, .next = next};
	struct port_rules old = port->rules;
	int err;

	fdb_each(port->sw->fdb, switch_now_s(), mac_visit, &macs);
	if (macs.held || macs.too_many)
		return -EBUSY;
	err = macs_fix(port, &macs, next);
	if (err)
		return err;
	err = publish(port, next);
	if (err) {
		macs_let_go(port, &macs, next, &old);
		return err;
	}
	macs_let_go(port, &macs, &old, next); /* what was `tagged` goes a grace period later, which does not end before we return */
	sw_fdb_flush(port->sw, port);
	multicast_port_moved(port);
	return 0;
}

static bool name_same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static int rules_take(struct sw_port *port, const struct port_rules *next)
{
	return vlans_same(&port->rules, next) ? publish(port, next) : change_vlans(port, next);
}

/* A topology has both, the rules and the membership. */
static int change_bond(struct sw_port *port, const struct port_rules *next, const char *member_of)
{
	char *name = member_of ? strdup(member_of) : NULL, *before;
	int err;

	if ((member_of && !name) || port->bond) {
		free(name);
		return port->bond ? -EINVAL : -ENOMEM;
	}
	before = bond_member_set(port, name);
	err = rules_take(port, next);
	if (err)
		before = bond_member_set(port, before);
	free(before);
	return err;
}

int sw_port_rules_set(struct sw_port *port, const struct sw_port_config *config)
{
	struct port_rules next;
	int err = rules_new(config, &next);

	if (err)
		return err;
	if (name_same(port->member_of, config->member_of))
		err = rules_take(port, &next);
	else
		err = change_bond(port, &next, config->member_of);
	if (err)
		rules_free(&next);
	else
		switch_port_changed(port->sw);
	return err;
}
