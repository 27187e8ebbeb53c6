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

/*
 * Control thread. Counts for the next SW_TALK_MS; who asks in that time gets on, and who comes later begins anew. So does who asks
 * SW_TALK_MS after the beginning, if there was no room for some pair: rows of ports that have gone, and of pairs that are silent by now, are
 * free then. -ENOMEM: nothing is counted.
 */
int sw_talk_ask(struct sw *sw);
uint64_t sw_talk_since_us(const struct sw *sw);  /* control thread: when counting has begun, of the monotonic clock; 0: never */
uint64_t sw_talk_uncounted(const struct sw *sw); /* control thread: frames since then of pairs for which there was no room */
/* Control thread. What has been counted: a pair comes once for each worker that has carried its frames. Pairs whose port has gone are left out. */
void sw_talk_each(const struct sw *sw, void (*each)(void *opaque, const struct sw_talk_pair *pair), void *opaque);

/* ---- between the files ---- */

/* Worker: of the burst in hand. */
void talk_count(const struct forwarder *forwarder, const struct sw_port *to, struct vireo_frame *const *frames, unsigned count);
void talk_port_init(struct sw_port *port);
void talk_rest(struct sw *sw); /* nobody has asked for SW_TALK_MS */
void talk_end(struct sw *sw);  /* workers have ended */

#endif
