/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The packed virtqueue from the driver's side (virtio 1.3, 2.8).
 *
 * A descriptor at index i is available in the lap with wrap counter w if its AVAIL bit is w and its USED bit
 * is not; it is used if both are w. Entries that the device skips (the rest of a chain, the rest of an
 * IN_ORDER batch) keep the bits of an available descriptor of their lap, which say "not available" in the
 * next one.
 */

#include "driver/ring/ring.h"
#include <string.h>

static uint16_t lap_flags(const struct vireo_driver_ring *ring)
{
	return ring->avail_wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;
}

static struct packed_desc *next_desc(struct vireo_driver_ring *ring)
{
	struct packed_desc *desc = (struct packed_desc *)ring->s.desc + ring->avail_index;

	if (++ring->avail_index == ring->s.size) {
		ring->avail_index = 0;
		ring->avail_wrap = !ring->avail_wrap;
	}
	return desc;
}

static void desc_fill(struct packed_desc *desc, uint64_t gpa, uint32_t len_bytes, uint16_t id)
{
	desc->addr = le64(gpa);
	desc->len = le32(len_bytes);
	desc->id = le16(id);
}

static void packed_table_fill(struct vireo_driver_ring *ring, uint16_t id, const struct iovec *iov,
		       unsigned readable, unsigned count)
{
	struct packed_desc *table =
		(struct packed_desc *)ring->s.tables + (size_t)id * DRIVER_RING_TABLE_ENTRIES;

	for (unsigned i = 0; i < count; i++) {
		desc_fill(&table[i], driver_ring_gpa(ring, iov[i].iov_base), (uint32_t)iov[i].iov_len, 0);
		table[i].flags = le16(i >= readable ? DESC_F_WRITE : 0);
	}
}

/*
 * Shows the first descriptor of a buffer, the last thing written of it (2.8.6); or holds it back if it is the
 * first one since the last kick: the device looks at buffers in order, so it hides all that follow.
 */
static void head_show(struct vireo_driver_ring *ring, uint16_t index, uint16_t flags)
{
	struct packed_desc *desc = (struct packed_desc *)ring->s.desc + index;

	if (!ring->held) {
		ring->held = true;
		ring->held_index = index;
		ring->held_flags = flags;
	} else {
		__atomic_store_n(&desc->flags, le16(flags), __ATOMIC_RELEASE);
	}
}

uint16_t driver_packed_add(struct vireo_driver_ring *ring, const struct iovec *iov, unsigned readable,
			   unsigned count, bool table)
{
	uint16_t id = driver_ring_id_take(ring), index = ring->avail_index, head_flags = 0;

	if (table) {
		packed_table_fill(ring, id, iov, readable, count);
		head_flags = DESC_F_INDIRECT | lap_flags(ring);
		desc_fill(next_desc(ring),
			  ring->s.tables_gpa +
				  (uint64_t)id * DRIVER_RING_TABLE_ENTRIES * sizeof(struct packed_desc),
			  count * (uint32_t)sizeof(struct packed_desc), id);
	}
	for (unsigned i = 0; !table && i < count; i++) {
		uint16_t flags = lap_flags(ring) | (i >= readable ? DESC_F_WRITE : 0) |
				 (i + 1 < count ? DESC_F_NEXT : 0);
		struct packed_desc *desc = next_desc(ring);

		desc_fill(desc, driver_ring_gpa(ring, iov[i].iov_base), (uint32_t)iov[i].iov_len, id);
		if (i)
			desc->flags = le16(flags);
		else
			head_flags = flags;
	}
	head_show(ring, index, head_flags);
	ring->held_span += table ? 1 : count;
	return id;
}

/* Both fields in one access: the device may write them at any moment. */
static struct packed_event event_read(const void *event)
{
	uint32_t raw = __atomic_load_n((const uint32_t *)event, __ATOMIC_RELAXED);
	struct packed_event ret;

	memcpy(&ret, &raw, sizeof(ret));
	return ret;
}

bool driver_packed_kick(struct vireo_driver_ring *ring)
{
	struct packed_desc *desc = (struct packed_desc *)ring->s.desc + ring->held_index;
	uint16_t now = ring->avail_index, was = (uint16_t)(now - ring->held_span), event_index;
	struct packed_event event;

	/*
	 * Release: pairs with the device's acquire load of these flags; everything added since comes first.
	 */
	__atomic_store_n(&desc->flags, le16(ring->held_flags), __ATOMIC_RELEASE);
	ring->held = false;
	ring->held_span = 0;
	/* Barrier KICK, as in split.c: descriptors first, then the device's event structure. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = event_read(ring->s.device);
	switch (le16(event.flags) & PACKED_EVENT_FLAGS_MASK) {
	case PACKED_EVENT_DISABLE:
		return false;
	case PACKED_EVENT_DESC:
		if (!ring->s.event_idx)
			return true;
		break;
	default:
		return true;
	}
	/* An offset with the other wrap counter lies one lap back. */
	event_index = le16(event.off_wrap) & PACKED_EVENT_OFFSET_MASK;
	if ((le16(event.off_wrap) >> PACKED_EVENT_WRAP_BIT) != ring->avail_wrap)
		event_index = (uint16_t)(event_index - ring->s.size);
	return split_event_passed(event_index, now, was);
}

/* Is the one entry that the device writes next used? If so, *ret_flags. */
static bool entry_used(const struct vireo_driver_ring *ring, const struct packed_desc *desc,
		       uint16_t *ret_flags)
{
	/* Acquire: pairs with the device's release store of flags; id, len and the buffer come first. */
	uint16_t flags = le16(__atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE));
	bool avail = flags & PACKED_DESC_AVAIL_MASK, used = flags & PACKED_DESC_USED_MASK;

	if (avail != used || used != ring->used_wrap)
		return false;
	*ret_flags = flags;
	return true;
}

bool driver_packed_used_there(const struct vireo_driver_ring *ring)
{
	uint16_t flags;

	return entry_used(ring, (const struct packed_desc *)ring->s.desc + ring->used_index, &flags);
}

/*
 * The length is reserved where nothing was written (2.8.4), which the flag tells. QEMU's devices never set
 * it, so what can be a length is believed without it, too, as other drivers do.
 */
static uint32_t length_told(const struct vireo_driver_ring *ring, uint32_t id, uint32_t len_bytes,
			    uint16_t flags)
{
	if (flags & DESC_F_WRITE)
		return len_bytes;
	return id < ring->s.size && len_bytes <= ring->buffers[id].writable_bytes ? len_bytes : 0;
}

bool driver_packed_used(const struct vireo_driver_ring *ring, struct driver_ring_used *ret)
{
	const struct packed_desc *desc = (const struct packed_desc *)ring->s.desc + ring->used_index;
	uint16_t flags;

	if (!entry_used(ring, desc, &flags))
		return false;
	ret->id = le16(__atomic_load_n(&desc->id, __ATOMIC_RELAXED));
	ret->len_bytes =
		length_told(ring, ret->id, le32(__atomic_load_n(&desc->len, __ATOMIC_RELAXED)), flags);
	ret->visible = ring->shown - ring->taken;
	return true;
}

void driver_packed_release(struct vireo_driver_ring *ring, uint16_t id)
{
	driver_ring_ids_put(ring, id, id, 1);
	ring->used_index = (uint16_t)(ring->used_index + ring->buffers[id].span);
	if (ring->used_index >= ring->s.size) {
		ring->used_index = (uint16_t)(ring->used_index - ring->s.size);
		ring->used_wrap = !ring->used_wrap;
	}
}

void driver_packed_signals(struct vireo_driver_ring *ring, bool on)
{
	struct packed_event event = { .flags = le16(on ? PACKED_EVENT_ENABLE : PACKED_EVENT_DISABLE) };
	uint32_t raw;

	if (on && ring->s.event_idx) {
		event.flags = le16(PACKED_EVENT_DESC);
		event.off_wrap =
			le16((uint16_t)(ring->used_index | (ring->used_wrap << PACKED_EVENT_WRAP_BIT)));
	}
	memcpy(&raw, &event, sizeof(raw));
	__atomic_store_n((uint32_t *)ring->s.driver, raw, __ATOMIC_RELAXED);
	/* Barrier SIGNAL, as in split.c: the wish first, then the last look at the ring. */
	if (on)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
