/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_DRIVER_QUEUE_H
#define SWITCHD_DRIVER_QUEUE_H

/*
 * A pair of rings of a network device that we drive: frames come in place out of its receive ring (the switch's
 * in queue), and are copied into buffers of its transmit ring (out queue). It knows rings and memory, not
 * where the device is: a card on the PCI bus, or behind a vhost-user socket.
 *
 * Memory that a device can write to is input: a frame's header and head are copied before they are looked at,
 * and what the device says about lengths has been checked by the ring.
 */

#include "switch/switch.h"
#include "vireo/driver.h"

/*
 * A buffer: with MRG_RXBUF larger frames take several. Without, the largest frame that is received has to fit
 * into one.
 */
#define DRIVER_BUFFER_BYTES 2048u

struct driver_queue_setup {
	struct vireo_driver_ring *rx, *tx;
	void *rx_memory, *tx_memory; /* vireo_driver_ring_size() * buffer_bytes of each */
	uint32_t buffer_bytes;
	bool mergeable, indirect;
	unsigned offloads; /* VIREO_OFFLOAD_* that the device may leave to us on receive */
};

struct driver_queue {
	struct driver_queue_setup s;
	/* The in queue's worker: buffers that hold the frames that are shown, and the pieces that name them.
	 */
	void **held;
	struct iovec *pieces;
	unsigned held_count;
	struct sw_queue_stats in;
	/* Who has claimed the out queue: buffers that are free, and each one's successor in its frame. */
	uint16_t *slots, *next;
	unsigned slots_free;
	struct sw_queue_stats out;
};

/* Gives all receive buffers to the device. -ENOMEM, or what the ring says. `in` and `out` are what they were, here and in driver_queue_fini(): zeroes at first. */
int driver_queue_init(struct driver_queue *q, const struct driver_queue_setup *setup);
void driver_queue_fini(struct driver_queue *q);

/* As struct sw_port_ops; -EPROTO: the device has broken the ring. */
int driver_queue_receive(struct driver_queue *q, struct vireo_frame *frames, unsigned max);
int driver_queue_release(struct driver_queue *q);
int driver_queue_deliver(struct driver_queue *q, struct vireo_frame *const *frames, unsigned count);
void driver_queue_flush(struct driver_queue *q);

#endif
