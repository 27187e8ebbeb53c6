/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PACE_H
#define SWITCH_PACE_H

/* Senders that wait for their receiver while CPUs are wanted: pace.c. A worker. */

#include "work/worker.h"

struct forwarder;
struct in_queue;
struct out_queue;
struct sw_port;
struct sw_port_ops;

#define PACED_MAX 16u /* more senders than that are not held up at a time */

struct paced {
	uint64_t serial; /* of the sender's port */
	unsigned slot;   /* among the worker's sources */
	unsigned queue;
};

struct pacer {
	/* Of the burst in hand. */
	bool on;        /* others want the CPU: it is noted where the burst goes: */
	unsigned lists; /* so many lists, */
	uint64_t serial; /* the last of them there; 0: to a port that cannot say how it gets on */
	uint16_t port, queue;
	/* Who waits. */
	unsigned count;
	struct paced list[PACED_MAX];
};

/* A burst is next, and others want the CPU. Is it to be noted where it goes? */
bool pace_begin(struct forwarder *forwarder);
/* It has gone to the queue, which is claimed. */
void pace_note(struct forwarder *forwarder, const struct sw_port *port, const struct out_queue *queue, const struct sw_port_ops *ops);
/* The burst of this queue is over. Until pace.serial is 0 again, it waits. */
void pace_end(struct forwarder *forwarder, struct in_queue *in);
void pace_due(struct forwarder *forwarder); /* it may be time */

#endif
