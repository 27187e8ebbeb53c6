/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_INSTRUCTIONS_GUEST_H
#define BENCH_INSTRUCTIONS_GUEST_H

/*
 * A net device on a transport that is nothing but the device verbs, and a driver in front of it with real rings in
 * shared memory: no socket and no thread, so that each run takes the same steps. The driver polls, as DPDK's does:
 * neither side asks for notifications.
 */

#include "driver/ring/ring.h"
#include "bench/instructions/case.h"
#include "vireo/net.h"

#define GUEST_QUEUE_SIZE 256u
#define FRAME_BYTES_MAX	 1536u
#define BENCH_VLAN	 10u
#define BENCH_SUM_START	 34u /* of UDP over IPv4 */
#define BENCH_SUM_OFFSET 6u

struct map;

struct guest {
	const struct bench_case *c;
	uint8_t number; /* part of its addresses */
	struct vireo_net *net;
	struct vireo_device *device;
	uint8_t *memory;
	struct map *map; /* of its memory, until the device has it */
	size_t used_bytes, rings_bytes; /* of it; the rings', where they are apart */
	uint64_t device_areas[2]; /* where they lie in it */
	struct vireo_driver_ring *receive, *transmit;
	uint32_t to_send, to_take, to_reclaim; /* numbers of the next frames */
	uint8_t *buffers[GUEST_QUEUE_SIZE]; /* for frames to send, used in turn */
};

void guest_start(struct guest *g, const struct bench_case *c, uint8_t number);

/* The frame with this number, from one guest to the other, as the one of them sees it that is `side`; returns its bytes. */
uint32_t frame_make(uint8_t *frame, const struct bench_case *c, uint8_t side, uint8_t from, uint8_t to, uint32_t number);
/* Ends the program if it is not that one, as `to` is to get it. */
void frame_check(const uint8_t *frame, uint32_t len_bytes, const struct bench_case *c, uint8_t from, uint8_t to,
		 uint32_t number);

/* The driver makes a burst of frames to `to` available. */
void guest_send_burst(struct guest *g, uint8_t to);
/* The driver takes back what it has sent; ends the program if that are not `count` frames. */
void guest_sent(struct guest *g, unsigned count);
/* The driver takes `count` frames from `from`, checks each byte, and gives the buffers to the device again. */
void guest_take(struct guest *g, uint8_t from, unsigned count);

/* By the clock the device may take less in a turn: what there is is taken back; frames on their way. And taken; how many that were. */
unsigned guest_sent_some(struct guest *g);
unsigned guest_take_some(struct guest *g, uint8_t from);
/* The driver makes one frame available, to an address that nobody has. */
void guest_greet(struct guest *g);
/* The driver takes what there is, whatever it is, and gives the buffers to the device again. */
void guest_forget(struct guest *g);

/* Ends the program if `ok` does not hold. */
void must(bool ok, const char *what);

#endif
