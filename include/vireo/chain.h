/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_CHAIN_H
#define VIREO_CHAIN_H

#include <stdint.h>
#include <sys/uio.h>

/*
 * A chain is one buffer that the driver has made available, as pieces of this process's memory (virtio 1.3, 2.6 "Virtqueues": a
 * buffer is device-readable parts followed by device-writable parts). The pieces lie in guest memory, and the guest may
 * change their bytes at any moment: copy out once what a decision depends on, and use only the copy.
 *
 * A chain is a token. Give each chain that vireo_queue_pop() has returned back exactly once, by vireo_queue_push() or
 * vireo_queue_unpop(). `iov` points into the array that the caller passed to pop: the first `readable_count` pieces are
 * device-readable, the `writable_count` pieces after them are device-writable. A descriptor that crosses memory regions
 * becomes several pieces.
 */
struct vireo_chain {
	struct iovec *iov;
	uint32_t readable_count;
	uint32_t writable_count;
	uint32_t readable_bytes;
	uint32_t writable_bytes;
	uint16_t id;   /* the driver's name for the buffer; of no meaning to the device */
	uint16_t span; /* ring entries it occupies; private to the queue */
	uint32_t reserved; /* private to the queue, for what comes */
};

#endif
