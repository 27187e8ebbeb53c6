/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_INFLIGHT_H
#define WIRE_INFLIGHT_H

/*
 * What of each queue is in flight, in memory that outlives who serves it (vhost-user: "Inflight I/O tracking"). A region holds its
 * queues one behind the other, each of inflight_queue_bytes(). In the host's byte order; descriptors are copied as they lie in
 * the ring.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_VERSION 1u /* 0: nothing has been written yet */
#define INFLIGHT_ALIGN	 64u /* of a queue's part: what other back ends do */

struct inflight_split_desc { /* by the chain's head */
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next; /* of the last burst */
	uint64_t counter; /* in the order of their pops */
};

struct inflight_split {
	uint64_t features; /* none exist */
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_split_desc desc[];
};

struct inflight_packed_desc { /* a descriptor of a chain in flight, or free; what is not said of each is of a chain's first */
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* of the chain, or the next free one */
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head; /* old: of the last burst that is known to be shown */
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[10]; /* 7, and what aligns the array */
	struct inflight_packed_desc desc[];
};

_Static_assert(sizeof(struct inflight_split_desc) == 16 && sizeof(struct inflight_split) == 16, "split: DescStateSplit");
_Static_assert(sizeof(struct inflight_packed_desc) == 32 && sizeof(struct inflight_packed) == 32, "packed: DescStatePacked");

/* Of one queue with `entries` descriptors. */
static inline size_t inflight_queue_bytes(bool packed, uint32_t entries)
{
	size_t header = packed ? sizeof(struct inflight_packed) : sizeof(struct inflight_split);
	size_t each = packed ? sizeof(struct inflight_packed_desc) : sizeof(struct inflight_split_desc);

	return (header + entries * each + INFLIGHT_ALIGN - 1) / INFLIGHT_ALIGN * INFLIGHT_ALIGN;
}

#endif
