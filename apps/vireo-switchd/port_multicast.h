/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_MULTICAST_H
#define SWITCHD_PORT_MULTICAST_H

/* The keys of a port for multicast snooping: struct sw_port_multicast, as the user writes it; and what is told of the database of members. */

#include "daemon/spec.h"
#include "switch/switch.h"
#include <jansson.h>

struct port;
struct rpc_call;

/* clang-format off */
#define PORT_KEYS_MULTICAST \
	{"mcast-router", port_set_mcast_router, "auto, on or off", "auto|on|off", true}, \
	{"fast-leave", port_set_fast_leave, "on or off", "on|off", true}, \
	{"mcast-groups", port_set_mcast_groups, "1 to 4096", "N", true}
/* clang-format on */

bool port_set_mcast_router(struct spec *spec, const char *value);
bool port_set_fast_leave(struct spec *spec, const char *value);
bool port_set_mcast_groups(struct spec *spec, const char *value);

struct sw_port_multicast port_multicast_settings(const struct port *port); /* what it was given, or what its kind has */
json_t *port_multicast_report(const struct port *port);

void serve_mdb_show(struct rpc_call *call, void *opaque);

#endif
