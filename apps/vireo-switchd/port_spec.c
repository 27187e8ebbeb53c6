/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_spec.h"
#include "base/util.h"
#include "port.h"
#include "switch/switch.h"
#include "switch/vlan.h"
#include <ctype.h>
#include <stdlib.h>
#include <net/if.h>
#include <string.h>

static struct port_spec *of(struct spec *spec)
{
	return container_of(spec, struct port_spec, at);
}

void port_spec_defaults(struct spec *spec)
{
	of(spec)->queues = 1;
}

const char *port_spec_problem(const struct spec *spec)
{
	const struct port_spec *port = (const struct port_spec *)spec;

	if (port->spoof_learned && port->set_mac)
		return "spoof=learn: expected without mac=: the first address that the port sends from is its own";
	if (port->spoof_given && !port->spoof_learned && !port->set_mac)
		return "spoof: expected only with mac=, which says what addresses the port may use";
	if (port->tunnel && (!port->vlan || port->trunk))
		return "tunnel: expected with vlan=, which says in which VLAN all frames lie, and without trunk=";
	if (port->vlan_tag && !port->trunk && (!port->vlan || port->tunnel))
		return "vlan-tag: expected with trunk=, or with vlan= and without tunnel=on";
	if (port_role_problem(port))
		return port_role_problem(port);
	if (port_retry_problem(port))
		return port_retry_problem(port);
	return port_running_problem(port);
}

bool port_set_queues(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, SW_QUEUES_MAX, &n))
		return false;
	of(spec)->queues = (unsigned)n;
	return true;
}

bool port_set_mtu(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 68, 65535, &n))
		return false;
	of(spec)->mtu = (uint16_t)n;
	return true;
}

static bool mac_parse(const char **value, uint8_t mac[6])
{
	const char *at = *value;

	for (unsigned i = 0; i < 6; i++, at += 2) {
		char digits[3];

		if (i && *at++ != ':')
			return false;
		if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]))
			return false;
		digits[0] = at[0];
		digits[1] = at[1];
		digits[2] = '\0';
		mac[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	*value = at;
	return !(mac[0] & 1) && memcmp(mac, "\0\0\0\0\0", 6) != 0;
}

bool port_mac_parse(const char *text, uint8_t mac[6])
{
	return mac_parse(&text, mac) && !*text;
}

struct port_mac_text port_mac_text(const uint8_t mac[6])
{
	struct port_mac_text ret;

	snprintf(ret.text, sizeof(ret.text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return ret;
}

/* A, or A+B+... */
bool port_set_mac(struct spec *spec, const char *value)
{
	struct port_spec *port = of(spec);
	const char *end;

	port->mac_count = 0;
	do {
		if (port->mac_count == SPEC_MACS_MAX || !mac_parse(&value, port->macs[port->mac_count]))
			return false;
		port->mac_count++;
		end = value++;
	} while (*end == '+');
	port->set_mac = true;
	return !*end;
}

bool port_set_spoof(struct spec *spec, const char *value)
{
	struct port_spec *port = of(spec);

	port->spoof_given = true;
	port->spoof_allowed = !strcmp(value, "allow");
	port->spoof_learned = !strcmp(value, "learn");
	return port->spoof_allowed || port->spoof_learned || !strcmp(value, "deny");
}

bool port_set_flood_max(struct spec *spec, const char *value)
{
	unsigned long n;

	of(spec)->flood_copies = SW_FLOOD_ANY;
	if (!strcmp(value, "any"))
		return true;
	if (!parse_number(value, 1000, 10000000, &n))
		return false;
	of(spec)->flood_copies = (uint32_t)n;
	return true;
}

/* ---- VLANs ---- */

bool port_set_vlan(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, VLAN_ID_MAX, &n))
		return false;
	of(spec)->vlan = (uint16_t)n;
	return true;
}

/* N or N-M */
static bool range_parse(char *text, unsigned long *ret_first, unsigned long *ret_last)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash = '\0';
	return parse_number(text, 1, VLAN_ID_MAX, ret_first) && parse_number(dash ? dash + 1 : text, 1, VLAN_ID_MAX, ret_last) &&
	       *ret_first <= *ret_last;
}

static bool ranges_parse(char *text, uint64_t *set)
{
	unsigned long first, last;
	char *next;

	for (; text; text = next) {
		next = strchr(text, '+');
		if (next)
			*next++ = '\0';
		if (!range_parse(text, &first, &last))
			return false;
		for (; first <= last; first++)
			set[first / 64] |= 1ull << first % 64;
	}
	return true;
}

bool port_set_trunk(struct spec *spec, const char *value)
{
	char *text = strdup(strcmp(value, "all") != 0 ? value : "1-4094");
	bool good;

	memset(of(spec)->tagged, 0, sizeof(of(spec)->tagged));
	good = text && ranges_parse(text, of(spec)->tagged);
	free(text);
	of(spec)->trunk = good;
	return good;
}

bool port_set_vlan_tag(struct spec *spec, const char *value)
{
	bool service = !strcmp(value, "802.1ad");

	of(spec)->vlan_tag = service ? TAG_TYPE_SERVICE : TAG_TYPE_DEFAULT;
	return service || !strcmp(value, "802.1q");
}

static bool switch_parse(const char *value, bool *ret)
{
	*ret = !strcmp(value, "on");
	return *ret || !strcmp(value, "off");
}

bool port_set_tunnel(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->tunnel);
}

bool port_set_rss(struct spec *spec, const char *value)
{
	bool on, good = switch_parse(value, &on);

	of(spec)->rss_off = !on;
	return good;
}

bool port_set_gro(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->gro);
}

bool port_set_isolated(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->isolated);
}

void port_spec_rules(const struct port_spec *spec, struct sw_port_config *config)
{
	config->vlan = spec->vlan;
	config->vlan_aware = (spec->vlan && !spec->tunnel) || spec->trunk;
	config->tag_type = spec->vlan_tag;
	config->tagged = spec->trunk ? spec->tagged : NULL;
	config->isolated = spec->isolated;
	config->uplink = spec->uplink;
	config->vm2vm = spec->vm2vm;
	config->member_of = spec->member_of[0] ? spec->member_of : NULL;
}

static bool has_mac(const struct port_spec *spec, const uint8_t mac[6])
{
	for (unsigned i = 0; i < spec->mac_count; i++)
		if (!spec->spoof_allowed && !memcmp(spec->macs[i], mac, 6))
			return true;
	return false;
}

static const uint8_t *mac_shared(const struct port_spec *one, const struct port_spec *other)
{
	for (unsigned i = 0; i < other->mac_count && !other->spoof_allowed; i++)
		if (has_mac(one, other->macs[i]))
			return other->macs[i];
	return NULL;
}

bool port_spec_same_address(const struct port_spec *there, const struct port_spec *spec, char why[SPEC_WHY_BYTES])
{
	if (there->at.kind != spec->at.kind || port_kind_of(&spec->at)->address_is_name ||
	    strcmp(there->at.address, spec->at.address) != 0)
		return false;
	snprintf(why, SPEC_WHY_BYTES, "port '%s' has the address %s:%.100s already: choose another", there->at.name,
		 spec->at.kind->type, spec->at.address);
	return true;
}

bool port_spec_same_mac(const struct port_spec *there, const struct port_spec *spec, char why[SPEC_WHY_BYTES])
{
	const uint8_t *m = mac_shared(there, spec);

	if (m)
		snprintf(why, SPEC_WHY_BYTES,
			 "port '%s' has mac=%s already: choose another, or give both spoof=allow",
			 there->at.name, port_mac_text(m).text);
	return m;
}

const char *port_name_problem(const char *address)
{
	return spec_name_valid(address) ? NULL : "a name has " SPEC_NAME_EXPECTED;
}

const char *port_interface_problem(const char *address)
{
	if (strlen(address) >= IFNAMSIZ || strpbrk(address, "/ %:"))
		return "an interface's name has 1 to 15 characters, no '/', ':', '%' or blank";
	return NULL;
}
