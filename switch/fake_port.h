/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FAKE_PORT_H
#define SWITCH_FAKE_PORT_H

/*
 * For tests: a port in memory. A test sends frames into it, the switch takes them (rx) and gives others back (tx),
 * which are recorded. Frames are shown in three pieces, so that nobody relies on one.
 */

#include "base/loop.h"
#include "switch/switch.h"
#include <pthread.h>

#define FAKE_QUEUES 8u

struct fake_frame {
	unsigned queue;
	uint32_t bytes;
	struct vireo_frame_offload offload;
	uint8_t data[];
};

struct fake_list {
	struct fake_frame **frames;
	unsigned first, end, room; /* those before first are gone */
};

struct fake_port {
	pthread_mutex_t lock; /* all below */
	struct fake_list sent[FAKE_QUEUES]; /* waiting to be received */
	unsigned shown[FAKE_QUEUES];        /* received, not yet released */
	struct iovec pieces[FAKE_QUEUES][64][3];
	int kick_fd[FAKE_QUEUES];
	bool kicks[FAKE_QUEUES];
	bool dead[FAKE_QUEUES];         /* receive fails */
	struct fake_frame *late;        /* comes without a kick, at the moment when kicks are enabled */
	unsigned asked_dead;            /* how often a dead queue was asked */
	unsigned asked;                 /* how often any queue was asked ... */
	unsigned asked_for;             /* ... and for how many frames at last */
	unsigned slow_us;               /* a frame takes so long to deliver */
	struct fake_list got;           /* delivered */
	bool keep;                      /* record what is delivered: true, unless a test says otherwise before the port is added */
	uint64_t room;                  /* frames that still go in */
	bool steers;                    /* frames are wanted in the queue that their byte 14 names */
	bool waits[FAKE_QUEUES];        /* its memory is yet to come: after `goes` more frames everything is left */
	bool polls;                     /* its driver does not wait for a signal, or has not looked yet */
	bool starves;                   /* or it has no buffers */
	unsigned goes[FAKE_QUEUES];
	bool drips;                     /* each delivery lets one more go */
	unsigned left[FAKE_QUEUES];     /* by the last delivery */
	bool may_wait;                  /* of queues that are added from now on */
	bool stopped[FAKE_QUEUES];      /* whoever calls it for that out queue fails */
	uint64_t holds_ns;              /* signals are held back so long, 0: not at all; see signals.c */
	uint64_t since_ns[2][FAKE_QUEUES]; /* of in and out queues: since then one is held, 0: none is */
	unsigned signals[2][FAKE_QUEUES]; /* so many have gone */
	unsigned flushes;
	bool claimed[FAKE_QUEUES];      /* from deliver to flush nobody but the owner may come */
	pthread_t owner[FAKE_QUEUES];
	struct sw_queue_stats in[FAKE_QUEUES], out[FAKE_QUEUES];
};

extern const struct sw_port_ops fake_port_ops;

struct fake_port *fake_port_new(bool with_kick_fds);
void fake_port_free(struct fake_port *fake);

void fake_port_send(struct fake_port *fake, unsigned queue, const void *data, uint32_t bytes,
		    const struct vireo_frame_offload *offload); /* offload: NULL for none */
void fake_port_send_late(struct fake_port *fake, const void *data, uint32_t bytes); /* see late */
unsigned fake_port_got(struct fake_port *fake);
bool fake_port_idle(struct fake_port *fake); /* all sent frames were taken and released */
void fake_port_forget(struct fake_port *fake); /* what was delivered */
void fake_port_slow(struct fake_port *fake, unsigned slow_us); /* from now on, while workers deliver to it, too */

/* For tests with a fixture of their own; those of fake_switch.h have others. */
void fake_step(struct loop *loop); /* what has come for the control thread, and a millisecond for workers */
void fake_gone(void *count);	   /* a port or queue has gone: an unsigned counts them */

#endif
