/* SPDX-License-Identifier: BSD-3-Clause */
/* bond list and bond show: who carries, and what the machines of LACP say. */
#include "base/util.h"
#include "commands.h"
#include "ctl/rpc.h"
#include "port.h"
#include "port_bond.h"
#include <stdio.h>
#include <string.h>

static const char *const modes[] = {
	[SW_BOND_ACTIVE_BACKUP] = "active-backup", [SW_BOND_BALANCE] = "balance", [SW_BOND_LACP] = "lacp"};
static const char *const hashes[] = {
	[SW_BOND_LAYER2] = "layer2", [SW_BOND_LAYER23] = "layer2+3", [SW_BOND_LAYER34] = "layer3+4"};
static const char *const states[] = {
	"activity", "timeout", "aggregation", "synchronization", "collecting", "distributing", "defaulted", "expired"}; /* by bit */

static json_t *mac_json(const uint8_t mac[6])
{
	return json_string(port_mac_text(mac).text);
}

static json_t *name_json(const char *name)
{
	return name ? json_string(name) : json_null();
}

/* Of a partner that nothing is known of: null. */
static json_t *end_json(const struct sw_bond_end *end)
{
	static const uint8_t nobody[6];
	json_t *bits;

	if (!memcmp(end->system, nobody, sizeof(nobody)))
		return json_null();
	bits = json_array();

	for (unsigned i = 0; i < ARRAY_SIZE(states); i++)
		if (end->state >> i & 1)
			json_array_append_new(bits, json_string(states[i]));
	return json_pack("{s:o, s:i, s:i, s:i, s:i, s:o}", "system", mac_json(end->system), "system_priority", (int)end->system_priority, "key",
			 (int)end->key, "port_priority", (int)end->port_priority, "port", (int)end->port, "state", bits);
}

static json_t *machines_json(const struct sw_bond_member *member)
{
	if (!member->mux)
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:I}", "receive", member->receive, "periodic", member->periodic,
			 "selected", member->selected, "mux", member->mux, "loop", member->loops, "actor", end_json(&member->actor), "partner",
			 end_json(&member->partner), "heard", (json_int_t)member->heard, "sent", (json_int_t)member->sent, "bad",
			 (json_int_t)member->bad, "markers", (json_int_t)member->markers);
}

static void member_add(void *opaque, const struct sw_bond_member *member)
{
	json_array_append_new(opaque, json_pack("{s:s, s:s, s:b, s:b, s:i, s:o}", "port", member->port, "link", member->up ? "up" : "down",
						"takes", member->takes, "carries", member->carries, "shares", (int)member->share, "lacp",
						machines_json(member)));
}

static json_t *partner_json(const struct sw_bond_status *status)
{
	if (!status->lacp_partner)
		return json_null();
	return json_pack("{s:o, s:i, s:i}", "system", mac_json(status->partner_system), "system_priority", (int)status->partner_system_priority,
			 "key", (int)status->partner_key);
}

static json_t *lacp_json(const struct sw_bond_status *status)
{
	if (status->mode != SW_BOND_LACP)
		return json_null();
	return json_pack("{s:b, s:s, s:o, s:i, s:o}", "passive", status->lacp_passive, "rate", status->lacp_fast ? "fast" : "slow", "system",
			 mac_json(status->lacp_system), "key", (int)status->lacp_key, "partner", partner_json(status));
}

static json_t *bond_json(const struct port *port)
{
	json_t *members = json_array();
	struct sw_bond_status status;
	json_t *hash;

	sw_bond_status(port->sw, &status);
	sw_bond_each(port->sw, member_add, members);
	hash = status.mode == SW_BOND_ACTIVE_BACKUP ? json_null() : json_string(hashes[status.hash]);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name", port->spec.at.name, "mode", modes[status.mode], "state",
			 port->kind->state(port), "link", sw_port_link(port->sw) ? "up" : "down", "hash", hash, "active",
			 name_json(status.active), "primary", name_json(status.primary), "lacp", lacp_json(&status), "members", members);
}

static bool is_bond(const struct port *port)
{
	return !port->closing && port->kind == &port_bond;
}

void serve_bond_list(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	json_t *list = json_array();

	for (const struct port *p = ports->first; p; p = p->next)
		if (is_bond(p))
			json_array_append_new(list, bond_json(p));
	rpc_call_reply(call, json_pack("{s:o}", "bonds", list));
}

void serve_bond_show(struct rpc_call *call, void *opaque)
{
	const char *name = rpc_call_param(call, "name");
	const struct port *port = port_named(call, opaque, name);

	if (port && is_bond(port))
		rpc_call_reply(call, json_pack("{s:o}", "bond", bond_json(port)));
	else if (port)
		rpc_call_error(call, RPC_INVALID_PARAMS, "port '%.64s' is no bond: bond list names them", name);
}
