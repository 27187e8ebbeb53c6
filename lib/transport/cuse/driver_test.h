/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_DRIVER_TEST_H
#define CUSE_DRIVER_TEST_H

/* The driver behind the lab's caller: what it makes available. */

#include "transport/cuse/opener_lab.h"

/* Ring 0, a chain of one readable piece. */
static inline void put_readable(struct lab *lab, uint16_t slot, uint64_t gpa, uint32_t bytes)
{
	struct vhost_vring_addr addr = ring_addr(lab, 0);
	struct split_desc *desc = (struct split_desc *)(uintptr_t)addr.desc_user_addr;
	struct split_avail *avail = (struct split_avail *)(uintptr_t)addr.avail_user_addr;

	desc[slot] = (struct split_desc){ .addr = gpa, .len = bytes };
	avail->ring[avail->idx % SIZE] = slot;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
}

#endif
