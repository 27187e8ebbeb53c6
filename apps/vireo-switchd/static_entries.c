/* SPDX-License-Identifier: BSD-3-Clause */
#include "static_entries.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/rpc.h"
#include "port.h"
#include "switch/vlan.h"
#include <errno.h>
#include <string.h>

/* ---- what is asked for ---- */

static bool mac_of(struct rpc_call *call, uint8_t mac[6])
{
	const char *text = rpc_call_param(call, "mac");

	if (port_mac_parse(text, mac))
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "MAC '%.40s': expected a unicast address such as 52:54:00:12:34:56", text);
	return false;
}

/* *ret_vlan stays as it is if none is given. */
static bool vlan_of(struct rpc_call *call, unsigned long *ret_vlan)
{
	const char *text = rpc_call_param(call, "vlan");

	if (!text || parse_number(text, 0, VLAN_ID_MAX, ret_vlan))
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "VLAN '%.40s': expected 0 (none) to 4094", text);
	return false;
}

static struct port *port_of(struct rpc_call *call, const struct ports *ports, const char *name)
{
	struct port *port = ports_find(ports, name);

	if (!port)
		rpc_call_error(call, RPC_NOT_FOUND, "there is no port '%.64s'", name);
	return port;
}

/* ---- fdb add ---- */

static void explain_add(struct rpc_call *call, int err, const char *mac, const char *port, unsigned long vlan)
{
	if (err == -EINVAL)
		rpc_call_error(call, RPC_INVALID_PARAMS, "port '%.64s' is not in VLAN %lu: port show names its VLANs", port, vlan);
	else if (err == -EADDRINUSE)
		rpc_call_error(call, RPC_EXISTS, "%s is static behind another port: fdb show names it; fdb del it, or choose another", mac);
	else if (err == -ENOBUFS)
		rpc_call_error(call, RPC_FAILED, "as many static entries are there as may be: delete some, or give --fdb-entries more");
	else
		rpc_call_error(call, RPC_FAILED, "there is no room where %s would have to be: give --fdb-entries more", mac);
}

/* The VLAN of its frames without a tag; a port that has none has to be told. */
static bool vlan_default(struct rpc_call *call, const struct port *port, unsigned long *vlan)
{
	if (*vlan != VLAN_NONE)
		return true;
	*vlan = port->spec.vlan;
	if (port->spec.vlan || !port->spec.trunk)
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "port '%.64s' has no VLAN for frames without a tag: name a VLAN", port->spec.at.name);
	return false;
}

void serve_fdb_add(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	unsigned long vlan = VLAN_NONE;
	const struct port *port;
	uint8_t mac[6];
	int err;

	if (!mac_of(call, mac) || !vlan_of(call, &vlan))
		return;
	port = port_of(call, ports, rpc_call_param(call, "port"));
	if (!port || !vlan_default(call, port, &vlan))
		return;
	err = sw_fdb_hold(port->sw, (uint16_t)vlan, mac);
	if (err) {
		explain_add(call, err, rpc_call_param(call, "mac"), port->spec.at.name, vlan);
		return;
	}
	log_info(&ports->control_log, "%s: static address %s in VLAN %lu", port->spec.at.name, rpc_call_param(call, "mac"), vlan);
	rpc_call_reply(call, json_object());
}

/* ---- fdb del ---- */

struct search {
	const uint8_t *mac;
	unsigned found, learned;
	uint16_t vlan;
};

static void look(void *opaque, const struct sw_fdb_entry *entry)
{
	struct search *search = opaque;

	if (memcmp(entry->mac, search->mac, 6) != 0)
		return;
	search->learned += !entry->held;
	if (!entry->held)
		return;
	search->found++;
	search->vlan = entry->vlan;
}

/* Where no VLAN is given there must be one entry. */
static int del(const struct ports *ports, const uint8_t mac[6], unsigned long vlan)
{
	struct search search = {.mac = mac};

	if (vlan != VLAN_NONE)
		return sw_fdb_let_go(ports->sw, (uint16_t)vlan, mac);
	sw_fdb_each(ports->sw, look, &search);
	if (search.found > 1)
		return -ENOTUNIQ;
	if (!search.found)
		return search.learned ? -EPERM : -ENOENT;
	return sw_fdb_let_go(ports->sw, search.vlan, mac);
}

void serve_fdb_del(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	const char *text = rpc_call_param(call, "mac");
	unsigned long vlan = VLAN_NONE;
	uint8_t mac[6];
	int err;

	if (!mac_of(call, mac) || !vlan_of(call, &vlan))
		return;
	err = del(ports, mac, vlan);
	if (err == -ENOTUNIQ)
		rpc_call_error(call, RPC_INVALID_PARAMS, "%s is static in several VLANs: name one", text);
	else if (err == -EPERM)
		rpc_call_error(call, RPC_FAILED, "%s was learned, or is a port's mac=: no fdb add has made it", text);
	else if (err)
		rpc_call_error(call, RPC_NOT_FOUND, "there is no static entry of %s", text);
	else
		rpc_call_reply(call, json_object());
}

/* ---- fdb clear ---- */

void serve_fdb_clear(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	const char *name = rpc_call_param(call, "port");
	const struct port *port = name ? port_of(call, ports, name) : NULL;

	if (name && !port)
		return;
	sw_fdb_let_go_all(ports->sw, port ? port->sw : NULL);
	rpc_call_reply(call, json_object());
}

/* ---- a port to be ---- */

struct rivalry {
	const struct port_spec *spec;
	const uint8_t *mac;
	const char *port;
};

static bool will_be_in(const struct port_spec *spec, uint16_t vlan)
{
	return (spec->trunk && vlan_set_has(spec->tagged, vlan)) || (vlan == spec->vlan && (vlan || !spec->trunk));
}

static void compare(void *opaque, const struct sw_fdb_entry *entry)
{
	struct rivalry *rivalry = opaque;

	if (!entry->held || rivalry->port || !will_be_in(rivalry->spec, entry->vlan))
		return;
	for (unsigned i = 0; i < rivalry->spec->mac_count; i++)
		if (!memcmp(rivalry->spec->macs[i], entry->mac, 6)) {
			rivalry->mac = rivalry->spec->macs[i];
			rivalry->port = entry->port;
		}
}

const char *static_entry_against(const struct ports *ports, const struct port_spec *spec, const uint8_t **ret_mac)
{
	struct rivalry rivalry = {.spec = spec};

	if (spec->mac_count && !spec->spoof_allowed)
		sw_fdb_each(ports->sw, compare, &rivalry);
	if (rivalry.port)
		*ret_mac = rivalry.mac;
	return rivalry.port;
}
