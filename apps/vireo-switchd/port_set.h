/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_SET_H
#define SWITCHD_PORT_SET_H

/*
 * What of a port's SPEC can be changed while it is there: the keys whose rows say `live`, its limits, how much it floods, its guards, its
 * VLANs and its role, its addresses, its MTU and what it tells of its speed, multicast, gro, its share of memory and how long its peer may
 * say nothing. The SPEC is changed as text, and parsed as a whole, so that keys that do not go together are
 * found as they are at the start. Control thread.
 */

#include "port.h"
#include <stdio.h>

/*
 * The SPEC of a port, changed by SETTINGS, key=value[,key=value...]; "key=" takes a key away. To be freed; or NULL and why: a key that
 * the kind does not have, or that cannot change.
 */
char *port_set_text(const struct port *port, const char *settings, char why[SPEC_WHY_BYTES]);

/* Do two SPECs differ in nothing but keys that can change? */
bool port_set_alike(const struct spec_kind *kind, const char *one, const char *other);

/*
 * Carries out what differs; `text` (copied) is what `spec` was parsed from. Of what other commands change, too (port_running.h), what differs from
 * the SPEC of before, and the keys that are `named` (key=value[,key=value...] or NULL). 0; or a negative errno and why, and nothing has changed.
 */
int port_set(struct port *port, const struct port_spec *spec, const char *text, const char *named, char why[SPEC_WHY_BYTES]);

/* Writes a SPEC but for these keys, of which NULL is the last. */
void port_set_write_without(FILE *out, const char *text, const char *const *keys);

#endif
