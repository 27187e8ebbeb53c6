/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TAKEOVER_H
#define SWITCHD_TAKEOVER_H

/* The new process's side of handover.h. */

#include "daemon/parcel.h"
#include "daemon/parse.h"
#include <jansson.h>
#include <stdbool.h>

struct daemon;
struct handover_port;
struct ports;
struct takeover;
struct vireo_endpoint_state;

struct switch_takeover {
	struct ports *ports;
	struct daemon *daemon;
	struct takeover *takeover;
	json_t *state;
	struct parcel learned; /* addresses, as JSON; without data: none were told */
	bool anew; /* there are ports that are opened anew, when the other process has ended: reopen.h */
};

/*
 * Asks the process that serves the control socket for all that it has, and makes it: ports are held. -1 and a line of log: it was not
 * there, cannot or does not want to, or what it has cannot be had here; it goes on as soon as this process lets go of it. `reopen`:
 * ports that cannot be handed over do not keep it from that. Blocks.
 */
int switch_takeover_begin(struct ports *ports, struct daemon *daemon, bool reopen, struct switch_takeover *ret_takeover);

/* From here on this process is the one, or -1 and a line of log: the other one is. Blocks. */
int switch_takeover_end(struct switch_takeover *takeover);
/* A port as it was told, of this state, or opened as any other (NULL). -errno and why. */
int switch_takeover_port(const struct switch_takeover *takeover, const struct handover_port *told, const struct vireo_endpoint_state *state,
			 char why[PARSE_WHY_BYTES]);
/* Addresses of the ports that are there, once more if there are more by now. */
void switch_takeover_learn(const struct switch_takeover *takeover);
void switch_takeover_free(struct switch_takeover *takeover); /* takes one that is all zeroes */

#endif
