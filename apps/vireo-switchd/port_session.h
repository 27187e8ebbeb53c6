/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_SESSION_H
#define SWITCHD_PORT_SESSION_H

/*
 * What a port with an endpoint has agreed on with its peer, for `vireoctl port show`: adds "session" to the port's
 * object, null while nobody is there. `process` is the peer's, or 0: it is not known.
 */

#include <jansson.h>
#include <sys/types.h>

struct device_port;

void port_session_report(const struct device_port *device, pid_t process, json_t *object);

#endif
