/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PRIORITY_H
#define SWITCH_PRIORITY_H

/* Ports where more urgent frames go first: priority.c. */

#include "base/util.h"

#define CLASSES     4u /* of a port; the last one is the most urgent */
#define CLASS_PARTS 8u /* of what there is too little of: each class leaves one more than the next one above it */

struct burst;
struct forwarder;
struct topology_port;
struct vireo_frame;

/* How a list is on its way, in one worker. All zeroes: as everything is, at a port without priorities. */
struct urgency {
	uint8_t class;
	uint8_t leaves; /* so many of CLASS_PARTS are not for this class */
};

/* Of something of this size, at most 2^60, what is not for who leaves so many parts. */
static inline uint64_t parts_left(uint64_t size, unsigned leaves)
{
	return size * leaves / CLASS_PARTS;
}

/* Worker. The class of a frame of the burst at a port that looks at what `by` says (enum sw_priority). */
unsigned priority_class(const struct burst *burst, const struct vireo_frame *frame, unsigned by);
/* Worker. As deliver(), to a port with priorities: a list for each class, the most urgent one first. */
void priority_deliver(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count);

#endif
