/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_SPEC_H
#define SWITCHD_PORT_SPEC_H

/* A port as the user writes it: daemon/spec.h, with the keys that a port of the switch has whatever it is. */

#include "daemon/spec.h"
#include "port_bond.h"
#include "port_dpdk.h"
#include "port_guard.h"
#include "port_limits.h"
#include "port_retry.h"
#include "port_role.h"
#include "port_pcap.h"
#include "port_running.h"
#include "port_speed.h"
#include "port_multicast.h"
#include "port_xdp.h"
#include "switch/switch.h"

#define SPEC_MACS_MAX 8u

struct port_spec {
	struct spec at;	 /* first */
	unsigned queues; /* pairs */
	uint16_t mtu;	 /* 0: not given */
	struct port_speed speed;
	bool set_mac;
	uint8_t macs[SPEC_MACS_MAX][6]; /* the first is the one that the driver is told */
	unsigned mac_count;
	uint32_t flood_copies; /* as in struct sw_port_config */
	struct sw_limits limits;
	struct sw_retry retry; /* as given: see port_retry_settings() */
	struct sw_guard guard;
	struct sw_port_multicast multicast;
	bool router_given; /* multicast.router is what the user wants */
	uint16_t vlan;	    /* of frames without a tag; 0: not given */
	uint16_t vlan_tag;  /* the type of tags; 0: not given */
	bool isolated;
	bool gro;
	bool rss_off;
	bool uplink;
	uint32_t learning_sync; /* of a tap port: so many addresses; 0: none */
	bool role_given;
	bool vm2vm_given; /* or the switch's setting holds */
	enum sw_vm2vm vm2vm;
	char member_of[SPEC_NAME_BYTES]; /* the bond's name; "": of none */
	struct port_bond_spec bond;	 /* of a port that is one */
	bool trunk, tunnel; /* trunk: given; tunnel: tags are payload */
	uint64_t tagged[SW_VLAN_SET_WORDS]; /* the trunk's VLANs, as in struct sw_port_config */
	bool spoof_given, spoof_allowed; /* denied: frames from the port have one of `macs` as their source */
	bool spoof_learned;		 /* or the first one that it sends from */
	struct port_dpdk_spec dpdk;	 /* of a port that is one */
	struct port_xdp_spec xdp;	 /* of a port that is one */
	struct port_pcap_spec pcap;	 /* likewise */
	struct port_running running; /* how it begins */
};

/* All kinds of ports: port_kinds.c. */
extern const struct spec_kinds port_kinds;

/* As spec_parse(). */
static inline int port_spec_parse(const char *text, struct port_spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	return spec_parse(&port_kinds, text, &ret_spec->at, why);
}

static inline int port_spec_parse_at(const char *text, struct port_spec *ret_spec, char why[SPEC_WHY_BYTES], size_t *ret_at)
{
	return spec_parse_at(&port_kinds, text, &ret_spec->at, why, ret_at);
}

/* ---- keys for rows ---- */

/* clang-format off */
#define PORT_KEY_QUEUES {"queues", port_set_queues, "1 to 128", "N"}
#define PORT_KEY_MTU {"mtu", port_set_mtu, "68 to 65535", "", true}
#define PORT_KEY_MAC \
	{"mac", port_set_mac, "a unicast address such as 52:54:00:12:34:56, or up to 8 with '+' between them", "A[+B...]", true}
#define PORT_KEY_SPOOF {"spoof", port_set_spoof, "deny, allow or learn", "deny|allow|learn", true}
#define PORT_KEY_FLOOD_MAX {"flood-max", port_set_flood_max, "1000 to 10000000 copies a second, or any", "N|any", true}
#define PORT_KEY_RSS {"rss", port_set_rss, "on or off", "on|off"}
#define PORT_KEY_GRO {"gro", port_set_gro, "on or off", "on|off", true}
#define PORT_KEYS_VLAN \
	{"vlan", port_set_vlan, "1 to 4094", "1-4094", true}, \
	{"trunk", port_set_trunk, "VLANs such as 10, 10-19 or 10-19+30, or all", "N[-M][+...]|all", true}, \
	{"vlan-tag", port_set_vlan_tag, "802.1q or 802.1ad", "802.1q|802.1ad", true}, \
	{"tunnel", port_set_tunnel, "on or off", "on|off", true}, \
	{"isolated", port_set_isolated, "on or off", "on|off", true}
/* clang-format on */

bool port_set_queues(struct spec *spec, const char *value);
bool port_set_mtu(struct spec *spec, const char *value);
bool port_set_mac(struct spec *spec, const char *value);
bool port_set_spoof(struct spec *spec, const char *value);
bool port_set_vlan(struct spec *spec, const char *value);
bool port_set_trunk(struct spec *spec, const char *value);
bool port_set_vlan_tag(struct spec *spec, const char *value);
bool port_set_tunnel(struct spec *spec, const char *value);
bool port_set_rss(struct spec *spec, const char *value);
bool port_set_gro(struct spec *spec, const char *value);
bool port_set_isolated(struct spec *spec, const char *value);
bool port_set_flood_max(struct spec *spec, const char *value);

/*
 * What only one port may have, and `there` has already: an address, or a mac= that is not spoof=allow for both. `why` says what to do then.
 * Of an address that is a name, the name is what collides.
 */
bool port_spec_same_address(const struct port_spec *there, const struct port_spec *spec, char why[SPEC_WHY_BYTES]);
bool port_spec_same_mac(const struct port_spec *there, const struct port_spec *spec, char why[SPEC_WHY_BYTES]);

/* How many of `macs` are fixed to the port. */
static inline unsigned port_spec_fixed_macs(const struct port_spec *spec)
{
	return spec->spoof_allowed ? 0 : spec->mac_count;
}

/* What of it decides where frames go: fills in that part of the config, whose `tagged` lies in the spec. */
void port_spec_rules(const struct port_spec *spec, struct sw_port_config *config);

/* As address_problem of a kind whose address is nothing but a name, or a network interface. */
const char *port_name_problem(const char *address);
const char *port_interface_problem(const char *address);

/* A unicast address that is not zero, and nothing else. */
bool port_mac_parse(const char *text, uint8_t mac[6]);

/* An address as people write it: port_mac_text(mac).text lives to the end of the statement. */
struct port_mac_text {
	char text[18];
};
struct port_mac_text port_mac_text(const uint8_t mac[6]);

void port_spec_defaults(struct spec *spec);
const char *port_spec_problem(const struct spec *spec);

#endif
