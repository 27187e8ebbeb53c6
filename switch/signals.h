/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_SIGNALS_H
#define SWITCH_SIGNALS_H

/* Signals to a port's driver that the port holds back for a while: signals.c. A worker, but for signals_cut() and signal_list_free(). */

#include "switch/port.h"

struct forwarder;
struct owed_signal;
struct topology_port;

/* Where a worker is to look again. */
struct signal_list {
	struct owed_signal *list;
	unsigned count, room; /* places that are taken, and all: a power of two */
	uint64_t due_ns; /* the first of them is, or a later one; 0: none */
	uint64_t version; /* of the topology by which it was made */
};

/* May the port hold signals back? Asked after a flush, and a release: who holds the first one sees it. */
static inline bool signals_held(const struct sw_port *port)
{
	return __atomic_load_n(&port->limited, __ATOMIC_RELAXED) & PORT_HOLDS_SIGNALS;
}

/* It is claimed, and has been flushed; or it is paused. */
void signals_out(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue);
void signals_out_all(struct forwarder *forwarder, const struct topology_port *to); /* claims each of its out queues, if it can */
void signals_in(struct forwarder *forwarder, struct in_queue *in); /* it is the worker's */
void signals_due(struct forwarder *forwarder); /* it may be time */
void signals_cut(const struct sw_port *port); /* control thread; the link is down, and nobody uses the out queues */
void signal_list_free(struct signal_list *list); /* takes one that is all zeroes */

#endif
