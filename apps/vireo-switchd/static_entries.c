/* SPDX-License-Identifier: BSD-3-Clause */
#include "static_entries.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/rpc.h"
#include "port.h"
#include "switch/vlan.h"
#include <errno.h>
#include <string.h>

/* ---- one of them ---- */

bool static_entry_parse(const char *text, struct static_entry *ret, char why[SPEC_WHY_BYTES])
{
	char mac[40] = "", port[SPEC_NAME_BYTES + 1] = "", vlan[8] = "", more = 0;
	int count = sscanf(text, "%39s %64s %7s %c", mac, port, vlan, &more);
	unsigned long id = VLAN_NONE;
	bool good = false;

	*ret = (struct static_entry){0};
	if (count < 2 || count > 3)
		snprintf(why, SPEC_WHY_BYTES, "expected MAC PORT, or MAC PORT VLAN");
	else if (!port_mac_parse(mac, ret->mac))
		snprintf(why, SPEC_WHY_BYTES, "MAC '%.40s': expected a unicast address such as 52:54:00:12:34:56", mac);
	else if (!spec_name_valid(port))
		snprintf(why, SPEC_WHY_BYTES, "'%.64s': expected a port's name", port);
	else if (*vlan && !parse_number(vlan, 0, VLAN_ID_MAX, &id))
		snprintf(why, SPEC_WHY_BYTES, "VLAN '%.40s': expected 0 (none) to 4094", vlan);
	else
		good = true;
	ret->vlan = (uint16_t)id;
	snprintf(ret->port, sizeof(ret->port), "%.63s", port);
	return good;
}

/* The VLAN of its frames without a tag; a port that has none has to be told. */
static bool vlan_default(const struct port *port, uint16_t *vlan)
{
	if (*vlan == VLAN_NONE)
		*vlan = port->spec.vlan;
	else
		return true;
	return port->spec.vlan || !port->spec.trunk;
}

static int held(const struct port *port, const struct static_entry *entry, uint16_t vlan, char why[SPEC_WHY_BYTES])
{
	int err = sw_fdb_hold(port->sw, vlan, entry->mac);

	if (err == -EINVAL)
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' is not in VLAN %u: port show names its VLANs", entry->port, vlan);
	else if (err == -EADDRINUSE)
		snprintf(why, SPEC_WHY_BYTES, "%s is static behind another port: fdb show names it; fdb del it, or choose another",
			 port_mac_text(entry->mac).text);
	else if (err == -ENOBUFS)
		snprintf(why, SPEC_WHY_BYTES, "as many static entries are there as may be: delete some, or give --fdb-entries more");
	else if (err)
		snprintf(why, SPEC_WHY_BYTES, "there is no room where %s would have to be: give --fdb-entries more",
			 port_mac_text(entry->mac).text);
	return err;
}

int static_entry_hold(const struct ports *ports, const struct static_entry *entry, char why[SPEC_WHY_BYTES])
{
	const struct port *port = ports_find(ports, entry->port);
	uint16_t vlan = entry->vlan;
	int err;

	if (!port) {
		snprintf(why, SPEC_WHY_BYTES, "there is no port '%.64s'", entry->port);
		return -ENOENT;
	}
	if (!vlan_default(port, &vlan)) {
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' has no VLAN for frames without a tag: name a VLAN", entry->port);
		return -EINVAL;
	}
	err = held(port, entry, vlan, why);
	if (!err)
		log_debug(&ports->control_log, "%s: static address %s in VLAN %u", entry->port, port_mac_text(entry->mac).text, vlan);
	return err;
}

struct whereabouts {
	const struct static_entry *entry;
	uint16_t vlan;
	bool there;
};

static void seek(void *opaque, const struct sw_fdb_entry *entry)
{
	struct whereabouts *w = opaque;

	if (entry->held && entry->vlan == w->vlan && !memcmp(entry->mac, w->entry->mac, 6) && !strcmp(entry->port, w->entry->port))
		w->there = true;
}

void static_entry_let_go(const struct ports *ports, const struct static_entry *entry)
{
	const struct port *port = ports_find(ports, entry->port);
	struct whereabouts w = {.entry = entry, .vlan = entry->vlan};

	if (!port || !vlan_default(port, &w.vlan))
		return;
	sw_fdb_each(ports->sw, seek, &w);
	if (w.there)
		sw_fdb_let_go(ports->sw, w.vlan, entry->mac);
}

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

static int error_of(int err)
{
	return err == -EINVAL ? RPC_INVALID_PARAMS : err == -EADDRINUSE ? RPC_EXISTS : RPC_FAILED;
}

void serve_fdb_add(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct static_entry entry = {0};
	unsigned long vlan = VLAN_NONE;
	const struct port *port;
	char why[SPEC_WHY_BYTES];
	int err;

	if (!mac_of(call, entry.mac) || !vlan_of(call, &vlan))
		return;
	port = port_of(call, ports, rpc_call_param(call, "port"));
	if (!port)
		return;
	entry.vlan = (uint16_t)vlan;
	memcpy(entry.port, port->spec.at.name, sizeof(entry.port));
	err = static_entry_hold(ports, &entry, why);
	if (err) {
		rpc_call_error(call, error_of(err), "%s", why);
		return;
	}
	log_info(&ports->control_log, "%s: static address %s", entry.port, rpc_call_param(call, "mac"));
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
