/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_SPEED_H
#define SWITCHD_PORT_SPEED_H

/* The key of a guest's port that says how fast its link is said to be (SPEED_DUPLEX). It bounds nothing: rate-in and rate-out do. */

#include "daemon/spec.h"
#include <jansson.h>
#include <stdint.h>

struct port_speed {
	uint32_t mbits; /* a second; 0: not given */
	bool half;	/* duplex */
};

#define PORT_KEY_SPEED {"speed", port_set_speed, "1M to 2T bits a second such as 10G, with /half or /full behind it or not", "RATE[/half]", true}

bool port_set_speed(struct spec *spec, const char *value);
json_t *port_speed_report(const struct port_speed *speed); /* null: not given */

#endif
