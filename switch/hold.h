/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_HOLD_H
#define SWITCH_HOLD_H

/* Frames that an out queue holds while its port is paused, or waits for memory: hold.c. */

#include "switch/priority.h"
#include "switch/store.h"
#include "switch/switch.h"

struct out_queue;
struct port_counters;
struct sw_port;

/* Of out_queue.held (atomic). */
#define HELD_PAUSED 1u /* the port must not be called for the queue; the control thread writes it */
#define HELD_FRAMES 2u /* some are in the hold; written by who has claimed the queue */

#define HOLD_FRAMES_MAX 4096u /* of one queue */

/* What is held of a class. */
struct lane {
	struct store store; /* whoever has claimed the queue puts, and takes */
	bool ready;	    /* atomic: the store is there; else the first lane's takes its frames */
	bool used;	    /* since it was empty */
	uint32_t frames;
};

struct hold {
	struct lane lane[CLASSES]; /* the first one is not ready: nothing can be held */
	struct urgency urgency;    /* of what comes */
	uint32_t frames;     /* in all of them */
	uint32_t gone;       /* the port has taken so many out of it, or lost them */
	uint32_t bytes_max;  /* constant: of all stores together */
	struct port_counters *counters; /* of who has claimed the queue, */
	struct forwarder *forwarder;    /* who is that */
};

/* Control thread. Makes room; 0 also where it has been made before. -ENOMEM */
int hold_prepare(struct out_queue *queue);
/* Control thread. Where something can be held, and its port has classes, each class gets a place of its own, if there is memory. */
void hold_classes(struct out_queue *queue);
/* Nobody uses the queue any more: what is held is lost, and counted. */
void hold_end(struct out_queue *queue);
/* The link is down, and nobody uses the queue until it is up: what is held is lost, and counted. */
void hold_cut(struct out_queue *queue);

/*
 * What is called in place of the port's ops, with the out queue as opaque: puts frames there, and counts. The queue is claimed; its hold has
 * counters.
 */
extern const struct sw_port_ops hold_ops;
/* The queue is claimed. What is held is dropped. Returns how many frames that were, for the caller to count. */
unsigned hold_drop(struct out_queue *queue);
/* The queue is claimed. Gives the port what is held, in order, as far as it goes. */
void hold_drain(struct out_queue *queue, const struct sw_port_ops *ops, void *opaque, struct port_counters *counters);

#endif
