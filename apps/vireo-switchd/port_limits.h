/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_LIMITS_H
#define SWITCHD_PORT_LIMITS_H

/* The keys of a port that say how much it may send and get in a second, and what of it first: struct sw_limits, as the user writes it. */

#include "daemon/spec.h"
#include "switch/switch.h"
#include <jansson.h>

#define PORT_LIMIT_BYTES_EXPECTED "1000 to 1T bytes a second, such as 12M, or 12M/1M, of which so many may come at once"
#define PORT_LIMIT_FRAMES_EXPECTED "1 to 100000000 frames a second, such as 500, or 500/50, of which so many may come at once"

/* clang-format off */
#define PORT_KEYS_LIMITS \
	{"rate-in", port_set_rate_in, PORT_LIMIT_BYTES_EXPECTED, "BYTES[/BURST]", true}, \
	{"rate-out", port_set_rate_out, PORT_LIMIT_BYTES_EXPECTED, "BYTES[/BURST]", true}, \
	{"frames-in", port_set_frames_in, PORT_LIMIT_FRAMES_EXPECTED, "N[/BURST]", true}, \
	{"frames-out", port_set_frames_out, PORT_LIMIT_FRAMES_EXPECTED, "N[/BURST]", true}, \
	{"storm-broadcast", port_set_storm_broadcast, PORT_LIMIT_FRAMES_EXPECTED, "N[/BURST]", true}, \
	{"storm-multicast", port_set_storm_multicast, PORT_LIMIT_FRAMES_EXPECTED, "N[/BURST]", true}, \
	{"storm-unicast", port_set_storm_unicast, PORT_LIMIT_FRAMES_EXPECTED, "N[/BURST]", true}, \
	{"priority", port_set_priority, "off, pcp or dscp", "off|pcp|dscp", true}
/* clang-format on */

bool port_set_rate_in(struct spec *spec, const char *value);
bool port_set_rate_out(struct spec *spec, const char *value);
bool port_set_frames_in(struct spec *spec, const char *value);
bool port_set_frames_out(struct spec *spec, const char *value);
bool port_set_storm_broadcast(struct spec *spec, const char *value);
bool port_set_storm_multicast(struct spec *spec, const char *value);
bool port_set_storm_unicast(struct spec *spec, const char *value);

bool port_set_priority(struct spec *spec, const char *value);
const char *port_priority_name(const struct sw_limits *limits); /* as the user writes it */

/* An object with the keys that are set, each with `per_second` and `burst` (null: the switch's choice). */
json_t *port_limits_report(const struct sw_limits *limits);

#endif
