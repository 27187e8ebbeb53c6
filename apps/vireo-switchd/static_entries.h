/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_STATIC_ENTRIES_H
#define SWITCHD_STATIC_ENTRIES_H

/* Forwarding entries that an operator makes: the commands fdb add, fdb del and fdb clear, served with a struct ports. */

#include "ctl/command.h"
#include <stdint.h>

struct port_spec;
struct ports;

ctl_serve_fn serve_fdb_add, serve_fdb_del, serve_fdb_clear;

/* Does such an entry give one of the addresses of a port to be, in one of its VLANs, to another port? NULL: none does. */
const char *static_entry_against(const struct ports *ports, const struct port_spec *spec, const uint8_t **ret_mac);

#endif
