/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_HANDOVER_STATE_H
#define SWITCHD_HANDOVER_STATE_H

/*
 * What one process tells the next of a switch, as JSON:
 *
 *	{"version": 4, "ports": [{"spec": SPEC, "text": SPEC, "settings": true, "endpoint": true, "number": N}], "held": ["MAC PORT [VLAN]"],
 *	 "locked": [{"mac": MAC, "port": NAME}], "bonds": [{"bond": NAME, "last": NAME}], "mirrors": MIRRORS, "lacp": LACP}
 *
 * "spec" is the port as it is now, "text" as it was given, and from a file of settings or not; "endpoint": a parcel of its own
 * follows. "last" is who carries of an active-backup bond. MIRRORS are mirror_state.h's, LACP bond_state.h's, and
 * "anew": true is said of a port that is not handed over (handover.h), "number" is the switch's of a port, and 1 more, all from version 4 on. "locked" is what ports with spoof=learn
 * may send from, which nobody else is to take in between. And when all goes on, which thousands of addresses are not to delay:
 *
 *	[{"mac": MAC, "port": NAME, "vlan": VLAN}]
 */

#include "port.h"

struct handover_port {
	struct port_spec spec;
	const char *text; /* the JSON's */
	unsigned number; /* 0: not told */
	bool in_settings, endpoint, anew; /* anew: the other process has it until it ends */
};

/* To be freed, or NULL. */
char *handover_state_text(const struct ports *ports, unsigned version); /* SWITCH_HANDOVER_* */
char *handover_state_learned(const struct ports *ports);

/* To be decref'd; NULL, and why: it is no such text, or not of that version. */
json_t *handover_state_parse(const char *text, size_t bytes, unsigned version, char why[SPEC_WHY_BYTES]);
size_t handover_state_ports(const json_t *state);
int handover_state_port(const json_t *state, size_t index, struct handover_port *ret_port, char why[SPEC_WHY_BYTES]); /* -EINVAL */
/*
 * With all ports there, and held: entries of the forwarding database, held and locked, and what is said of bonds and LACP. 0, or a negative errno and why: what
 * would be lost is somebody else's soon, or that cannot be. Of ports that are opened anew nothing is entered yet.
 */
int handover_state_take(const json_t *state, const struct ports *ports, char why[SPEC_WHY_BYTES]);
/* Entries of ports that have been opened anew, too; those of others are left out, and what has no room any more. */
void handover_state_hold(const json_t *state, const struct ports *ports);
void handover_state_learn(const char *text, size_t bytes, const struct ports *ports);
/* Who carries of active-backup bonds: as the ports go on, in the same round (sw_hold()). */
void handover_state_bonds(const json_t *state, const struct ports *ports);

#endif
