/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_FEATURES_H
#define SWITCHD_PORT_FEATURES_H

/* A network device's features by name, for `vireoctl port show`: an array. */

#include <jansson.h>
#include <stdint.h>

json_t *port_features_report(uint64_t features);

#endif
