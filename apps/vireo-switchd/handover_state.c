/* SPDX-License-Identifier: BSD-3-Clause */
#include "handover_state.h"
#include "base/util.h"
#include "bond_state.h"
#include "config_show.h"
#include "handover.h"
#include "mirror_state.h"
#include "static_entries.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- to tell ---- */

/* A list that lacks something is none: NULL from then on. */
static void append(json_t **list, json_t *item)
{
	if (!*list) {
		json_decref(item);
	} else if (json_array_append_new(*list, item)) {
		json_decref(*list);
		*list = NULL;
	}
}

static json_t *port_json(const struct port *port)
{
	char *spec = config_show_spec(port);
	json_t *json = spec && port->text
			       ? json_pack("{s:s, s:s, s:b, s:b, s:i}", "spec", spec, "text", port->text, "settings", port->in_settings, "endpoint",
					   port->kind->export != NULL, "number", (int)sw_port_number(port->sw) + 1)
			       : NULL;

	free(spec);
	if (json && switch_handover_leaves(port->ports->handover, port))
		json_object_set_new(json, "anew", json_true());
	return json;
}

static json_t *ports_json(const struct ports *ports)
{
	json_t *list = json_array();

	for (const struct port *p = ports->first; list && p; p = p->next)
		append(&list, port_json(p));
	return list;
}

/* As `fdb add` takes it. */
static json_t *held_json(const struct sw_fdb_entry *entry)
{
	struct port_mac_text mac = port_mac_text(entry->mac);

	return entry->vlan ? json_sprintf("%s %s %u", mac.text, entry->port, entry->vlan) : json_sprintf("%s %s", mac.text, entry->port);
}

static void held_tell(void *opaque, const struct sw_fdb_entry *entry)
{
	if (entry->held)
		append(opaque, held_json(entry));
}

static void learned_tell(void *opaque, const struct sw_fdb_entry *entry)
{
	if (!entry->held && !entry->fixed)
		append(opaque, json_pack("{s:s, s:s, s:i}", "mac", port_mac_text(entry->mac).text, "port", entry->port, "vlan", (int)entry->vlan));
}

static json_t *entries_json(const struct ports *ports, void (*tell)(void *opaque, const struct sw_fdb_entry *entry))
{
	json_t *list = json_array();

	sw_fdb_each(ports->sw, tell, &list);
	return list;
}

static void locked_tell(const struct ports *ports, bool everywhere, json_t **list)
{
	for (const struct port *p = ports->first; p; p = p->next) {
		uint8_t number[6];
		bool whole = false;

		if (sw_port_locked(p->sw, number, &whole) && whole == everywhere && !switch_handover_leaves(ports->handover, p))
			append(list, json_pack("{s:s, s:s}", "mac", port_mac_text(number).text, "port", p->spec.at.name));
	}
}

/* Of two that have locked the same one, since an entry was held and let go, first the one whose it is. */
static json_t *locked_json(const struct ports *ports)
{
	json_t *list = json_array();

	locked_tell(ports, true, &list);
	locked_tell(ports, false, &list);
	return list;
}

/* Who carries of each active-backup bond; or has carried, since by now nobody's link is up. */
static json_t *bonds_json(const struct ports *ports)
{
	json_t *list = json_array();

	for (const struct port *p = ports->first; p; p = p->next) {
		struct sw_bond_status status;

		if (!sw_port_is_bond(p->sw))
			continue;
		sw_bond_status(p->sw, &status);
		if (status.last)
			append(&list, json_pack("{s:s, s:s}", "bond", p->spec.at.name, "last", status.last));
	}
	return list;
}

static char *text_of(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}

/* To one that does not know of mirrors and LACP nothing is told of them, and there is none. */
char *handover_state_text(const struct ports *ports, unsigned version)
{
	json_t *json = json_pack("{s:i, s:o, s:o, s:o, s:o}", "version", (int)version, "ports", ports_json(ports), "held",
				 entries_json(ports, held_tell), "locked", locked_json(ports), "bonds", bonds_json(ports));

	if (json && version >= SWITCH_HANDOVER_MORE &&
	    (json_object_set_new(json, "mirrors", mirror_state_json(ports)) || json_object_set_new(json, "lacp", bond_state_json(ports)))) {
		json_decref(json);
		json = NULL;
	}
	return text_of(json);
}

char *handover_state_learned(const struct ports *ports)
{
	return text_of(entries_json(ports, learned_tell));
}

/* ---- to be told ---- */

json_t *handover_state_parse(const char *text, size_t bytes, unsigned version, char why[SPEC_WHY_BYTES])
{
	json_error_t error;
	json_t *state = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	json_int_t told = json_integer_value(json_object_get(state, "version"));

	if (!state) {
		snprintf(why, SPEC_WHY_BYTES, "what it says of itself is no JSON: %.80s", error.text);
		return NULL;
	}
	if (told == version && json_is_array(json_object_get(state, "ports")))
		return state;
	snprintf(why, SPEC_WHY_BYTES, "what it says of itself is of version %lld, and not of %u", (long long)told, version);
	json_decref(state);
	return NULL;
}

size_t handover_state_ports(const json_t *state)
{
	return json_array_size(json_object_get(state, "ports"));
}

/* As it was given: the next process gets it from this one, and has to understand it. */
static bool text_valid(const char *text, const struct port_spec *spec, char why[SPEC_WHY_BYTES])
{
	struct port_spec given;

	if (port_spec_parse(text, &given, why))
		return false;
	if (given.at.kind == spec->at.kind && !strcmp(given.at.address, spec->at.address))
		return true;
	snprintf(why, SPEC_WHY_BYTES, "a port was given as another one");
	return false;
}

/* Of each port: what has a text, and what is true or false. */
static bool port_texts_take(const json_t *port, struct handover_port *ret_port)
{
	const json_t *settings = json_object_get(port, "settings"), *endpoint = json_object_get(port, "endpoint"), *anew = json_object_get(port, "anew");

	ret_port->text = json_string_value(json_object_get(port, "text"));
	ret_port->in_settings = json_is_true(settings);
	ret_port->endpoint = json_is_true(endpoint);
	ret_port->anew = json_is_true(anew);
	return ret_port->text && json_is_boolean(settings) && json_is_boolean(endpoint) && (!anew || json_is_boolean(anew));
}

int handover_state_port(const json_t *state, size_t index, struct handover_port *ret_port, char why[SPEC_WHY_BYTES])
{
	const json_t *port = json_array_get(json_object_get(state, "ports"), index), *told = json_object_get(port, "number");
	const char *spec = json_string_value(json_object_get(port, "spec"));
	json_int_t number = json_integer_value(told);

	ret_port->number = (unsigned)number;
	if (number < 0 || number > SW_PORTS_MAX || (told && !json_is_integer(told))) {
		snprintf(why, SPEC_WHY_BYTES, "a port has the number %lld, or another thing", (long long)number);
		return -EINVAL;
	}
	if (spec && port_texts_take(port, ret_port))
		return !port_spec_parse(spec, &ret_port->spec, why) && text_valid(ret_port->text, &ret_port->spec, why) ? 0 : -EINVAL;
	snprintf(why, SPEC_WHY_BYTES, "a port without its SPEC, or what else is to be said of it");
	return -EINVAL;
}

/* Is it one that is opened anew, and if a bond is asked for, a member of that? */
static bool is_later(const void *opaque, const char *name, const char *bond)
{
	const json_t *state = opaque;

	for (size_t i = 0; i < handover_state_ports(state); i++) {
		struct handover_port told;
		char why[SPEC_WHY_BYTES];

		if (!handover_state_port(state, i, &told, why) && told.anew && !strcmp(told.spec.at.name, name))
			return !bond || !strcmp(told.spec.member_of, bond);
	}
	return false;
}

static bool is_known(const json_t *state, const struct ports *ports, const char *name)
{
	return ports_find(ports, name) || is_later(state, name, NULL);
}

static void entry_learn(const struct ports *ports, const json_t *entry)
{
	const char *mac = json_string_value(json_object_get(entry, "mac")), *name = json_string_value(json_object_get(entry, "port"));
	json_int_t vlan = json_integer_value(json_object_get(entry, "vlan"));
	const struct port *port = mac && name ? ports_find(ports, name) : NULL;
	uint8_t number[6];

	if (port && port_mac_parse(mac, number) && vlan >= 0 && vlan <= SW_VLAN_MAX)
		sw_fdb_learned(port->sw, (uint16_t)vlan, number);
}

static int entry_hold(const struct ports *ports, const json_t *state, const json_t *entry, char why[SPEC_WHY_BYTES])
{
	const char *text = json_string_value(entry);
	struct static_entry held;

	if (!text) {
		snprintf(why, SPEC_WHY_BYTES, "an entry that is held is no text");
		return -EINVAL;
	}
	if (!static_entry_parse(text, &held, why))
		return -EINVAL;
	return !ports_find(ports, held.port) && is_later(state, held.port, NULL) ? 0 : static_entry_hold(ports, &held, why);
}

void handover_state_hold(const json_t *state, const struct ports *ports)
{
	const json_t *held = json_object_get(state, "held");
	char why[SPEC_WHY_BYTES];

	for (size_t i = 0; i < json_array_size(held); i++)
		entry_hold(ports, state, json_array_get(held, i), why);
}

void handover_state_bonds(const json_t *state, const struct ports *ports)
{
	const json_t *bonds = json_object_get(state, "bonds");

	for (size_t i = 0; i < json_array_size(bonds); i++) {
		const json_t *bond = json_array_get(bonds, i);
		const char *name = json_string_value(json_object_get(bond, "bond")), *last = json_string_value(json_object_get(bond, "last"));
		const struct port *port = name && last ? ports_find(ports, name) : NULL;

		if (port)
			sw_bond_last_set(port->sw, last);
	}
}

static int entry_lock(const struct ports *ports, const json_t *state, const json_t *entry, char why[SPEC_WHY_BYTES])
{
	const char *mac = json_string_value(json_object_get(entry, "mac")), *name = json_string_value(json_object_get(entry, "port"));
	const struct port *port = mac && name ? ports_find(ports, name) : NULL;
	uint8_t number[6];
	int err = port && port_mac_parse(mac, number) ? sw_port_locked_set(port->sw, number) : -EINVAL;

	if (err == -ENOSPC)
		snprintf(why, SPEC_WHY_BYTES, "there is no room for what port '%.64s' has locked: give --fdb-entries more", name);
	else if (err)
		snprintf(why, SPEC_WHY_BYTES, "what a port has locked is none of its addresses");
	return err;
}

static int bond_look(const struct ports *ports, const json_t *state, const json_t *told, char why[SPEC_WHY_BYTES])
{
	const char *name = json_string_value(json_object_get(told, "bond")), *last = json_string_value(json_object_get(told, "last"));
	const struct port *port = name ? ports_find(ports, name) : NULL;

	if (port && sw_port_is_bond(port->sw) && last && is_known(state, ports, last))
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "who carries is said of no bond, or of no port");
	return -EINVAL;
}

/* Of a list that may be missing, each item; 0, or what one of them has said. */
static int each(const json_t *state, const char *name, const struct ports *ports,
		int (*take)(const struct ports *ports, const json_t *state, const json_t *item, char *why), char why[SPEC_WHY_BYTES])
{
	const json_t *list = json_object_get(state, name);
	int err = 0;

	for (size_t i = 0; !err && i < json_array_size(list); i++)
		err = take(ports, state, json_array_get(list, i), why);
	return err;
}

/* What is no list has no items. */
static const char *no_list(const json_t *state)
{
	static const char *const lists[] = {"held", "locked", "bonds", "mirrors", "lacp"};

	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		if (json_object_get(state, lists[i]) && !json_is_array(json_object_get(state, lists[i])))
			return lists[i];
	return NULL;
}

int handover_state_take(const json_t *state, const struct ports *ports, char why[SPEC_WHY_BYTES])
{
	const char *wrong = no_list(state);
	int err = wrong ? -EINVAL : each(state, "held", ports, entry_hold, why);

	if (wrong)
		snprintf(why, SPEC_WHY_BYTES, "'%s' is no list", wrong);
	if (!err)
		err = each(state, "locked", ports, entry_lock, why);
	if (!err)
		err = each(state, "bonds", ports, bond_look, why);
	return err ? err : bond_state_begin(json_object_get(state, "lacp"), ports, is_later, state, why);
}

void handover_state_learn(const char *text, size_t bytes, const struct ports *ports)
{
	json_t *learned = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);

	for (size_t i = 0; i < json_array_size(learned); i++)
		entry_learn(ports, json_array_get(learned, i));
	json_decref(learned);
}
