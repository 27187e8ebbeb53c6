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
 * export what its endpoint has said (vireo/endpoint.h). What a daemon has beside them (struct store_more) is "more", and its parts come last.
 * The JSON is checked like any client's.
 */

#include "daemon/parse.h"
#include <jansson.h>

struct handover;
struct store;
struct takeover;

/* One more whenever what is said changes: in daemon/handover.h, here, or of an endpoint (wire/handover.h). */
#define STORE_HANDOVER_VERSION 2

/* What a daemon has beside disks and exports. */
struct store_more {
	unsigned version; /* of all that is said, by no other daemon */
	const char *(*refused)(const struct store *store, char why[PARSE_WHY_BYTES]); /* as that of struct handover_ops */
	json_t *(*tell)(const struct store *store); /* NULL: some of it could not be said */
	int (*give)(const struct store *store, struct handover *handover); /* its parts, in the order of what tell() has said; 0 or -errno */
	/* The new process's side: disks and exports are there. 0; -1 and a line of log (takeover_complain()). */
	int (*take)(struct store *store, const struct takeover *takeover, const json_t *more);
};

unsigned store_handover_version(const struct store *store);

int store_handover_open(struct store *store); /* 0 or -errno; store->handover, which handover_close() ends */

/* ---- the new process's side ---- */

/*
 * All of the process that serves the control socket, and ends for it. 0: it is this one's by now, and daemon_control() has a socket to
 * take. -1 and a line of log: that one goes on as soon as this one lets go of it, which is to end. Blocks.
 */
int store_take_over(struct store *store);

#endif
