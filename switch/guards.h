/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_GUARDS_H
#define SWITCH_GUARDS_H

/* guards.c: a port's guard, and what a worker needs to ask it. */

#include "switch/groups.h"
#include "switch/switch.h"
#include "work/grace.h"
#include <sys/uio.h>

struct burst;
struct forwarder;

#define GUARD_BYTES      512u /* of a frame, that are looked at */
#define GUARD_PIECES_MAX 64u  /* of a frame that passes */

/* Immutable: a change is another one. */
struct port_guard {
	struct sw_guard rules;
	struct grace_item gone;
};

/* A worker's scratch: what has been looked at, as receivers get it. */
struct guard_room {
	uint8_t bytes[BURST_FRAMES][GUARD_BYTES];
	struct iovec pieces[BURST_FRAMES][GUARD_PIECES_MAX];
};

/* Worker. The burst loses frames that the port may not send. Returns how many are left. */
unsigned guards_admit(struct forwarder *forwarder, struct burst *burst, const struct sw_guard *rules);

#endif
