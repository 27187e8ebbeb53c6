/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_set.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One "key=value" of a text whose parts commas part: behind the first one, which is TYPE:ADDRESS. */
struct part {
	const char *at;
	size_t bytes, key_bytes;
};

/* The part that begins at `text`; false at the end. */
static bool part_take(const char **text, struct part *ret)
{
	if (!*text)
		return false;
	ret->at = *text;
	ret->bytes = strcspn(*text, ",");
	ret->key_bytes = strcspn(*text, "=,");
	*text = ret->at[ret->bytes] ? ret->at + ret->bytes + 1 : NULL;
	return true;
}

static bool same_key(const struct part *a, const struct part *b)
{
	return a->key_bytes == b->key_bytes && !memcmp(a->at, b->at, a->key_bytes);
}

static const struct spec_key *key_of(const struct spec_kind *kind, const struct part *part)
{
	return spec_key_find(kind, part->at, part->key_bytes);
}

static bool is_given(const char *settings, const struct part *part)
{
	struct part each;

	while (part_take(&settings, &each))
		if (same_key(&each, part))
			return true;
	return false;
}

static bool settings_fit(const struct spec_kind *kind, const char *settings, char why[SPEC_WHY_BYTES])
{
	struct part part;

	while (part_take(&settings, &part)) {
		const struct spec_key *key = key_of(kind, &part);

		if (key && key->live && part.bytes > part.key_bytes)
			continue;
		if (!key)
			snprintf(why, SPEC_WHY_BYTES, "a %s port has no key '%.*s'", kind->type, (int)part.key_bytes, part.at);
		else if (!key->live)
			snprintf(why, SPEC_WHY_BYTES, "%s cannot change while the port is there: remove the port, and add it anew",
				 key->name);
		else
			snprintf(why, SPEC_WHY_BYTES, "%s: expected %s=VALUE, or %s= to take it away", key->name, key->name, key->name);
		return false;
	}
	return true;
}

static void part_put(FILE *out, const struct part *part)
{
	fprintf(out, ",%.*s", (int)part->bytes, part->at);
}

char *port_set_text(const struct port *port, const char *settings, char why[SPEC_WHY_BYTES])
{
	const char *rest = port->text, *given = settings;
	struct part part;
	char *text = NULL;
	size_t bytes;
	FILE *out;

	if (!settings_fit(&port->kind->spec, settings, why))
		return NULL;
	out = rest ? open_memstream(&text, &bytes) : NULL;
	if (!out) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return NULL;
	}
	part_take(&rest, &part);
	fprintf(out, "%.*s", (int)part.bytes, part.at);
	while (part_take(&rest, &part))
		if (!is_given(settings, &part))
			part_put(out, &part);
	while (part_take(&given, &part))
		if (part.bytes > part.key_bytes + 1)
			part_put(out, &part);
	fclose(out);
	return text;
}

void port_set_write_without(FILE *out, const char *text, const char *const *keys)
{
	const char *between = "";
	struct part part;

	while (part_take(&text, &part)) {
		const char *const *key = keys;

		while (*key && (strlen(*key) != part.key_bytes || memcmp(*key, part.at, part.key_bytes) != 0))
			key++;
		if (*key && *between)
			continue;
		fprintf(out, "%s%.*s", between, (int)part.bytes, part.at);
		between = ",";
	}
}

/* The next part that is no key that can change. */
static bool lasting_take(const struct spec_kind *kind, const char **text, struct part *ret)
{
	const struct spec_key *key;

	do {
		if (!part_take(text, ret))
			return false;
		key = key_of(kind, ret);
	} while (key && key->live);
	return true;
}

bool port_set_alike(const struct spec_kind *kind, const char *one, const char *other)
{
	struct part a, b;
	bool more;

	do {
		more = lasting_take(kind, &one, &a);
		if (more != lasting_take(kind, &other, &b))
			return false;
		if (more && (a.bytes != b.bytes || memcmp(a.at, b.at, a.bytes) != 0))
			return false;
	} while (more);
	return true;
}

static void addresses_take(struct port_spec *to, const struct port_spec *from)
{
	memcpy(to->macs, from->macs, sizeof(to->macs));
	to->mac_count = from->mac_count;
	to->set_mac = from->set_mac;
	to->spoof_given = from->spoof_given;
	to->spoof_allowed = from->spoof_allowed;
	to->spoof_learned = from->spoof_learned;
}

static void rules_take(struct port_spec *to, const struct port_spec *from)
{
	to->vlan = from->vlan;
	to->vlan_tag = from->vlan_tag;
	to->isolated = from->isolated;
	to->uplink = from->uplink;
	to->vm2vm_given = from->vm2vm_given;
	to->vm2vm = from->vm2vm;
	to->trunk = from->trunk;
	to->tunnel = from->tunnel;
	memcpy(to->tagged, from->tagged, sizeof(to->tagged));
	memcpy(to->member_of, from->member_of, sizeof(to->member_of));
	to->bond = from->bond;
}

static const char *rules_problem(int err)
{
	if (err == -EBUSY)
		return "there are static entries behind the port in a VLAN that it would leave: fdb del them first";
	if (err == -EADDRINUSE)
		return "one of the port's addresses is another port's in a VLAN that it would come to: choose others, or let go of it there";
	if (err == -ENOSPC)
		return "the forwarding database has no room for the port's addresses in so many VLANs: name fewer of them";
	return strerror(-err);
}

static int addresses_set(struct port *port, const struct port_spec *spec)
{
	return sw_port_addresses_set(port->sw, (const uint8_t (*)[6])spec->macs, port_spec_fixed_macs(spec), spec->spoof_learned);
}

/* One that comes to a VLAN, out of a bond, has none fixed there yet. */
static bool addresses_differ(const struct port_spec *a, const struct port_spec *b)
{
	return a->mac_count != b->mac_count || memcmp(a->macs, b->macs, a->mac_count * sizeof(a->macs[0])) != 0 ||
	       a->spoof_allowed != b->spoof_allowed || a->spoof_learned != b->spoof_learned || strcmp(a->member_of, b->member_of) != 0;
}

/* What it may send from, after its VLANs are set; and the MTU, which cannot be refused in the switch. */
static int addresses_and_mtu_set(struct port *port, const struct port_spec *spec, char why[SPEC_WHY_BYTES])
{
	bool differ = addresses_differ(spec, &port->spec);
	int err = differ ? addresses_set(port, spec) : 0;

	if (err)
		snprintf(why, SPEC_WHY_BYTES, "%s", rules_problem(err));
	if (err || !spec->mtu || spec->mtu == port->spec.mtu || !port->kind->mtu_set)
		return err;
	err = port->kind->mtu_set(port, spec->mtu, why);
	if (err && differ)
		addresses_set(port, &port->spec);
	return err;
}

/* On: the switch is ready before the device leaves anything. Off: the other way round. */
static int retry_set(struct port *port, const struct port_spec *spec)
{
	struct sw_retry retry = port_retry_settings(spec);
	int err;

	if (!port->kind->retry_set)
		return 0;
	if (!retry.looks)
		port->kind->retry_set(port, false);
	err = sw_port_retry_set(port->sw, &retry);
	if (!err && retry.looks)
		port->kind->retry_set(port, true);
	return err;
}

/* What can be refused comes first: after an error the port is as it was. */
static int apply(struct port *port, const struct port_spec *spec, char why[SPEC_WHY_BYTES])
{
	struct sw_port_config config = {0}, old = {0};
	int err;

	if (!port_workers_there(port->ports, spec, why))
		return -ERANGE;
	if (addresses_differ(spec, &port->spec) && ports_mac_taken(port->ports, spec, port, why))
		return -EADDRINUSE;
	port_spec_rules(spec, &config);
	port_spec_rules(&port->spec, &old);
	err = sw_port_rules_set(port->sw, &config);
	if (err) {
		snprintf(why, SPEC_WHY_BYTES, "%s", rules_problem(err));
		return err;
	}
	err = sw_port_guard_set(port->sw, &spec->guard);
	if (!err && port->kind == &port_bond) {
		struct sw_bond_config bond = port_bond_config(&spec->bond);

		err = sw_bond_set(port->sw, &bond);
	}
	snprintf(why, SPEC_WHY_BYTES, "%s", strerror(-err));
	if (!err)
		err = addresses_and_mtu_set(port, spec, why);
	if (!err)
		err = retry_set(port, spec);
	if (err) {
		sw_port_guard_set(port->sw, &port->spec.guard);
		sw_port_rules_set(port->sw, &old);
	}
	return err;
}

static bool names(const char *settings, const char *key)
{
	const struct part wanted = {.at = key, .key_bytes = strlen(key)};

	return settings && is_given(settings, &wanted);
}

static bool speeds_differ(const struct port_speed *a, const struct port_speed *b)
{
	return a->mbits != b->mbits || a->half != b->half;
}

static void multicast_take(struct port *port, const struct port_spec *spec)
{
	const struct sw_port_multicast was = port_multicast_settings(port);
	struct sw_port_multicast next;

	port->spec.multicast = spec->multicast;
	port->spec.router_given = spec->router_given;
	next = port_multicast_settings(port);
	if (next.router != was.router || next.fast_leave != was.fast_leave || next.groups_max != was.groups_max)
		sw_port_multicast_set(port->sw, &next);
}

/* What nothing can refuse. */
static void settings_take(struct port *port, const struct port_spec *spec)
{
	bool news = speeds_differ(&port->spec.speed, &spec->speed);

	port->spec.speed = spec->speed;
	if (news && port->kind->speed_set)
		port->kind->speed_set(port);
	port->spec.at.endpoint.memory_max_bytes = spec->at.endpoint.memory_max_bytes;
	if (port->kind->memory_max_set)
		port->kind->memory_max_set(port);
	port->spec.at.endpoint.hello_ms = spec->at.endpoint.hello_ms;
	if (port->kind->hello_set)
		port->kind->hello_set(port);
	port->spec.gro = spec->gro;
	sw_port_gro_set(port->sw, spec->gro);
	multicast_take(port, spec);
}

int port_set(struct port *port, const struct port_spec *spec, const char *text, const char *named, char why[SPEC_WHY_BYTES])
{
	struct port_spec next = *spec;
	char *copy = strdup(text);
	int err = copy ? 0 : -ENOMEM;

	port_vm2vm_settle(&next, port->ports->vm2vm);
	snprintf(why, SPEC_WHY_BYTES, "out of memory");
	if (!err)
		err = apply(port, &next, why);
	if (err) {
		free(copy);
		return err;
	}
	sw_port_limits_set(port->sw, &spec->limits);
	port->spec.guard = spec->guard;
	port->spec.limits = spec->limits;
	port->spec.retry = spec->retry;
	if (port->spec.flood_copies != spec->flood_copies)
		sw_port_flood_set(port->sw, spec->flood_copies);
	port->spec.flood_copies = spec->flood_copies;
	rules_take(&port->spec, &next);
	addresses_take(&port->spec, spec);
	port->spec.mtu = spec->mtu;
	port_mtu_settle(port);
	settings_take(port, spec);
	port_link_run(port, &spec->running, names(named, "link") ? NULL : &port->spec.running);
	port_workers_run(port, &spec->running, names(named, "worker") ? NULL : &port->spec.running);
	port->spec.running = spec->running;
	free(port->text);
	port->text = copy;
	return 0;
}
