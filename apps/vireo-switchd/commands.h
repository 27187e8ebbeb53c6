/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_COMMANDS_H
#define SWITCHD_COMMANDS_H

#include "ctl/command.h"

struct calls;
struct port;
struct ports;

/* The rows that vireo-switchd serves; their opaque is the struct ports. */
extern const struct ctl_command switchd_commands[];
extern const size_t switchd_command_count;
/* What --print-sandbox prints: calls.c. Ends with NULL. */
extern const struct calls *const switchd_rooms[];
/* Those of a daemon that may, or can have no, af_xdp ports and dpdk ports. */
const struct calls *const *switchd_rooms_of(bool xdp, bool dpdk);

/* For those who serve a row: NULL: there is no such port, and the call has been told so. */
struct port *port_named(struct rpc_call *call, const struct ports *ports, const char *name);

#endif
