/* SPDX-License-Identifier: BSD-3-Clause */
/* mdb show: who is a member of which group, where routers are, and who asks. */
#include "ctl/rpc.h"
#include "port.h"
#include "port_multicast.h"
#include <arpa/inet.h>

static json_t *address_json(uint8_t family, const uint8_t *address)
{
	char text[INET6_ADDRSTRLEN];

	return json_string(inet_ntop(family == 6 ? AF_INET6 : AF_INET, address, text, sizeof(text)) ? text : "?");
}

static json_t *family_json(uint8_t family)
{
	return family ? json_string(family == 6 ? "ipv6" : "ipv4") : json_null();
}

static json_t *expires_json(int expires_s)
{
	return expires_s < 0 ? json_null() : json_integer(expires_s);
}

struct listing {
	json_t *members, *routers, *queriers;
};

static void list_entry(void *opaque, const struct sw_mdb_entry *entry)
{
	const struct listing *listing = opaque;
	json_t *vlan = entry->router && !entry->family ? json_null() : json_integer(entry->vlan);

	if (entry->router)
		json_array_append_new(listing->routers, json_pack("{s:o, s:o, s:s, s:o}", "vlan", vlan, "family", family_json(entry->family),
								  "port", entry->port, "expires_s", expires_json(entry->expires_s)));
	else
		json_array_append_new(listing->members, json_pack("{s:o, s:o, s:s, s:o}", "vlan", vlan, "group",
								  address_json(entry->family, entry->group), "port", entry->port,
								  "expires_s", expires_json(entry->expires_s)));
}

static void list_querier(void *opaque, const struct sw_mdb_querier *querier)
{
	const struct listing *listing = opaque;
	json_t *address = querier->other ? address_json(querier->family, querier->address) : json_null();

	json_array_append_new(listing->queriers, json_pack("{s:i, s:o, s:b, s:b, s:o}", "vlan", (int)querier->vlan, "family",
							   family_json(querier->family), "filters", querier->filters, "own", querier->own,
							   "other", address));
}

void serve_mdb_show(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct listing listing = {json_array(), json_array(), json_array()};

	sw_mdb_each(ports->sw, list_entry, &listing);
	sw_mdb_each_querier(ports->sw, list_querier, &listing);
	rpc_call_reply(call, json_pack("{s:b, s:i, s:i, s:o, s:o, s:o}", "snooping", sw_mdb_snoops(ports->sw), "groups",
				       (int)sw_mdb_groups(ports->sw), "groups_max", (int)SW_MDB_GROUPS_MAX, "members", listing.members,
				       "routers", listing.routers, "queriers", listing.queriers));
}
