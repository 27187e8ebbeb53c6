/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_STALL_H
#define SWITCH_STALL_H

/* Who makes a worker wait for memory: see stall.c. */

#include "vireo/frame.h"
#include <stdbool.h>
#include <stdint.h>

struct sw_port;
struct forwarder;

/* How often a port has made workers wait. Atomic. */
struct stalls {
	uint32_t first_s, count;
	bool accused;
};

#define STALLS_MAX 3u

struct stall_step {
	uint64_t ns; /* the clock */
	uint64_t faults, waits;
	uint64_t ready_ns; /* so long the thread has run, or waited for a CPU */
};

struct stall {
	bool alert;
	uint64_t alert_ns; /* how long the last alert was to last; 0: there was none */
	uint64_t alert_until_ns;
	uint64_t faults; /* when it was looked last */
	struct stall_step last; /* what the system said before a step, at most a millisecond before it */
	uint64_t last_cycles;	/* when that was, by the CPU's counter */
};

uint64_t stall_limit_cycles(void); /* takes a moment */
/* The worker. */
void stall_suspect(struct stall *stall); /* a burst took longer than stall_limit_cycles() */
uint64_t stall_begin(struct forwarder *forwarder); /* returns when the step begins, by the CPU's counter */
void stall_accuse(struct sw_port *port, uint32_t now_s); /* any thread: it has made a worker wait */
bool stall_waited(const struct stall_step *begun, const struct stall_step *ended); /* for memory, and long */
void stall_end(struct forwarder *forwarder, uint64_t begun, struct sw_port *port); /* whose memory was touched */
void stall_touch(const struct vireo_frame *frames, unsigned count);

#endif
