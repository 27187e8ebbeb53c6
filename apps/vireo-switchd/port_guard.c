/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_guard.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port_spec.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sw_guard *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->guard;
}

/* No bit of an address is set behind the prefix. */
static bool prefix_ends(const struct sw_prefix *prefix, unsigned bits)
{
	for (unsigned i = prefix->bits; i < bits; i++)
		if (prefix->address[i / 8] & 0x80u >> i % 8)
			return false;
	return true;
}

/* ADDRESS or ADDRESS/BITS */
static bool prefix_parse(char *text, struct sw_prefix *ret)
{
	bool six = strchr(text, ':') != NULL;
	unsigned long all = six ? 128 : 32, bits = all;
	char *slash = strchr(text, '/');

	if (slash)
		*slash++ = '\0';
	if (slash && !parse_number(slash, 0, all, &bits))
		return false;
	*ret = (struct sw_prefix){.family = six ? 6 : 4, .bits = (uint8_t)bits};
	return inet_pton(six ? AF_INET6 : AF_INET, text, ret->address) == 1 && prefix_ends(ret, (unsigned)all);
}

static bool prefixes_parse(char *text, struct sw_guard *guard)
{
	char *next;

	guard->address_count = 0;
	for (; text; text = next) {
		next = strchr(text, '+');
		if (next)
			*next++ = '\0';
		if (guard->address_count == SW_GUARD_ADDRESSES_MAX || !prefix_parse(text, &guard->addresses[guard->address_count]))
			return false;
		guard->address_count++;
	}
	return true;
}

bool port_set_ip(struct spec *spec, const char *value)
{
	char *text = strdup(value);
	bool good = text && prefixes_parse(text, of(spec));

	free(text);
	return good;
}

static bool switch_parse(const char *value, bool *ret)
{
	*ret = !strcmp(value, "on");
	return *ret || !strcmp(value, "off");
}

bool port_set_arp_guard(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->neighbours);
}

bool port_set_dhcp_guard(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->dhcp_servers);
}

bool port_set_ra_guard(struct spec *spec, const char *value)
{
	return switch_parse(value, &of(spec)->routers);
}

static json_t *prefix_report(const struct sw_prefix *prefix)
{
	char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];

	if (!inet_ntop(prefix->family == 6 ? AF_INET6 : AF_INET, prefix->address, address, sizeof(address)))
		return json_null();
	if (prefix->bits == (prefix->family == 6 ? 128 : 32))
		return json_string(address);
	snprintf(text, sizeof(text), "%s/%u", address, prefix->bits);
	return json_string(text);
}

json_t *port_guard_report(const struct sw_guard *guard)
{
	json_t *list = guard->address_count ? json_array() : json_null();

	for (unsigned i = 0; i < guard->address_count; i++)
		json_array_append_new(list, prefix_report(&guard->addresses[i]));
	return json_pack("{s:o, s:b, s:b, s:b}", "ip", list, "arp", guard->neighbours || guard->address_count, "dhcp",
			 guard->dhcp_servers, "ra", guard->routers);
}
