/* SPDX-License-Identifier: BSD-3-Clause */
#include "bond_state.h"
#include "base/util.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- to tell ---- */

static json_int_t left_told(uint64_t ms)
{
	return ms == UINT64_MAX ? -1 : (json_int_t)ms;
}

static void member_tell(void *opaque, const struct sw_bond_past *past)
{
	const struct sw_bond_end *end = &past->partner;
	json_t **list = opaque;
	json_t *json = json_pack("{s:s, s:b, s:b, s:[iiii], s:s, s:[iiiii], s:[III]}", "port", past->port, "leads", past->leads, "nobody", past->nobody,
				 "machines", past->receive, past->periodic, past->selected, past->mux, "partner", port_mac_text(end->system).text, "said",
				 end->system_priority, end->key, end->port_priority, end->port, end->state, "left", left_told(past->current_ms),
				 left_told(past->periodic_ms), left_told(past->wait_ms));

	if (!*list || json_array_append_new(*list, json)) {
		json_decref(*list);
		*list = NULL;
	}
}

static json_t *bond_json(const struct port *port)
{
	struct sw_bond_status status;
	json_t *members = json_array();

	sw_bond_status(port->sw, &status);
	sw_bond_past_each(port->sw, member_tell, &members);
	return json_pack("{s:s, s:s, s:o}", "bond", port->spec.at.name, "system", port_mac_text(status.lacp_system).text, "members", members);
}

json_t *bond_state_json(const struct ports *ports)
{
	json_t *list = json_array();

	for (const struct port *p = ports->first; list && p; p = p->next) {
		if (!sw_port_is_bond(p->sw) || p->spec.bond.mode != SW_BOND_LACP)
			continue;
		if (json_array_append_new(list, bond_json(p))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

/* ---- to be told ---- */

/* A list of `count` numbers, each from `least` to `most`. */
static bool numbers_take(const json_t *list, size_t count, json_int_t least, json_int_t most, json_int_t *ret)
{
	if (json_array_size(list) != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const json_t *number = json_array_get(list, i);

		ret[i] = json_integer_value(number);
		if (!json_is_integer(number) || ret[i] < least || ret[i] > most)
			return false;
	}
	return true;
}

static bool mac_take(const json_t *json, uint8_t ret_mac[6])
{
	const char *text = json_string_value(json);

	return text && port_mac_parse(text, ret_mac);
}

/* Nobody's system is 00:00:00:00:00:00, which is no address of a port. */
static bool partner_take(const json_t *member, struct sw_bond_past *past)
{
	json_int_t said[5];

	if (past->nobody)
		return true;
	if (!mac_take(json_object_get(member, "partner"), past->partner.system) ||
	    !numbers_take(json_object_get(member, "said"), ARRAY_SIZE(said), 0, UINT16_MAX, said) || said[4] > UINT8_MAX)
		return false;
	past->partner.system_priority = (uint16_t)said[0];
	past->partner.key = (uint16_t)said[1];
	past->partner.port_priority = (uint16_t)said[2];
	past->partner.port = (uint16_t)said[3];
	past->partner.state = (uint8_t)said[4];
	return true;
}

static uint64_t left_taken(json_int_t left)
{
	return left < 0 ? UINT64_MAX : (uint64_t)left;
}

static bool member_take(const json_t *member, struct sw_bond_past *ret_past)
{
	const json_t *leads = json_object_get(member, "leads"), *nobody = json_object_get(member, "nobody");
	struct sw_bond_past past = {
		.port = json_string_value(json_object_get(member, "port")),
		.leads = json_is_true(leads),
		.nobody = json_is_true(nobody),
	};
	json_int_t machines[4], left[3];

	if (!past.port || !json_is_boolean(leads) || !json_is_boolean(nobody) ||
	    !numbers_take(json_object_get(member, "machines"), ARRAY_SIZE(machines), 0, UINT8_MAX, machines) ||
	    !numbers_take(json_object_get(member, "left"), ARRAY_SIZE(left), -1, INT32_MAX, left) || !partner_take(member, &past))
		return false;
	past.receive = (uint8_t)machines[0];
	past.periodic = (uint8_t)machines[1];
	past.selected = (uint8_t)machines[2];
	past.mux = (uint8_t)machines[3];
	past.current_ms = left_taken(left[0]);
	past.periodic_ms = left_taken(left[1]);
	past.wait_ms = left_taken(left[2]);
	*ret_past = past;
	return true;
}

struct members {
	struct sw_bond_past pasts[SW_BOND_MEMBERS_MAX];
	unsigned count;
};

static bool members_take(const json_t *list, struct members *ret)
{
	ret->count = (unsigned)json_array_size(list);
	if (!json_is_array(list) || json_array_size(list) > SW_BOND_MEMBERS_MAX)
		return false;
	for (unsigned i = 0; i < ret->count; i++)
		if (!member_take(json_array_get(list, i), &ret->pasts[i]))
			return false;
	return true;
}

/* NULL: none that speaks LACP. */
static const struct port *bond_of(const json_t *told, const struct ports *ports)
{
	const char *name = json_string_value(json_object_get(told, "bond"));
	const struct port *port = name ? ports_find(ports, name) : NULL;

	return port && sw_port_is_bond(port->sw) && port->spec.bond.mode == SW_BOND_LACP ? port : NULL;
}

/* ---- before anybody has decided ---- */

/* The system is chosen at random where the SPEC has none: it stays what the other end knows. LACP begins anew. */
static bool system_take(const struct port *port, const json_t *told)
{
	static const uint8_t none[6];
	struct sw_bond_config config = port_bond_config(&port->spec.bond);
	uint8_t system[6];

	if (!mac_take(json_object_get(told, "system"), system))
		return false;
	if (memcmp(config.lacp_system, none, sizeof(none)) != 0)
		return !memcmp(config.lacp_system, system, sizeof(system));
	memcpy(config.lacp_system, system, sizeof(system));
	return !sw_bond_set(port->sw, &config);
}

static bool is_member(const struct ports *ports, const char *name, const char *bond, bond_state_later *later, const void *opaque)
{
	const struct port *port = ports_find(ports, name);

	return port ? !strcmp(port->spec.member_of, bond) : later(opaque, name, bond);
}

static const char *members_problem(const struct port *bond, const struct members *members, bond_state_later *later, const void *opaque)
{
	for (unsigned i = 0; i < members->count; i++) {
		if (!is_member(bond->ports, members->pasts[i].port, bond->spec.at.name, later, opaque))
			return "a port that is none of its members";
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(members->pasts[i].port, members->pasts[j].port))
				return "a member twice";
	}
	return sw_bond_pasts_valid(bond->sw, members->pasts, members->count) ? NULL : "what cannot be";
}

/* NULL, or what of it is none, or wrong. */
static const char *bond_problem(const struct port *bond, const json_t *told, bond_state_later *later, const void *opaque)
{
	struct members members;

	if (!system_take(bond, told))
		return "a system that is not its own";
	if (!members_take(json_object_get(told, "members"), &members))
		return "what cannot be";
	return members_problem(bond, &members, later, opaque);
}

int bond_state_begin(const json_t *bonds, const struct ports *ports, bond_state_later *later, const void *opaque, char why[SPEC_WHY_BYTES])
{
	for (size_t i = 0; i < json_array_size(bonds); i++) {
		const json_t *told = json_array_get(bonds, i);
		const struct port *port = bond_of(told, ports);
		const char *problem = port ? bond_problem(port, told, later, opaque) : "of a bond that there is not";

		for (size_t j = 0; port && j < i; j++)
			if (bond_of(json_array_get(bonds, j), ports) == port)
				problem = "of a bond twice";
		if (!problem)
			continue;
		snprintf(why, SPEC_WHY_BYTES, "of LACP it says %s%s%s", problem, port ? ", of bond " : "", port ? port->spec.at.name : "");
		return -EINVAL;
	}
	return 0;
}

/* ---- as the ports go on ---- */

void bond_state_take(const json_t *bonds, const struct ports *ports)
{
	for (size_t i = 0; i < json_array_size(bonds); i++) {
		const struct port *port = bond_of(json_array_get(bonds, i), ports);
		struct members members;

		if (!port || !members_take(json_object_get(json_array_get(bonds, i), "members"), &members))
			continue;
		for (unsigned j = 0; j < members.count; j++)
			sw_bond_past_set(port->sw, &members.pasts[j]); /* one that is not there is opened anew, later */
	}
}
