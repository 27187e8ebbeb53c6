/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_TAKEOVER_H
#define DAEMON_TAKEOVER_H

/* The new process's side of daemon/handover.h. All of it blocks, for as long as the other process may take. */

#include "daemon/parcel.h"
#include <stdint.h>

struct daemon;
struct takeover;

/*
 * Asks the daemon at the control socket for all that it has. `name` is as of daemon_control(), `what`, `version` and `oldest` as in struct
 * handover_ops; borrowed. One that has an older version, from `oldest` on, is asked for that. `reopen` is the
 * parameter of that name, or NULL. -1 and a line of log: it is not there, cannot or does not want to. Here as below it goes on then, as soon as
 * this process lets go of the connection.
 */
int takeover_new(struct daemon *daemon, const char *name, const char *what, unsigned version, unsigned oldest,
		 const char *reopen, struct takeover **ret_takeover);
unsigned takeover_version(const struct takeover *takeover); /* which it says */
void takeover_free(struct takeover *takeover); /* takes NULL */

/* One line: it has not been taken over, and why. -1. */
int takeover_complain(const struct takeover *takeover, const char *why);
/* The next parcel, which is to be of this kind and to be freed; or -1 and a line. */
int takeover_next(const struct takeover *takeover, uint32_t kind, struct parcel *ret_parcel);
/* The first one, and the control socket that comes with it is kept; or -1 and a line. */
int takeover_state(struct takeover *takeover, struct parcel *ret_parcel);

/* All is made: 0: from here on this process is the one. -1 and a line: the other one is, as it is when this one was asked to end. */
int takeover_answer(struct takeover *takeover);
/* All goes on: one line, for how long nothing was served, if the other one has said since when. After that. */
void takeover_gone_on(const struct takeover *takeover);
/* 0: a parcel of what may as well be lost, to be freed; -1: there is none. After takeover_answer(). */
int takeover_last(const struct takeover *takeover, struct parcel *ret_parcel);
/* The connection (borrowed), which hangs up when the other one has ended: it may wait for its service manager. After that. */
int takeover_fd(const struct takeover *takeover);
/* The control socket, which is the taker's; once. */
int takeover_control_fd(struct takeover *takeover);

#endif
