/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_BOND_H
#define SWITCHD_PORT_BOND_H

/* A port that is made of others, as the user writes it: struct sw_bond_config. And what is told of it. */

#include "daemon/spec.h"
#include "switch/switch.h"

struct port;
struct rpc_call;

#define BOND_MODE_EXPECTED "active-backup, balance or lacp"
#define BOND_HASH_EXPECTED "layer2, layer2+3 or layer3+4"

struct port_bond_spec {
	enum sw_bond_mode mode;
	enum sw_bond_hash hash;
	char primary[SPEC_NAME_BYTES]; /* "": none */
	bool hash_given, lacp_given; /* lacp_given: any key of LACP's */
	bool passive, fast;
	uint8_t system[6]; /* 0: a random one */
};

/* Borrows the names in it. */
struct sw_bond_config port_bond_config(const struct port_bond_spec *spec);

void serve_bond_list(struct rpc_call *call, void *opaque);
void serve_bond_show(struct rpc_call *call, void *opaque);

#endif
