/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_STATIC_ENTRIES_H
#define SWITCHD_STATIC_ENTRIES_H

/* Forwarding entries that an operator makes: the commands fdb add, fdb del and fdb clear, served with a struct ports. */

#include "ctl/command.h"
#include "daemon/spec.h"
#include <stdint.h>

struct port_spec;
struct ports;

struct static_entry {
	uint8_t mac[6];
	uint16_t vlan; /* VLAN_NONE: that of the port's frames without a tag */
	char port[SPEC_NAME_BYTES];
	unsigned line; /* of the file of settings; 0: it is not from there */
};

/* "MAC PORT" or "MAC PORT VLAN". False, and why. */
bool static_entry_parse(const char *text, struct static_entry *ret, char why[SPEC_WHY_BYTES]);
/* 0, also if it is there already; or a negative errno, and why: -ENOENT: there is no such port; as sw_fdb_hold() otherwise. */
int static_entry_hold(const struct ports *ports, const struct static_entry *entry, char why[SPEC_WHY_BYTES]);
/* If it is still behind that port. */
void static_entry_let_go(const struct ports *ports, const struct static_entry *entry);

ctl_serve_fn serve_fdb_add, serve_fdb_del, serve_fdb_clear;

/* Does such an entry give one of the addresses of a port to be, in one of its VLANs, to another port? NULL: none does. */
const char *static_entry_against(const struct ports *ports, const struct port_spec *spec, const uint8_t **ret_mac);

#endif
