/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_CHAIN_H
#define VIREO_CHAIN_H

#include <stdint.h>
#include <sys/uio.h>

/*
 * A chain: one buffer that the driver made available, as pieces of this process's memory
 * (virtio 1.3, 2.6 "Virtqueues": a buffer is device-readable parts followed by device-writable
 * parts). The pieces lie in guest memory: the guest may change them at any moment, so whatever a
 * decision depends on is copied out once and only the copy is used.
 *
 * A chain is a token: each chain that vireo_queue_pop() returned is given back exactly once, by
 * vireo_queue_push() or vireo_queue_unpop(). `iov` points into the array that the caller gave to
 * pop; the first `readable_count` pieces are device-readable, the `writable_count` after them
 * device-writable. A descriptor that crosses memory regions gives several pieces.
 */
struct vireo_chain {
	struct iovec *iov;
	uint32_t readable_count;
	uint32_t writable_count;
	uint32_t readable_bytes;
	uint32_t writable_bytes;
	uint16_t id;   /* the driver's name for the buffer; of no meaning to the device */
	uint16_t span; /* ring entries it takes; private to the queue */
	uint32_t reserved; /* private to the queue, for what comes */
};

#endif
