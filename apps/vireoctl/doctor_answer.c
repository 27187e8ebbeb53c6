/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor.h"
#include "field.h"
#include <stdio.h>
#include <string.h>

#define SILENT_S 30 /* a guest that is there for so long has asked for an address, at least */
#define KICKS_IN_VAIN 16 /* one may come each time that a device is started */

void doctor_failed_ports(struct doctor *doctor)
{
	const json_t *port;

	for (size_t i = 0; (port = doctor_port(doctor, i)); i++)
		if (doctor_port_is(port, "state", "failed"))
			doctor_find(doctor, "failed", port, json_sprintf("it has failed: its %s is gone", text_of(port, "type")),
				    json_sprintf("vireoctl port remove %s, and vireoctl port add when '%s' is there again",
				    text_of(port, "name"), text_of(port, "address")));
}

/* ---- lengths ---- */

/* "10-19" or "7", in either of which the other's first one may lie. */
static bool ranges_meet(const char *one, const char *other)
{
	unsigned from[2], to[2];

	for (unsigned i = 0; i < 2; i++)
		if (sscanf(i ? other : one, "%u-%u", &from[i], &to[i]) == 1)
			to[i] = from[i];
		else if (sscanf(i ? other : one, "%u-%u", &from[i], &to[i]) != 2)
			return false;
	return from[0] <= to[1] && from[1] <= to[0];
}

static bool has_vlans(const json_t *vlan, const char *range)
{
	const json_t *tagged = json_object_get(vlan, "tagged"), *entry, *untagged = json_object_get(vlan, "untagged");
	char own[16];

	snprintf(own, sizeof(own), "%lld", (long long)json_integer_value(untagged));
	if (json_is_integer(untagged) && ranges_meet(own, range))
		return true;
	for (size_t i = 0; (entry = json_array_get(tagged, i)); i++)
		if (json_is_string(entry) && ranges_meet(json_string_value(entry), range))
			return true;
	return false;
}

/* Frames of one may come to the other. */
static bool in_one_vlan(const json_t *one, const json_t *other)
{
	const json_t *a = json_object_get(one, "vlan"), *b = json_object_get(other, "vlan"), *tagged = json_object_get(a, "tagged"), *entry;
	const json_t *untagged = json_object_get(a, "untagged");
	char own[16];

	if (!json_is_object(a) || !json_is_object(b))
		return !json_is_object(a) && !json_is_object(b);
	snprintf(own, sizeof(own), "%lld", (long long)json_integer_value(untagged));
	if (json_is_integer(untagged) && has_vlans(b, own))
		return true;
	for (size_t i = 0; (entry = json_array_get(tagged, i)); i++)
		if (json_is_string(entry) && has_vlans(b, json_string_value(entry)))
			return true;
	return false;
}

/* Of a bond, whose affair VLANs and lengths are. */
static bool is_member(const json_t *port)
{
	return json_is_string(json_object_get(port, "bond"));
}

static bool speak(const json_t *one, const json_t *other)
{
	bool isolated = json_is_true(json_object_get(one, "isolated")) && json_is_true(json_object_get(other, "isolated"));

	if (one == other || isolated || is_member(one) || is_member(other) || doctor_port_is(other, "type", "null"))
		return false;
	return in_one_vlan(one, other);
}

void doctor_mtu(struct doctor *doctor)
{
	const json_t *port, *other, *largest;

	for (size_t i = 0; (port = doctor_port(doctor, i)); i++) {
		largest = port;
		for (size_t j = 0; number_of(port, "mtu") && (other = doctor_port(doctor, j)); j++)
			if (number_of(other, "mtu") > number_of(largest, "mtu") && speak(port, other))
				largest = other;
		if (largest != port)
			doctor_find(doctor, "mtu", port, json_sprintf("its MTU is %lld, and that of port %s is %lld, whose longer frames do not come through",
				    number_of(port, "mtu"), text_of(largest, "name"), number_of(largest, "mtu")),
				    json_sprintf("give both the same mtu=, here and where the guest or the interface has it: vireoctl port set %s mtu=%lld",
				    text_of(largest, "name"), number_of(port, "mtu")));
	}
}

static long long queues_sum(const json_t *port, const char *direction, const char *key)
{
	const json_t *queue;
	long long sum = 0;

	for (size_t i = 0; (queue = json_array_get(json_object_get(port, "queue_counters"), i)); i++)
		if (doctor_port_is(queue, "direction", direction))
			sum += number_of(queue, key);
	return sum;
}

/* Nobody knows whether more will come: these counters never fall. */
void doctor_long_frames(struct doctor *doctor)
{
	const json_t *port;

	for (size_t i = 0; (port = doctor_port(doctor, i)); i++) {
		long long count = number_of(json_object_get(port, "counters"), "tx_mtu") + queues_sum(port, "tx", "too_long");

		if (count)
			doctor_hint(doctor, "mtu", port, json_sprintf("since it is there, %lld frames were longer than it takes, and are lost", count),
				    json_string("let those who send to it have its MTU: mtu= at their ports, and ip link set dev INTERFACE mtu in their guests"));
	}
}

/* ---- guests ---- */

static const char *const bad[] = {"frames", "runt", "bad_offload", "too_long", "disabled", "error"};

/* A queue from the guest runs; *ret_kicks of all of them. False: none does, or frames have come, or nobody counts kicks. */
static bool waits_for_frames(const json_t *port, long long *ret_kicks)
{
	const json_t *queue;
	bool runs = false;

	*ret_kicks = queues_sum(port, "rx", "kicks");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (queues_sum(port, "rx", bad[i]))
			return false;
	for (size_t i = 0; (queue = json_array_get(json_object_get(port, "queue_counters"), i)); i++) {
		if (!doctor_port_is(queue, "direction", "rx") || !json_is_true(json_object_get(queue, "running")))
			continue;
		runs = true;
		if (!json_is_integer(json_object_get(queue, "kicks")))
			return false;
	}
	return runs;
}

void doctor_silent_guests(struct doctor *doctor)
{
	const json_t *port;
	long long kicks;

	for (size_t i = 0; (port = doctor_port(doctor, i)); i++) {
		const json_t *session = json_object_get(port, "session");
		long long seconds = number_of(session, "connected_s");

		if (!json_is_object(session) || !json_is_integer(json_object_get(session, "connected_s")) || !waits_for_frames(port, &kicks))
			continue;
		if (kicks >= KICKS_IN_VAIN)
			doctor_find(doctor, "guest", port, json_sprintf("its guest has kicked %lld times, and its ring shows nothing", kicks),
				    json_string("let its memory be shared: " DOCTOR_SHARE_ON));
		else if (!kicks && seconds >= SILENT_S)
			doctor_find(doctor, "guest", port, json_sprintf("its guest is there for %lld s, and has never kicked", seconds),
				    json_string("set its interface up in the guest: ip link set dev INTERFACE up"));
	}
}
