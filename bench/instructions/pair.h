/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_INSTRUCTIONS_PAIR_H
#define BENCH_INSTRUCTIONS_PAIR_H

/* Two ports of a switch, whose guests send each other a burst in each round of the worker that serves both. */

#include "bench/instructions/guest.h"
#include "switch/switch.h"
#include <semaphore.h>

struct pair;

struct bench_port {
	struct pair *pair; /* NULL: the port is silent */
	struct guest guest;
	struct sw_port *sw; /* the one that others know: the bond, if it is one */
	/* The worker's. */
	bool awaited, greets, greeted;
	unsigned sent_bursts;
	unsigned left, kept; /* of "retried": by the last delivery, and waiting in the switch */
};

struct pair {
	struct bench_port ports[2];
	sem_t *added; /* posted once all ports are there */
	unsigned to_greet; /* how many ports speak before it begins; 0: that is not needed */
	unsigned *greeted; /* of all pairs: so many have */
	/* The worker calls it where both have sent as much; it may wait, or never return. */
	void (*round)(struct pair *pair);
	void *opaque; /* its own */
	unsigned number;
	bool by_clock; /* a turn that took long makes the next ones shorter */
	/* The worker's. */
	bool begun; /* it has got both ports, the drivers send */
	uint64_t driver_cycles; /* that the drivers have taken */
	uint64_t frames; /* by the clock: that they have got */
} __attribute__((aligned(128)));

extern const struct sw_port_ops bench_port_ops, bench_silent_ops;

/* What the switch takes for the time, by the thread of a worker. Under callgrind (clock.c) it goes by as it is told: */
void clock_step(uint64_t ns);
/* By the clock (cycles.c) it stands still while the drivers do their part: */
void clock_skip(uint64_t cycles);

#endif
