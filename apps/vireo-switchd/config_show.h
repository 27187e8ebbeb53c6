/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_CONFIG_SHOW_H
#define SWITCHD_CONFIG_SHOW_H

/* The settings as they would have to be for the switch to start as it runs now: `config show`. Control thread. */

#include <stdio.h>

struct daemon_options;
struct port;
struct ports;

void config_show_write(const struct ports *ports, const struct daemon_options *options, FILE *out);

/* The SPEC of a port, with what holds now in place of what it began with; to be freed, or NULL. */
char *config_show_spec(const struct port *port);

#endif
