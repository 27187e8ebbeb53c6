/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_SAMPLES_H
#define SWITCHD_PORT_SAMPLES_H

/* What `port show` and `stats` say of a port's latency and of its bursts: histograms. */

#include <jansson.h>

struct sw_port;

json_t *port_samples_report(const struct sw_port *port);

#endif
