/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/rules.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool vlans_valid(const struct sw_port_config *config)
{
	bool any = config->vlan;

	if (!config->vlan_aware)
		return config->vlan <= SW_VLAN_MAX;
	if (config->vlan > VLAN_ID_MAX || (config->tagged && (config->tagged[0] & 1 || vlan_set_has(config->tagged, SW_VLAN_MAX))))
		return false;
	if (config->tag_type && config->tag_type != TAG_TYPE_DEFAULT && config->tag_type != TAG_TYPE_SERVICE)
		return false;
	for (unsigned i = 0; config->tagged && i < SW_VLAN_SET_WORDS; i++)
		any |= config->tagged[i] != 0;
	return any;
}

static int vlan_set_new(const uint64_t *words, struct vlan_set **ret_set)
{
	struct vlan_set *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	memcpy(set->words, words, sizeof(set->words));
	*ret_set = set;
	return 0;
}

#define OPEN	 ROLE_BIT(ROLE_OPEN)
#define ISOLATED ROLE_BIT(ROLE_ISOLATED)
#define OFF	 ROLE_BIT(ROLE_OFF)
#define RELAYED	 ROLE_BIT(ROLE_RELAYED)
#define UPLINK	 ROLE_BIT(ROLE_UPLINK)

/* Both tables read the same in rows and columns. Two uplinks would be a loop, if both lead to one network: none hears of another. */
static const uint8_t hears[ROLE_COUNT] = {
	[ROLE_OPEN] = OPEN | ISOLATED | UPLINK,
	[ROLE_ISOLATED] = OPEN | UPLINK,
	[ROLE_OFF] = UPLINK,
	[ROLE_RELAYED] = UPLINK,
	[ROLE_UPLINK] = OPEN | ISOLATED | OFF | RELAYED,
};

static const uint8_t relayed[ROLE_COUNT] = {
	[ROLE_OPEN] = RELAYED,
	[ROLE_ISOLATED] = RELAYED,
	[ROLE_RELAYED] = OPEN | ISOLATED | RELAYED,
};

static enum port_role role_of(const struct sw_port_config *config)
{
	if (config->uplink)
		return ROLE_UPLINK;
	if (config->isolated)
		return ROLE_ISOLATED;
	return config->vm2vm == SW_VM2VM_OFF ? ROLE_OFF : config->vm2vm == SW_VM2VM_HARDWARE ? ROLE_RELAYED : ROLE_OPEN;
}

int rules_new(const struct sw_port_config *config, struct port_rules *ret_rules)
{
	enum port_role role = role_of(config);
	struct port_rules rules = {
		.vlan = config->vlan_aware && !config->vlan ? VLAN_NONE : config->vlan,
		.tag_type = config->tag_type ? config->tag_type : TAG_TYPE_DEFAULT,
		.aware = config->vlan_aware,
		.is = (uint8_t)ROLE_BIT(role),
		.hears = hears[role],
		.relayed = relayed[role],
	};
	int err = 0;

	if (config->member_of) { /* the bond hears, and is in VLANs */
		if (config->bond)
			return -EINVAL;
		*ret_rules = (struct port_rules){.vlan = VLAN_NONE, .tag_type = TAG_TYPE_DEFAULT, .is = UPLINK};
		return 0;
	}
	if (!vlans_valid(config))
		return -EINVAL;
	if (config->vlan_aware && config->tagged)
		err = vlan_set_new(config->tagged, &rules.tagged);
	if (!err)
		*ret_rules = rules;
	return err;
}

void rules_free(struct port_rules *rules)
{
	free(rules->tagged);
	rules->tagged = NULL;
}
