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

static int vlan_set_new(const uint64_t *words, const struct vlan_set **ret_set)
{
	struct vlan_set *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	memcpy(set->words, words, sizeof(set->words));
	*ret_set = set;
	return 0;
}

/* Who hears of whom: as a table, it reads the same in rows and columns. */
static const uint8_t hears[ROLE_COUNT] = {
	[ROLE_OPEN] = 1u << ROLE_OPEN | 1u << ROLE_ISOLATED,
	[ROLE_ISOLATED] = 1u << ROLE_OPEN,
};

static enum port_role role_of(const struct sw_port_config *config)
{
	return config->isolated ? ROLE_ISOLATED : ROLE_OPEN;
}

int rules_new(const struct sw_port_config *config, struct port_rules *ret_rules)
{
	enum port_role role = role_of(config);
	struct port_rules rules = {
		.vlan = config->vlan_aware && !config->vlan ? VLAN_NONE : config->vlan,
		.tag_type = config->tag_type ? config->tag_type : TAG_TYPE_DEFAULT,
		.aware = config->vlan_aware,
		.is = (uint8_t)(1u << role),
		.hears = hears[role],
	};
	int err = 0;

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
	free((void *)rules->tagged);
	rules->tagged = NULL;
}
