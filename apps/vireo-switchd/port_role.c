/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_role.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port_spec.h"
#include <stdio.h>
#include <string.h>

static const char *const vm2vm_names[] = {
	[SW_VM2VM_SOFTWARE] = "software", [SW_VM2VM_OFF] = "off", [SW_VM2VM_HARDWARE] = "hardware"};

static struct port_spec *of(struct spec *spec)
{
	return container_of(spec, struct port_spec, at);
}

bool port_vm2vm_parse(const char *text, enum sw_vm2vm *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm2vm_names); i++) {
		if (strcmp(text, vm2vm_names[i]) != 0)
			continue;
		*ret = (enum sw_vm2vm)i;
		return true;
	}
	return false;
}

bool port_set_role(struct spec *spec, const char *value)
{
	of(spec)->role_given = true;
	of(spec)->uplink = !strcmp(value, "uplink");
	return of(spec)->uplink || !strcmp(value, "guest");
}

bool port_set_vm2vm(struct spec *spec, const char *value)
{
	of(spec)->vm2vm_given = true;
	return port_vm2vm_parse(value, &of(spec)->vm2vm);
}

const char *port_vm2vm_name(const struct port_spec *spec)
{
	return spec->uplink ? NULL : vm2vm_names[spec->vm2vm];
}

bool port_set_bond(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	snprintf(of(spec)->member_of, sizeof(of(spec)->member_of), "%s", value);
	return true;
}

bool port_set_learning_sync(struct spec *spec, const char *value)
{
	unsigned long n = 0;

	if (!strcmp(value, "on"))
		n = PORT_LEARNING_SYNC_DEFAULT;
	else if (strcmp(value, "off") != 0 && !parse_number(value, 1, PORT_LEARNING_SYNC_MAX, &n))
		return false;
	of(spec)->learning_sync = (uint32_t)n;
	return true;
}

static bool has_limits(const struct sw_limits *limits)
{
	const struct sw_limit *const rates[] = {&limits->bytes_in,  &limits->frames_in, &limits->bytes_out, &limits->frames_out,
						&limits->broadcast, &limits->multicast, &limits->unknown};
	bool any = limits->priority != SW_PRIORITY_OFF;

	for (size_t i = 0; i < ARRAY_SIZE(rates); i++)
		any |= rates[i]->per_second || rates[i]->burst;
	return any;
}

/* What is the bond's affair, and would say nothing here. */
static bool has_rules(const struct port_spec *spec)
{
	const struct sw_guard *guard = &spec->guard;
	const struct sw_port_multicast *multicast = &spec->multicast;

	return spec->vlan || spec->trunk || spec->isolated || spec->role_given || spec->vm2vm_given || spec->spoof_given || spec->gro ||
	       spec->router_given || spec->flood_copies || has_limits(&spec->limits) ||
	       guard->address_count || guard->neighbours || guard->dhcp_servers || guard->routers || multicast->router ||
	       multicast->fast_leave || multicast->groups_max;
}

const char *port_role_problem(const struct port_spec *spec)
{
	if (spec->member_of[0] && has_rules(spec))
		return "bond: expected without keys of VLANs, roles, limits, guards and multicast, gro, spoof and flood-max: give those to the bond";
	if (spec->uplink && spec->vm2vm_given)
		return "vm2vm: expected without role=uplink: it is for guests";
	if (spec->learning_sync && !spec->uplink)
		return "learning-sync: expected with role=uplink: the bridge is told who is behind the other ports";
	if (spec->uplink && spec->isolated)
		return "isolated: expected without role=uplink: uplinks do not hear of each other anyway";
	if (spec->isolated && spec->vm2vm_given && spec->vm2vm != SW_VM2VM_SOFTWARE)
		return "isolated: expected without vm2vm=, or with vm2vm=software";
	return NULL;
}

void port_vm2vm_settle(struct port_spec *spec, enum sw_vm2vm setting)
{
	if (!spec->vm2vm_given && !spec->isolated && !spec->uplink)
		spec->vm2vm = setting;
}
