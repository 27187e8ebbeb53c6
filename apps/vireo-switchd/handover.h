/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_HANDOVER_H
#define SWITCHD_HANDOVER_H

/*
 * A switch gives all that it has to another process, which goes on (takeover.h). Nobody tells them apart: ports keep their sockets, their
 * sessions and their rings.
 *
 *	the old one					the new one
 *							workers run; listens at a socket of its own
 *	"handover SOCKET VERSION", by the control socket <--	asks
 *	connects there, and looks whose it is
 *	takes no more frames, then holds all ports: rings stop
 *	HANDOVER_SWITCH, HANDOVER_PORT... ----------->	opens each port with what it was, held
 *			  <---------------------------	HANDOVER_READY, or it ends
 *	HANDOVER_GO	  --------------------------->	all ports go on
 *	HANDOVER_LEARNED  --------------------------->	learns
 *	ends at once, and takes nothing away
 *
 * Whatever fails, or takes too long, before HANDOVER_GO: all ports go on in the old one, which says HANDOVER_NOT, and why. If it is killed
 * after HANDOVER_READY, before it has said either, the new one goes on. What is said of the switch is JSON, checked like any client's;
 * what is said of a port is its endpoint's, see vireo/endpoint.h, or of its interface's queues, see kernel_state.h.
 */

#include "ctl/command.h"
#include <stdbool.h>

/* One more whenever what is said changes: here, in handover_state.h, of an endpoint (wire/handover.h) or of a port at the kernel (kernel_state.h). */
#define HANDOVER_VERSION 3

/* Kinds of parcels (daemon/parcel.h). */
#define HANDOVER_SWITCH	 1u /* JSON, and the control socket */
#define HANDOVER_PORT	 2u /* for each port of the JSON with more than its SPEC, in order: what its kind's export() has said */
#define HANDOVER_READY	 3u
#define HANDOVER_GO	 4u
#define HANDOVER_NOT	 5u /* a text: why not */
#define HANDOVER_LEARNED 6u /* JSON */

struct daemon;
struct handover;
struct ports;

/* `ports` and `daemon` are borrowed. */
int handover_open(struct ports *ports, struct daemon *daemon, struct handover **ret_handover);
void handover_close(struct handover *handover); /* takes NULL; before the ports go */

/* True: a reload is not to begin now, and will by itself if this process goes on. */
bool handover_delays_reload(struct handover *handover); /* takes NULL */

ctl_serve_fn serve_handover;

#endif
