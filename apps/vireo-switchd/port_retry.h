/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_RETRY_H
#define SWITCHD_PORT_RETRY_H

/* The keys of a guest's port that say how long frames wait for its buffers: struct sw_retry, as the user writes it. */

#include "daemon/spec.h"
#include "switch/switch.h"
#include <jansson.h>

struct port_spec;

#define PORT_RETRY_DELAY_US 15u /* where only the number is given, as in DPDK's example */

/* clang-format off */
#define PORT_KEYS_RETRY \
	{"rx-retry", port_set_rx_retry, "1 to 10000 looks", "N", true}, \
	{"rx-retry-delay", port_set_rx_retry_delay, "1 to 100000 microseconds", "US", true}
/* clang-format on */

bool port_set_rx_retry(struct spec *spec, const char *value);
bool port_set_rx_retry_delay(struct spec *spec, const char *value);
const char *port_retry_problem(const struct port_spec *spec); /* NULL: there is none */
struct sw_retry port_retry_settings(const struct port_spec *spec);
json_t *port_retry_report(const struct port_spec *spec); /* null: frames do not wait */

#endif
