/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TAKEOVER_H
#define SWITCHD_TAKEOVER_H

/* The new process's side of handover.h. */

struct daemon;
struct ports;
struct takeover;

/*
 * Asks the process that serves the control socket for all that it has, and makes it: ports are held. -1 and a line of log: it was not
 * there, cannot or does not want to, or what it has cannot be had here; it goes on as soon as this process lets go of it. Blocks.
 */
int takeover_begin(struct ports *ports, struct daemon *daemon, struct takeover **ret_takeover);

/* From here on this process is the one, or -1 and a line of log: the other one is. Blocks. */
int takeover_end(struct takeover *takeover);
/* The control socket, which is the taker's; once. */
int takeover_control_fd(struct takeover *takeover);
void takeover_free(struct takeover *takeover); /* takes NULL */

#endif
