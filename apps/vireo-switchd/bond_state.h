/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_BOND_STATE_H
#define SWITCHD_BOND_STATE_H

/*
 * What LACP has agreed on, as one process tells another of it (handover_state.h), so that the other end of a bond notices nothing:
 *
 *	[{"bond": NAME, "system": MAC, "members": [{"port": NAME, "leads": true, "nobody": false, "machines": [RECEIVE, PERIODIC, SELECTED, MUX],
 *	  "partner": MAC, "said": [SYSTEM-PRIORITY, KEY, PORT-PRIORITY, PORT, STATE], "left": [CURRENT, PERIODIC, WAIT]}]}]
 *
 * Numbers are as in switch/lacp.h; "left": milliseconds until timers end, -1: they do not run.
 */

#include "port.h"

json_t *bond_state_json(const struct ports *ports); /* NULL: no memory */

/* Is there to be a port of that name, in that bond, that is not there yet? */
typedef bool bond_state_later(const void *opaque, const char *name, const char *bond);

/*
 * With all ports there, and held: each bond has its system from then on, and what is said of its members is looked at. 0; or -EINVAL and why, if there is no such
 * bond, or that cannot be.
 */
int bond_state_begin(const json_t *bonds, const struct ports *ports, bond_state_later *later, const void *opaque, char why[SPEC_WHY_BYTES]);
/* After that, as the ports go on, before links are looked at (sw_hold()). */
void bond_state_take(const json_t *bonds, const struct ports *ports);

#endif
