/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_PORT_H
#define BENCH_PORT_H

/*
 * A virtio-net driver of the simplest kind on top of a device: pairs of rings, fixed buffers, no offloads.
 * Pair i receives on ring 2i and transmits on ring 2i + 1. Used by one thread at a time.
 *
 * Or an interface of this machine (wire.h), as one pair without rings: what is sent is done with at once.
 */

#include "device.h"
#include "options.h"
#include "vireo/driver.h"
#include "wire.h"
#include <stdbool.h>
#include <stdint.h>

struct port_pair {
	struct vireo_driver_ring *rx, *tx;
	uint8_t *rx_buffers, *tx_slots;
	uint16_t *tx_free; /* slots, a stack */
	unsigned tx_free_count;
	struct iovec *pieces; /* of the frame being received; ring_size of them */
	void **cookies;
};

/* Written by the port's thread, read by any. */
struct port_stats {
	uint64_t tx_frames, tx_bytes, tx_done; /* given to the device, taken back from it */
	uint64_t rx_frames, rx_bytes;
	uint64_t kicks;
	uint64_t zero_buffer_counts; /* num_buffers is 0 where nothing but 1 is possible: 1 is what the device must write */
	uint64_t header_violations; /* what the device wrote breaks a rule of the header, yet the frame is
				       there */
	uint64_t framing_errors; /* a frame that cannot be put together: see port_receive() */
};

struct port {
	const char *path;
	struct device device;
	struct wire *wire; /* instead of the device and all that belongs to it */
	bool mergeable, indirect;
	unsigned pair_count, ring_size, pieces;
	uint32_t rx_buffer_bytes, tx_slot_bytes;
	uint8_t mac[6];
	uint16_t mtu; /* 0: not told */
	struct port_pair *pairs;
	struct port_stats stats;
	int error; /* sticky: a ring is broken */
};

/* Errors as vireo_front_open(), vireo_pci_open() and wire_open(). `frame_bytes_max` is the longest frame that will be sent or received. */
int port_open(const struct options *o, const char *path, uint32_t frame_bytes_max,
	      const struct vireo_log *log, struct port *ret_port);
void port_close(struct port *port);

/* Room for a frame in a transmit buffer, or NULL: none is free at the moment. */
uint8_t *port_slot(struct port *port, unsigned pair);
/* Queues the slot that port_slot() returned last. */
void port_send(struct port *port, unsigned pair, uint32_t frame_bytes);
/* Shows the device what was queued. */
void port_flush(struct port *port, unsigned pair);
/* Frames that the device has not given back. */
unsigned port_pending(const struct port *port);
/* Takes back what the device has sent. */
void port_reclaim(struct port *port, unsigned pair);

typedef void port_frame_fn(void *opaque, const struct iovec *pieces, unsigned count, uint32_t bytes);

/*
 * Hands up to `max` received frames to fn and gives their buffers back to the device. Returns how many. A
 * frame whose buffers are not all there, not full, or too short for its header counts as a framing error.
 */
unsigned port_receive(struct port *port, unsigned pair, unsigned max, port_frame_fn *fn, void *opaque);

/* Asks for signals on all rings of one kind (or ends that). Returns whether something is there already. */
bool port_signals(struct port *port, bool receive, bool on);
/* What is readable then, of one kind of rings of a pair; -1: nothing ever is. */
int port_call_fd(const struct port *port, unsigned pair, bool receive);

#endif
