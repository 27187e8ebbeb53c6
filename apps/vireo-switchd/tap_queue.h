/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TAP_QUEUE_H
#define SWITCHD_TAP_QUEUE_H

/*
 * A pair of queues at an fd of /dev/net/tun or /dev/tapN: what is read from it comes from the kernel (the switch's in queue), what is written to
 * it goes there (out queue). Frames carry a virtio-net header of NET_HDR_BYTES, so that large and unchecksummed ones pass as they are.
 *
 * An in queue reads up to KERNEL_BURST frames into buffers of its own, which stay the switch's until release; memory that has never been needed
 * is never touched. An out queue writes straight from the sender's pieces, but for the first bytes: decisions were taken on the private copy,
 * so that is what goes out. Small frames are copied together first.
 */

#include "kernel_port.h"

struct tap_queue {
	int fd;
	/* The in queue's worker. */
	uint8_t *buffers;
	struct iovec iov[KERNEL_BURST];
	struct sw_queue_stats in;
	/* Who has claimed the out queue. */
	uint8_t *bounce; /* KERNEL_FRAME_BYTES, made when first needed */
	struct sw_queue_stats out;
};

int tap_queue_init(struct tap_queue *queue); /* without an fd. -errno: no memory */
void tap_queue_fini(struct tap_queue *queue); /* closes the fd. Takes one that is all zeroes but for an fd of -1 */

/* As sw_port_ops has it; `offloads`: VIREO_OFFLOAD_* that may come. A negative errno: the interface has gone. */
int tap_queue_receive(struct tap_queue *queue, unsigned offloads, struct vireo_frame *frames, unsigned max);
bool tap_queue_send(struct tap_queue *queue, const struct vireo_frame *frame); /* true: it went; else it is counted */

#endif
