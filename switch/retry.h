/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_RETRY_H
#define SWITCH_RETRY_H

/* Out queues whose port has no buffers, and gets another chance: retry.c. All but retry_list_free(): a worker. */

#include <stdint.h>

struct forwarder;
struct late;
struct out_queue;
struct sw_port_ops;

/* What a worker is to look at again. */
struct retry_list {
	struct late *list;
	unsigned count, room;
};

/* The queue is claimed, and not paused. Gives the port (ops, opaque) what is held, as far as it goes; for the rest, retry_left(). */
void retry_drain(struct forwarder *forwarder, struct out_queue *queue, const struct sw_port_ops *ops, void *opaque);
/* The queue is claimed, and frames are held that the port has left. If it is for want of buffers, they are tried again, or lost. */
void retry_left(struct forwarder *forwarder, struct out_queue *queue, const struct sw_port_ops *ops, void *opaque);
void retry_due(struct forwarder *forwarder); /* it may be time */
void retry_pass(struct forwarder *from, struct forwarder *to); /* what is to be looked at again; see relief.c */
void retry_list_free(struct retry_list *list); /* takes one that is all zeroes */

#endif
