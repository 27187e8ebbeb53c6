/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_TALK_H
#define SWITCH_TALK_H

/* Who talks to whom: frames from port to port, counted while somebody wants to know, and free of cost while nobody does. See talk.c. */

#include "switch/switch.h"

struct forwarder;

#define SW_TALK_MS 10000u

struct sw_talk_pair {
	const char *from, *to;	/* ports; the switch's */
	uint64_t frames, bytes; /* since counting has begun, whether or not the port has had room for them */
};

/* Control thread. Counts for the next SW_TALK_MS; who asks in that time gets on, and who comes later begins anew. -ENOMEM: nothing is counted. */
int sw_talk_ask(struct sw *sw);
/* Control thread. What has been counted: a pair comes once for each worker that has carried its frames. Pairs whose port has gone are left out. */
void sw_talk_each(const struct sw *sw, void (*each)(void *opaque, const struct sw_talk_pair *pair), void *opaque);

/* ---- between the files ---- */

/* Worker: of the burst in hand. */
void talk_count(const struct forwarder *forwarder, const struct sw_port *to, struct vireo_frame *const *frames, unsigned count);
void talk_port_init(struct sw_port *port);
void talk_rest(struct sw *sw); /* nobody has asked for SW_TALK_MS */
void talk_end(struct sw *sw);  /* workers have ended */

#endif
