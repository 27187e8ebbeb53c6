/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_HANDOVER_H
#define STORE_HANDOVER_H

/*
 * What a daemon that serves disks gives to another process, by daemon/handover.h: all exports are held, so that nothing is under way at
 * any disk, and none of them is written to before one of the two processes goes on. Then come what there is, as JSON:
 *
 *	{"version": 2, "disks": [{"spec": "NAME=SPEC", "limits": LIMITS, "size": BYTES, "fd": true}], "exports": [{"spec": SPEC}]}
 *
 * and as parts, in order: for each disk with "fd" the open file, with the lock that it has (none with lock=running), and no bytes; for each
 * export what its endpoint has said (vireo/endpoint.h). The JSON is checked like any client's.
 */

struct store;

/* One more whenever what is said changes: in daemon/handover.h, here, or of an endpoint (wire/handover.h). */
#define STORE_HANDOVER_VERSION 2

int store_handover_open(struct store *store); /* 0 or -errno; store->handover, which handover_close() ends */

/* ---- the new process's side ---- */

/*
 * All of the process that serves the control socket, and ends for it. 0: it is this one's by now, and daemon_control() has a socket to
 * take. -1 and a line of log: that one goes on as soon as this one lets go of it, which is to end. Blocks.
 */
int store_take_over(struct store *store);

#endif
