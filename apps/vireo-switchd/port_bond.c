/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bond: a port without a driver or an interface, whose frames go out of other ports, and come from them. Those name it, by the key bond=, so
 * a bond has all that a port has: VLANs, a role, limits, a name in each command. What is behind it, switch/bond.c decides.
 */
#include "port_bond.h"
#include "base/util.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {
	[SW_BOND_ACTIVE_BACKUP] = "active-backup", [SW_BOND_BALANCE] = "balance", [SW_BOND_LACP] = "lacp"};
static const char *const hash_names[] = {
	[SW_BOND_LAYER2] = "layer2", [SW_BOND_LAYER23] = "layer2+3", [SW_BOND_LAYER34] = "layer3+4"};

static struct port_bond_spec *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->bond;
}

/* ---- keys ---- */

static int named(const char *const *names, unsigned count, const char *value)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(names[i], value))
			return (int)i;
	return -1;
}

static bool set_mode(struct spec *spec, const char *value)
{
	int mode = named(mode_names, ARRAY_SIZE(mode_names), value);

	of(spec)->mode = (enum sw_bond_mode)mode;
	return mode >= 0;
}

static bool set_hash(struct spec *spec, const char *value)
{
	int hash = named(hash_names, ARRAY_SIZE(hash_names), value);

	of(spec)->hash_given = true;
	of(spec)->hash = (enum sw_bond_hash)hash;
	return hash >= 0;
}

static bool set_primary(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	snprintf(of(spec)->primary, sizeof(of(spec)->primary), "%s", value);
	return true;
}

static bool set_lacp(struct spec *spec, const char *value)
{
	of(spec)->lacp_given = true;
	of(spec)->passive = !strcmp(value, "passive");
	return of(spec)->passive || !strcmp(value, "active");
}

static bool set_rate(struct spec *spec, const char *value)
{
	of(spec)->lacp_given = true;
	of(spec)->fast = !strcmp(value, "fast");
	return of(spec)->fast || !strcmp(value, "slow");
}

static bool set_system(struct spec *spec, const char *value)
{
	of(spec)->lacp_given = true;
	return port_mac_parse(value, of(spec)->system);
}

static const char *keys_problem(const struct spec *spec)
{
	const struct port_bond_spec *bond = &((const struct port_spec *)spec)->bond;

	if (bond->lacp_given && bond->mode != SW_BOND_LACP)
		return "lacp, rate, system: expected with mode=lacp";
	if (bond->hash_given && bond->mode == SW_BOND_ACTIVE_BACKUP)
		return "hash: expected with mode=balance or mode=lacp: of an active-backup bond, one member carries all";
	if (bond->primary[0] && bond->mode != SW_BOND_ACTIVE_BACKUP)
		return "primary: expected with mode=active-backup";
	return NULL;
}

struct sw_bond_config port_bond_config(const struct port_bond_spec *spec)
{
	struct sw_bond_config config = {
		.mode = spec->mode,
		.hash = spec->hash_given ? spec->hash : SW_BOND_LAYER23,
		.primary = spec->primary[0] ? spec->primary : NULL,
		.lacp_passive = spec->passive,
		.lacp_fast = spec->fast,
	};

	memcpy(config.lacp_system, spec->system, sizeof(config.lacp_system));
	return config;
}

/* ---- its life ---- */

static int bond_open(struct ports *ports, const struct port_spec *spec, struct port **ret_port, char *why)
{
	struct port *port = calloc(1, sizeof(*port));

	snprintf(why, SPEC_WHY_BYTES, "out of memory or ports");
	if (!port)
		return -ENOMEM;
	port_init(port, ports, &port_bond, spec);
	return port_opened(port, port_join(port), ret_port);
}

static void bond_free(struct port *port)
{
	free(port);
}

static void look(void *opaque, const struct sw_bond_member *member)
{
	*(bool *)opaque |= member->carries;
}

static const char *bond_state(const struct port *port)
{
	bool carries = false;

	sw_bond_each(port->sw, look, &carries);
	return carries ? "up" : "down";
}

/* The cables of a bond are those of its members. */
static enum port_told bond_link_set(struct port *port, bool up)
{
	enum port_told told = PORT_TOLD_NOBODY;

	for (struct port *p = port->ports->first; p; p = p->next) {
		enum port_told one;

		if (p->closing || strcmp(p->spec.member_of, port->spec.at.name) != 0 || !p->kind->link_set)
			continue;
		one = p->kind->link_set(p, up && sw_port_link(p->sw));
		if (one == PORT_TOLD_NOT || told == PORT_TOLD_NOBODY)
			told = one;
	}
	return told;
}

static const struct spec_key keys[] = {
	{"mode", set_mode, BOND_MODE_EXPECTED, "active-backup|balance|lacp", true},
	{"hash", set_hash, BOND_HASH_EXPECTED, "layer2|layer2+3|layer3+4", true},
	{"primary", set_primary, "a port's name: " SPEC_NAME_EXPECTED, "PORT", true},
	{"lacp", set_lacp, "active or passive", "active|passive", true},
	{"rate", set_rate, "slow or fast", "slow|fast", true},
	{"system", set_system, "a unicast address such as 02:00:00:00:00:01", "MAC", true},
	PORT_KEY_FLOOD_MAX,
	PORT_KEYS_VLAN,
	PORT_KEYS_ROLE_ALONE,
	PORT_KEYS_LIMITS,
	PORT_KEYS_GUARD,
	PORT_KEYS_MULTICAST,
	PORT_KEY_GRO,
	PORT_KEY_LINK,
};

const struct port_kind port_bond = {
	.spec = {
		.type = "bond",
		.address = "NAME",
		.address_problem = port_name_problem,
		.problem = keys_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.address_is_name = true,
	.open = bond_open,
	.close = port_closed,
	.free = bond_free,
	.state = bond_state,
	.nothing_to_hand_over = true, /* but who carries, and what LACP has agreed on: handover_state.c, bond_state.h */
	.link_set = bond_link_set,
};
