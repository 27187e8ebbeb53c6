/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_HANDOVER_H
#define DAEMON_HANDOVER_H

/*
 * A daemon gives all that it has to another process of its kind, which goes on (daemon/takeover.h). Nobody tells them apart: what is
 * served keeps its sockets, its sessions and its rings. What that is, the daemon says in a table (struct handover_ops).
 *
 *	the old one					the new one
 *							workers run; listens at a socket of its own
 *	"handover SOCKET VERSION", by the control socket <--	asks
 *	connects there, and looks whose it is;
 *	{"watchdog_us": N}, by the control socket ------>	signs of life for the service manager: struct daemon has N
 *	ops->silence, ops->hold: all comes to rest
 *	HANDOVER_STATE, HANDOVER_PART... ------------>	makes all of it as it was, held
 *			  <---------------------------	HANDOVER_READY, or it ends
 *	HANDOVER_GO	  --------------------------->	all goes on; says how long all stood still
 *	HANDOVER_LAST	  --------------------------->	what may as well be lost
 *	ends at once, and takes nothing away
 *
 * Whatever fails, or takes too long, before HANDOVER_GO: all goes on in the old one, which says HANDOVER_NOT, and why. If it is killed
 * after HANDOVER_READY, before it has said either, the new one goes on. Control thread.
 */

#include "daemon/parse.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of parcels (daemon/parcel.h). */
#define HANDOVER_STATE 1u /* JSON, and the control socket: what there is */
#define HANDOVER_PART  2u /* what a part of it is; which, and how many, the JSON says */
#define HANDOVER_READY 3u
#define HANDOVER_GO    4u /* a uint64_t: clock_now_us() when the first ring was stopped; or nothing, of who does not say it yet */
#define HANDOVER_NOT   5u /* a text: why not */
#define HANDOVER_LAST  6u /* JSON */

#define HANDOVER_WHY_BYTES PARSE_WHY_BYTES

/* What one says, from version 2 on, who is asked for a version that it does not have; the successor reads the number. */
#define HANDOVER_HAS_VERSION "hands over as version "
#define HANDOVER_OF_VERSION "this %s (Vireo " VIREO_VERSION ") " HANDOVER_HAS_VERSION "%u has it, which is not the other one's"

struct daemon;
struct handover;
struct rpc_call;

struct handover_ops {
	const char *what; /* "switch" */
	const char *late; /* it does not come to rest in time: "a port's queues do not come to rest" */
	unsigned version; /* of all that is said */
	unsigned oldest;  /* which it can say as well, to an older process; any other one is refused. 0: `version` alone */
	/*
	 * NULL: all of it can be handed over, as far as can be known by now; or what is to be done first. Asked before anything has
	 * stopped, and again when all is held: what was under way may have failed.
	 */
	const char *(*refused)(void *opaque, char why[HANDOVER_WHY_BYTES]);
	/*
	 * First: nothing new is taken in anywhere, and what has been taken comes to its end. Then: everything is held. Each calls
	 * handover_waits() for whatever comes to rest later, which then calls handover_rests(), here or from the loop; or
	 * handover_give_up(). silence may be NULL.
	 */
	void (*silence)(struct handover *handover, void *opaque);
	void (*hold)(struct handover *handover, void *opaque);
	/* What is silent or held goes on; what comes to rest later does as soon as it has (handover_given_up() says so). */
	void (*go_on)(void *opaque);
	/* All is held: HANDOVER_STATE and the parts, by handover_give(). A negative errno: they could not be said. */
	int (*give)(struct handover *handover, void *opaque);
	char *(*last)(void *opaque); /* the text of HANDOVER_LAST (to be freed), or NULL; may be NULL */
	void (*over)(void *opaque); /* it has been given up, and clients are served again; may be NULL */
};

int handover_new(struct daemon *daemon, const struct handover_ops *ops, void *opaque, struct handover **ret_handover); /* all borrowed */
/* What is under way is given up. Takes NULL. Before what is held goes. */
void handover_close(struct handover *handover);

/* The command "handover SOCKET VERSION". */
void handover_serve(struct handover *handover, struct rpc_call *call);

unsigned handover_version(const struct handover *handover); /* which is wanted by who has asked last; refused() may look at it */
bool handover_busy(const struct handover *handover); /* who asks now is refused: one is under way, or was, and is not over yet */
bool handover_under_way(const struct handover *handover); /* and not given up; takes NULL */

/* ---- for ops, and what they have begun ---- */

void handover_waits(struct handover *handover);
void handover_rests(struct handover *handover);
bool handover_given_up(const struct handover *handover);
void handover_give_up(struct handover *handover, const char *why);

int handover_give(struct handover *handover, uint32_t kind, const void *data, size_t bytes, const int *fds, unsigned fd_count);
/* The text, which it frees (NULL: -ENOMEM), and the control socket. */
int handover_give_state(struct handover *handover, char *text);

#endif
