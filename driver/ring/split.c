/* SPDX-License-Identifier: BSD-3-Clause */

/* The split virtqueue from the driver's side (virtio 1.3, 2.7). */

#include "driver/ring/ring.h"

static struct split_desc piece_desc(const struct vireo_driver_ring *ring, const struct iovec *piece,
				    bool writable, bool last, uint16_t next)
{
	uint16_t flags = (writable ? DESC_F_WRITE : 0) | (last ? 0 : DESC_F_NEXT);

	return (struct split_desc){
		.addr = le64(driver_ring_gpa(ring, piece->iov_base)),
		.len = le32((uint32_t)piece->iov_len),
		.flags = le16(flags),
		.next = le16(last ? 0 : next),
	};
}

static void split_table_fill(struct vireo_driver_ring *ring, uint16_t id, const struct iovec *iov,
		       unsigned readable, unsigned count)
{
	struct split_desc *table =
		(struct split_desc *)ring->s.tables + (size_t)id * DRIVER_RING_TABLE_ENTRIES;
	struct split_desc *desc = ring->s.desc;

	for (unsigned i = 0; i < count; i++)
		table[i] = piece_desc(ring, &iov[i], i >= readable, i + 1 == count, (uint16_t)(i + 1));
	desc[id] = (struct split_desc){
		.addr = le64(ring->s.tables_gpa + (uint64_t)id * DRIVER_RING_TABLE_ENTRIES * sizeof(*table)),
		.len = le32(count * (uint32_t)sizeof(*table)),
		.flags = le16(DESC_F_INDIRECT),
	};
}

uint16_t driver_split_add(struct vireo_driver_ring *ring, const struct iovec *iov, unsigned readable,
			  unsigned count, bool table)
{
	struct split_avail *avail = ring->s.driver;
	struct split_desc *desc = ring->s.desc;
	uint16_t head = driver_ring_id_take(ring), tail = head;

	if (table) {
		split_table_fill(ring, head, iov, readable, count);
	} else {
		for (unsigned i = 0; i + 1 < count; i++) {
			uint16_t next = driver_ring_id_take(ring);

			desc[tail] = piece_desc(ring, &iov[i], i >= readable, false, next);
			tail = next;
		}
		desc[tail] = piece_desc(ring, &iov[count - 1], count - 1 >= readable, true, 0);
	}
	ring->buffers[head].tail = tail;
	avail->ring[ring->avail_index & (ring->s.size - 1)] = le16(head);
	ring->avail_index++;
	return head;
}

bool driver_split_kick(struct vireo_driver_ring *ring)
{
	struct split_avail *avail = ring->s.driver;
	struct split_used *used = ring->s.device;
	uint16_t was = (uint16_t)(ring->avail_index - (uint16_t)(ring->added - ring->shown));

	/* Release: pairs with the device's acquire load of idx; descriptors and ring entries come first. */
	__atomic_store_n(&avail->idx, le16(ring->avail_index), __ATOMIC_RELEASE);
	/*
	 * Barrier KICK: idx is written before flags or avail_event are read. Pairs with the device's barrier
	 * between asking for kicks and its last look at idx: one of the two sees the other's write
	 * (2.7.13.4.1).
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->s.event_idx) {
		uint16_t event = __atomic_load_n(split_avail_event(used, ring->s.size), __ATOMIC_RELAXED);

		return split_event_passed(le16(event), ring->avail_index, was);
	}
	return !(le16(__atomic_load_n(&used->flags, __ATOMIC_RELAXED)) & SPLIT_USED_F_NO_NOTIFY);
}

static uint16_t entries_used(const struct vireo_driver_ring *ring)
{
	const struct split_used *used = ring->s.device;

	/* Acquire: pairs with the device's release store of idx; used entries and buffers come first. */
	return (uint16_t)(le16(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE)) - ring->used_index);
}

bool driver_split_used_there(const struct vireo_driver_ring *ring)
{
	return entries_used(ring) != 0;
}

bool driver_split_used(const struct vireo_driver_ring *ring, struct driver_ring_used *ret)
{
	const struct split_used *used = ring->s.device;
	const struct split_used_elem *elem = &used->ring[ring->used_index & (ring->s.size - 1)];
	uint16_t visible = entries_used(ring);

	if (!visible)
		return false;
	ret->id = le32(__atomic_load_n(&elem->id, __ATOMIC_RELAXED));
	ret->len_bytes = le32(__atomic_load_n(&elem->len, __ATOMIC_RELAXED));
	ret->visible = visible;
	return true;
}

void driver_split_release(struct vireo_driver_ring *ring, uint16_t id)
{
	const struct driver_ring_buffer *buffer = &ring->buffers[id];

	driver_ring_ids_put(ring, id, buffer->tail, buffer->span);
	ring->used_index++;
}

void driver_split_signals(struct vireo_driver_ring *ring, bool on)
{
	struct split_avail *avail = ring->s.driver;

	if (ring->s.event_idx) /* off: as far away as can be; flags stay 0 (2.7.7.1) */
		__atomic_store_n(split_used_event(avail, ring->s.size),
				 le16((uint16_t)(ring->used_index - !on)), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&avail->flags, le16(on ? 0 : SPLIT_AVAIL_F_NO_INTERRUPT), __ATOMIC_RELAXED);
	/*
	 * Barrier SIGNAL: the wish is written before used idx is read again. Pairs with the device's barrier
	 * between its store of used idx and its look at flags or used_event (2.7.7).
	 */
	if (on)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
