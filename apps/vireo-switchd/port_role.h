/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_ROLE_H
#define SWITCHD_PORT_ROLE_H

/* The keys of a port that say whether it is an uplink, how its frames reach other guests, and of which bond it is a member: as the user writes it. */

#include "daemon/spec.h"
#include "switch/switch.h"

#define PORT_VM2VM_EXPECTED "off, software or hardware"
#define PORT_VM2VM_SHOWN    "off|software|hardware"

/* clang-format off */
#define PORT_KEYS_ROLE_ALONE \
	{"role", port_set_role, "guest or uplink", "guest|uplink", true}, \
	{"vm2vm", port_set_vm2vm, PORT_VM2VM_EXPECTED, PORT_VM2VM_SHOWN, true}
#define PORT_KEYS_ROLE PORT_KEYS_ROLE_ALONE, {"bond", port_set_bond, "a bond's name: " SPEC_NAME_EXPECTED, "NAME", true}
/* clang-format on */

struct port_spec;

bool port_set_role(struct spec *spec, const char *value);
bool port_set_bond(struct spec *spec, const char *value);
bool port_set_vm2vm(struct spec *spec, const char *value);

bool port_vm2vm_parse(const char *text, enum sw_vm2vm *ret);
const char *port_vm2vm_name(const struct port_spec *spec); /* NULL: an uplink has none */
#define PORT_LEARNING_SYNC_DEFAULT 4096u
#define PORT_LEARNING_SYNC_MAX	   65536u
#define PORT_KEY_LEARNING_SYNC \
	{"learning-sync", port_set_learning_sync, "on, off, or 1 to 65536 addresses", "on|off|N"}

bool port_set_learning_sync(struct spec *spec, const char *value);
const char *port_role_problem(const struct port_spec *spec);
/* What it does not say, the switch's setting says. */
void port_vm2vm_settle(struct port_spec *spec, enum sw_vm2vm setting);

#endif
