/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_GUARD_H
#define SWITCHD_PORT_GUARD_H

/* The keys of a port that say what it may not say: struct sw_guard, as the user writes it. */

#include "daemon/spec.h"
#include "switch/switch.h"
#include <jansson.h>

/* clang-format off */
#define PORT_KEYS_GUARD \
	{"ip", port_set_ip, "addresses such as 10.0.0.5, 10.0.0.0/24 or 2001:db8::5, or up to 16 with '+' between them", "A[/BITS][+...]", true}, \
	{"arp-guard", port_set_arp_guard, "on or off", "on|off", true}, \
	{"dhcp-guard", port_set_dhcp_guard, "on or off", "on|off", true}, \
	{"ra-guard", port_set_ra_guard, "on or off", "on|off", true}
/* clang-format on */

bool port_set_ip(struct spec *spec, const char *value);
bool port_set_arp_guard(struct spec *spec, const char *value);
bool port_set_dhcp_guard(struct spec *spec, const char *value);
bool port_set_ra_guard(struct spec *spec, const char *value);

json_t *port_guard_report(const struct sw_guard *guard);

#endif
