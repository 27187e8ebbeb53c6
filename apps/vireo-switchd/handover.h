/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_HANDOVER_H
#define SWITCHD_HANDOVER_H

/*
 * What a switch gives to another process, by daemon/handover.h: first no more frames are taken in, everywhere, then all ports are held.
 * What is said of the switch is JSON (handover_state.h), checked like any client's; each port of it with more than its SPEC has a part,
 * in order: what its kind's export() has said, which is its endpoint's (vireo/endpoint.h), or of its interface's queues (kernel_state.h). Then comes
 * the part of mirrors (mirror_state.h), if they have one.
 * What has been learned comes last.
 */

#include "ctl/command.h"
#include <stdbool.h>

/*
 * One more whenever what is said changes: in daemon/handover.h, in handover_state.h, of an endpoint (wire/handover.h) or of a port at the
 * kernel (kernel_state.h). Not for a kind of port that was not handed over before: who does not know it refuses it.
 */
#define SWITCH_HANDOVER_VERSION 4
#define SWITCH_HANDOVER_OLDEST	3 /* what is said that was not then may be left out where there is none; what it lacks is as at a start */
#define SWITCH_HANDOVER_MORE	4 /* from then on mirrors, and what LACP has agreed on */

struct daemon;
struct port;
struct ports;
struct switch_handover;

/* `ports` and `daemon` are borrowed. */
int switch_handover_open(struct ports *ports, struct daemon *daemon, struct switch_handover **ret_handover);
void switch_handover_close(struct switch_handover *handover); /* takes NULL; before the ports go */

/* By the hand-over that is under way: it is not handed over, and who takes over opens it anew when this process has ended. */
bool switch_handover_leaves(const struct switch_handover *handover, const struct port *port);

/* True: a reload is not to begin now, and will by itself if this process goes on. */
bool switch_handover_delays_reload(struct switch_handover *handover); /* takes NULL */

ctl_serve_fn serve_handover;

#endif
