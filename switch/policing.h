/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_POLICING_H
#define SWITCH_POLICING_H

/* policing.c: how much a port may send and get in a second, and how much of what goes to all. */

#include "base/bucket.h"
#include "vireo/frame.h"

struct burst;
struct forwarder;
struct sw_limits;
struct sw_port;

#define LIMITED_IN    (1u << 0)
#define LIMITED_OUT   (1u << 1)
#define LIMITED_STORM (1u << 2)
#define LIMITED_PRIORITY (1u << 3) /* there are classes: priority.c */
#define LIMITED_ANY   (LIMITED_IN | LIMITED_OUT | LIMITED_STORM | LIMITED_PRIORITY)

enum storm { STORM_BROADCAST, STORM_MULTICAST, STORM_UNICAST, STORM_KINDS };

/* Of one direction: a frame passes if neither is used up. */
struct limit_pair {
	struct bucket bytes, frames;
};

struct port_limits {
	struct limit_pair in, out;
	struct bucket storm[STORM_KINDS];
	uint8_t priority; /* enum sw_priority (atomic) */
};

/* Control thread. Returns which there are: LIMITED_*. */
unsigned limits_set(struct port_limits *limits, const struct sw_limits *to);

/* Worker. The burst loses frames that the port may not send now. Returns how many are left. */
unsigned limits_in(struct forwarder *forwarder, struct burst *burst);
/* Worker. The list loses frames that the port may not get now. Returns how many are left. */
unsigned limits_out(struct forwarder *forwarder, struct sw_port *to, struct vireo_frame **frames, unsigned count);
/* Worker. The same for a list of one class: forwarder.urgency. */
unsigned limits_out_of_class(struct forwarder *forwarder, struct sw_port *to, struct vireo_frame **frames, unsigned count);
/* Worker. Of the burst's frames that are to be flooded (bit i: frame i), those that may be. */
uint64_t limits_storm(struct forwarder *forwarder, const struct burst *burst, uint64_t flooded);

#endif
