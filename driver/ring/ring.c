/* SPDX-License-Identifier: BSD-3-Clause */

/* What both formats share: the book of buffers that are out, batches, and the public calls. */

#include "driver/ring/ring.h"
#include "base/bell.h"
#include "base/fd.h"
#include <errno.h>
#include <stdlib.h>

uint64_t driver_ring_table_bytes(uint32_t size)
{
	return (uint64_t)size * DRIVER_RING_TABLE_ENTRIES * sizeof(struct split_desc);
}

struct driver_ring_areas driver_ring_areas(bool packed, bool indirect, uint32_t size)
{
	return (struct driver_ring_areas){
		.desc_bytes = packed ? packed_desc_bytes(size) : split_desc_bytes(size),
		.driver_bytes = packed ? sizeof(struct packed_event) : split_avail_bytes(size),
		.device_bytes = packed ? sizeof(struct packed_event) : split_used_bytes(size),
		.tables_bytes = indirect ? driver_ring_table_bytes(size) : 0,
	};
}

static bool setup_valid(const struct driver_ring_setup *s)
{
	if (!s->size || s->size > RING_SIZE_MAX || (!s->packed && (s->size & (s->size - 1))))
		return false;
	return s->desc && s->driver && s->device && (!s->indirect || s->tables);
}

int driver_ring_new(const struct driver_ring_setup *setup, struct vireo_driver_ring **ret_ring)
{
	struct vireo_driver_ring *ring;

	if (!setup_valid(setup))
		return -EINVAL;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ring->buffers = calloc(setup->size, sizeof(*ring->buffers));
	ring->order = calloc(setup->size, sizeof(*ring->order));
	ring->next = calloc(setup->size, sizeof(*ring->next));
	if (!ring->buffers || !ring->order || !ring->next) {
		driver_ring_free(ring);
		return -ENOMEM;
	}
	ring->s = *setup;
	ring->free = ring->ids_free = setup->size;
	ring->free_last = (uint16_t)(setup->size - 1);
	for (uint32_t i = 0; i + 1 < setup->size; i++)
		ring->next[i] = (uint16_t)(i + 1);
	ring->avail_wrap = ring->used_wrap = true;
	ring->signals = true; /* which is what zeroed areas say */
	*ret_ring = ring;
	return 0;
}

void driver_ring_free(struct vireo_driver_ring *ring)
{
	if (!ring)
		return;
	free(ring->buffers);
	free(ring->order);
	free(ring->next);
	free(ring);
}

uint16_t driver_ring_id_take(struct vireo_driver_ring *ring)
{
	uint16_t id = ring->free_first;

	ring->free_first = ring->next[id];
	ring->ids_free--;
	return id;
}

void driver_ring_ids_put(struct vireo_driver_ring *ring, uint16_t first, uint16_t last, uint32_t count)
{
	if (ring->ids_free)
		ring->next[ring->free_last] = first;
	else
		ring->free_first = first;
	ring->free_last = last;
	ring->ids_free += count;
}

static bool pieces_valid(const struct vireo_driver_ring *ring, const struct iovec *iov, unsigned count,
			 unsigned readable, uint64_t *ret_writable_bytes)
{
	const struct driver_ring_memory *m = &ring->s.memory;
	uint64_t writable = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t offset = (uint64_t)((uintptr_t)iov[i].iov_base - (uintptr_t)m->host);

		if (!iov[i].iov_len || iov[i].iov_len > UINT32_MAX || offset >= m->bytes ||
		    iov[i].iov_len > m->bytes - offset)
			return false;
		if (i >= readable)
			writable += iov[i].iov_len;
	}
	*ret_writable_bytes = writable;
	return count && writable <= UINT32_MAX;
}

int vireo_driver_ring_add(struct vireo_driver_ring *ring, const struct iovec *iov, unsigned readable,
			  unsigned writable, bool indirect, void *cookie)
{
	unsigned count = readable + writable;
	bool table = indirect && ring->s.indirect && count <= DRIVER_RING_TABLE_ENTRIES;
	uint32_t span = table ? 1 : count;
	uint64_t writable_bytes;
	uint16_t id;

	if (ring->broken)
		return -EPROTO;
	if (span > ring->s.size || !pieces_valid(ring, iov, count, readable, &writable_bytes))
		return -EINVAL;
	if (span > ring->free)
		return -ENOSPC;
	id = ring->s.packed ? driver_packed_add(ring, iov, readable, count, table)
			    : driver_split_add(ring, iov, readable, count, table);
	ring->buffers[id].cookie = cookie;
	ring->buffers[id].writable_bytes = (uint32_t)writable_bytes;
	ring->buffers[id].span = (uint16_t)span;
	ring->buffers[id].seq = ring->added;
	if (ring->s.in_order)
		ring->order[ring->added % ring->s.size] = id;
	ring->added++;
	ring->free -= span;
	return 0;
}

static void device_kick(const struct vireo_driver_ring *ring)
{
	if (ring->s.doorbell) {
		device_write_barrier();
		*ring->s.doorbell = le16(ring->s.doorbell_value);
	} else if (ring->s.kick) {
		bell_raise(ring->s.kick);
	}
}

bool vireo_driver_ring_kick(struct vireo_driver_ring *ring)
{
	bool kick;

	if (ring->shown == ring->added || ring->broken)
		return false;
	kick = ring->s.packed ? driver_packed_kick(ring) : driver_split_kick(ring);
	ring->shown = ring->added;
	if (kick)
		device_kick(ring);
	return kick;
}

static int lie(struct vireo_driver_ring *ring)
{
	ring->broken = true;
	return -EPROTO;
}

static void signals_set(struct vireo_driver_ring *ring, bool on)
{
	if (ring->s.packed)
		driver_packed_signals(ring, on);
	else
		driver_split_signals(ring, on);
}

/* Gives a buffer back to the caller. A length beyond its writable bytes is a lie (2.7.8.2, 2.8.6). */
static int buffer_take(struct vireo_driver_ring *ring, uint16_t id, uint32_t len_bytes, void **ret_cookie,
		       uint32_t *ret_len_bytes)
{
	struct driver_ring_buffer *buffer = &ring->buffers[id];

	if (len_bytes > buffer->writable_bytes)
		return lie(ring);
	*ret_cookie = buffer->cookie;
	*ret_len_bytes = len_bytes;
	if (ring->s.packed)
		driver_packed_release(ring, id);
	else
		driver_split_release(ring, id);
	ring->free += buffer->span;
	buffer->span = 0;
	ring->taken++;
	if (ring->signals && ring->s.event_idx)
		signals_set(ring, true); /* the event is always the next entry while signals are wanted */
	return 1;
}

/* The next buffer of a batch; those before its last one count as filled completely. */
static int batch_take(struct vireo_driver_ring *ring, void **ret_cookie, uint32_t *ret_len_bytes)
{
	uint16_t id = ring->order[ring->taken % ring->s.size];
	uint32_t len_bytes = --ring->batch_left ? ring->buffers[id].writable_bytes : ring->batch_len_bytes;

	return buffer_take(ring, id, len_bytes, ret_cookie, ret_len_bytes);
}

static bool used_get(const struct vireo_driver_ring *ring, struct driver_ring_used *ret)
{
	return ring->s.packed ? driver_packed_used(ring, ret) : driver_split_used(ring, ret);
}

int vireo_driver_ring_get(struct vireo_driver_ring *ring, void **ret_cookie, uint32_t *ret_len_bytes)
{
	struct driver_ring_used used;

	if (ring->broken)
		return -EPROTO;
	if (ring->batch_left)
		return batch_take(ring, ret_cookie, ret_len_bytes);
	if (!used_get(ring, &used))
		return 0;
	if (used.visible > ring->shown - ring->taken || used.id >= ring->s.size ||
	    !ring->buffers[used.id].span || ring->buffers[used.id].seq >= ring->shown)
		return lie(ring);
	if (!ring->s.in_order)
		return buffer_take(ring, (uint16_t)used.id, used.len_bytes, ret_cookie, ret_len_bytes);
	ring->batch_left = ring->buffers[used.id].seq - ring->taken + 1;
	ring->batch_len_bytes = used.len_bytes;
	if (ring->batch_left > used.visible)
		return lie(ring);
	return batch_take(ring, ret_cookie, ret_len_bytes);
}

bool vireo_driver_ring_signal_enable(struct vireo_driver_ring *ring, bool on)
{
	if (on && ring->s.call_fd >= 0)
		fd_event_clear(ring->s.call_fd);
	ring->signals = on;
	signals_set(ring, on);
	if (!on)
		return false;
	if (ring->batch_left || ring->broken)
		return true;
	return ring->s.packed ? driver_packed_used_there(ring) : driver_split_used_there(ring);
}

unsigned vireo_driver_ring_size(const struct vireo_driver_ring *ring)
{
	return ring->s.size;
}

unsigned vireo_driver_ring_free(const struct vireo_driver_ring *ring)
{
	return ring->free;
}

int vireo_driver_ring_call_fd(const struct vireo_driver_ring *ring)
{
	return ring->s.call_fd;
}
