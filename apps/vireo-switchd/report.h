/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_REPORT_H
#define SWITCHD_REPORT_H

/*
 * What the daemon tells about itself, as JSON. docs/control-protocol.md describes every field. NULL: out of
 * memory.
 */

#include "port.h"
#include <jansson.h>

json_t *report_port_brief(const struct port *port);
json_t *report_port_full(const struct port *port);
json_t *report_workers(const struct sw *sw);
json_t *report_worker_list(const struct ports *ports); /* and what queues each serves */
json_t *report_fdb(const struct sw *sw);

#endif
