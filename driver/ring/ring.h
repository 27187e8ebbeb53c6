/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_RING_RING_H
#define DRIVER_RING_RING_H

/*
 * A virtqueue as the driver sees it (virtio 1.3, 2.7 split, 2.8 packed).
 *
 * A buffer that was made available is "out" until the device has used it and driver_ring_get() has
 * returned it. What the driver needs to know of a buffer that is out it keeps in private memory: the
 * shared areas are written, and of what the device writes there each field is read once and
 * checked. A device that breaks a rule breaks the ring for good.
 *
 * Buffers get a number in the order in which they were added (`seq`). That is all that IN_ORDER
 * needs: the device names the last buffer of a batch, and the batch is everything that is out
 * up to that number (2.7.9, 2.8.9).
 *
 * Nothing is seen by the device before kick(): the split ring moves its index there, and the
 * packed ring holds the flags of the first descriptor back until then.
 *
 * One thread at a time.
 */

#include "base/util.h"
#include "vireo/driver.h"
#include "wire/virtio_ring.h"
#include <stdbool.h>
#include <stdint.h>

/* Shared memory that buffers may lie in, and what the device calls it. */
struct driver_ring_memory {
	uint8_t *host;
	uint64_t gpa;
	uint64_t bytes;
};

/* Pieces in one indirect table; a longer chain goes into the ring itself. */
#define DRIVER_RING_TABLE_ENTRIES 64u

struct driver_ring_setup {
	bool packed, indirect, event_idx, in_order;
	uint32_t size; /* 1..32768, split: a power of two */
	/*
	 * Zeroed shared memory; split: descriptors, available, used; packed: descriptors, driver event,
	 * device event.
	 */
	void *desc, *driver, *device;
	/*
	 * With indirect: driver_ring_table_bytes() of shared memory, 16-aligned, and its address for the
	 * device.
	 */
	void *tables;
	uint64_t tables_gpa;
	struct driver_ring_memory memory;
	const struct bell *kick; /* borrowed; NULL: none */
	int call_fd; /* borrowed; -1: none */
	/* A register that kicks the device, and what is written to it (4.1.5.2); instead of kick. */
	volatile uint16_t *doorbell;
	uint16_t doorbell_value;
};

/* Bytes of the parts of a ring, in the order in which the setup names them. */
struct driver_ring_areas {
	uint64_t desc_bytes, driver_bytes, device_bytes, tables_bytes;
};

/* A buffer, by the id that the device knows it by. */
struct driver_ring_buffer {
	void *cookie;
	uint64_t seq;
	uint32_t writable_bytes;
	uint16_t span; /* ring entries that it takes; 0: not out */
	uint16_t tail; /* split: its last descriptor */
};

/* What the device says it has used. */
struct driver_ring_used {
	uint32_t id;
	uint32_t len_bytes;
	uint64_t visible; /* buffers that it may cover */
};

struct vireo_driver_ring {
	struct driver_ring_setup s;
	bool broken;
	bool signals; /* the device is asked to signal */
	uint32_t free; /* ring entries */
	uint64_t added; /* buffers; `seq` of the next one */
	uint64_t shown; /* of them before the last kick */
	uint64_t taken; /* got back */
	struct driver_ring_buffer *buffers; /* by id */

	/* IN_ORDER: ids by seq % size, and what is left of the batch that the device named last. */
	uint16_t *order;
	uint64_t batch_left;
	uint32_t batch_len_bytes; /* of its last buffer */

	/*
	 * Split: free descriptors are a list, first freed first taken. With a device that uses buffers in
	 * order this makes descriptors follow each other as IN_ORDER demands (2.7.5.1). Packed: the same list
	 * holds free ids.
	 */
	uint16_t *next;
	uint16_t free_first, free_last;
	uint32_t ids_free;

	uint16_t avail_index; /* split: free-running; packed: next entry */
	uint16_t used_index;
	bool avail_wrap, used_wrap; /* packed */

	/* Packed: first descriptor since the last kick, whose flags are not written yet. */
	bool held;
	uint16_t held_index, held_flags;
	uint32_t held_span; /* entries added since the last kick */
};

static inline uint64_t driver_ring_gpa(const struct vireo_driver_ring *ring, const void *host)
{
	return ring->s.memory.gpa + (uint64_t)((const uint8_t *)host - ring->s.memory.host);
}

/* ring.c */
uint64_t driver_ring_table_bytes(uint32_t size);
struct driver_ring_areas driver_ring_areas(bool packed, bool indirect, uint32_t size);
/* -EINVAL, -ENOMEM. The setup is copied. */
int driver_ring_new(const struct driver_ring_setup *setup, struct vireo_driver_ring **ret_ring);
void driver_ring_free(struct vireo_driver_ring *ring); /* takes NULL */
/*
 * Takes an id (a descriptor) from the free list, which is not empty; puts `count` there that are linked
 * already.
 */
uint16_t driver_ring_id_take(struct vireo_driver_ring *ring);
void driver_ring_ids_put(struct vireo_driver_ring *ring, uint16_t first, uint16_t last, uint32_t count);

/* split.c and packed.c: each returns what its name says; room and addresses have been checked. */
uint16_t driver_split_add(struct vireo_driver_ring *ring, const struct iovec *iov, unsigned readable,
			  unsigned count, bool table);
bool driver_split_kick(struct vireo_driver_ring *ring);
bool driver_split_used_there(const struct vireo_driver_ring *ring);
bool driver_split_used(const struct vireo_driver_ring *ring, struct driver_ring_used *ret);
void driver_split_release(struct vireo_driver_ring *ring, uint16_t id);
void driver_split_signals(struct vireo_driver_ring *ring, bool on);

uint16_t driver_packed_add(struct vireo_driver_ring *ring, const struct iovec *iov, unsigned readable,
			   unsigned count, bool table);
bool driver_packed_kick(struct vireo_driver_ring *ring);
bool driver_packed_used_there(const struct vireo_driver_ring *ring);
bool driver_packed_used(const struct vireo_driver_ring *ring, struct driver_ring_used *ret);
void driver_packed_release(struct vireo_driver_ring *ring, uint16_t id);
void driver_packed_signals(struct vireo_driver_ring *ring, bool on);

#endif
