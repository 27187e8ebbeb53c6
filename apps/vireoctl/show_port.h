/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SHOW_PORT_H
#define VIREOCTL_SHOW_PORT_H

/* A port with all that is told of it, for people: of "port show", and of "stats". */

#include <jansson.h>
#include <stdio.h>

void port_details(const json_t *port, FILE *out);

#endif
