/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_RULES_H
#define SWITCH_RULES_H

/*
 * Of a port, in which VLANs it is and how it sees them, and of whom it hears: what decides where frames go. The control thread has a copy
 * in each port; the one that workers go by is part of the published topology, so that ports and VLANs always fit together. See rules.c.
 */

#include "base/queue.h"
#include "switch/vlan.h"
#include "work/grace.h"

struct sw;
struct sw_port;
struct sw_port_config;

enum port_role {
	ROLE_OPEN,
	ROLE_ISOLATED,
	ROLE_OFF,     /* SW_VM2VM_OFF */
	ROLE_RELAYED, /* SW_VM2VM_HARDWARE */
	ROLE_UPLINK,
	ROLE_COUNT,
};

#define ROLE_BIT(role) (1u << (role))
#define ROLES_APART (ROLE_BIT(ROLE_OFF) | ROLE_BIT(ROLE_RELAYED))

/* VLANs that come and go with tags. Constant. */
struct vlan_set {
	struct grace_item gone;
	STAILQ_ENTRY(vlan_set) unpublished; /* sw.unpublished_sets */
	uint64_t words[SW_VLAN_SET_WORDS];
};

struct port_rules {
	uint16_t vlan; /* its frames lie in this one, if no tag says otherwise; or VLAN_NONE */
	uint16_t tag_type;
	bool aware; /* of tags */
	uint8_t is;    /* its role, as a bit */
	uint8_t hears;   /* of these roles, and they of it */
	uint8_t relayed; /* of these, too, but by the bridge behind the uplinks: reflect.c */
	struct vlan_set *tagged; /* or NULL */
};

static inline bool rules_in_vlan(const struct port_rules *rules, uint16_t vlan)
{
	return vlan == rules->vlan || (rules->tagged && vlan_set_has(rules->tagged->words, vlan));
}

/* From *vlan on, the next VLAN that the port is in. False: there is none. */
static inline bool rules_next_vlan(const struct port_rules *rules, uint16_t *vlan)
{
	if (!rules->tagged) {
		bool there = *vlan <= rules->vlan && rules->vlan != VLAN_NONE;

		*vlan = rules->vlan;
		return there;
	}
	while (*vlan <= SW_VLAN_MAX && !rules_in_vlan(rules, *vlan))
		++*vlan;
	return *vlan <= SW_VLAN_MAX;
}

static inline unsigned rules_role(const struct port_rules *rules)
{
	return (unsigned)__builtin_ctz(rules->is);
}

/* Control thread. -EINVAL: what the config says makes no sense; -ENOMEM. */
int rules_new(const struct sw_port_config *config, struct port_rules *ret_rules);
void rules_free(struct port_rules *rules); /* no worker knows them */

#endif
