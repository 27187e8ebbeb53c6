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

struct vireo_log;

json_t *bond_state_json(const struct ports *ports); /* NULL: no memory */
/* Of a bond for which what is said cannot be LACP begins anew, with a line: who has handed it over is about to end, and has nothing else. */
void bond_state_take(const json_t *bonds, const struct ports *ports, const struct vireo_log *log);

#endif
