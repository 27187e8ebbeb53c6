/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A ring of bytes. Records begin at multiples of 8; what would not fit before the end of the bytes begins at their start, and a record that
 * says so fills the gap.
 */

#include "switch/mirror_ring.h"
#include "base/util.h"
#include "switch/frame_first.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define GAP UINT32_MAX /* in `bytes` */

#define ALIGN 8u /* of records: the smallest gap */

static_assert(offsetof(struct mirror_record, bytes) + sizeof(uint32_t) <= ALIGN, "a gap says that it is one in the bytes that it has");
static_assert(MIRROR_RING_BYTES % ALIGN == 0, "no gap is smaller");

int mirror_ring_init(struct mirror_ring *ring)
{
	void *bytes = mmap(NULL, MIRROR_RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (bytes == MAP_FAILED)
		return -ENOMEM;
	memset(ring, 0, sizeof(*ring));
	ring->bytes = bytes;
	return 0;
}

void mirror_ring_fini(struct mirror_ring *ring)
{
	if (ring->bytes)
		munmap(ring->bytes, MIRROR_RING_BYTES);
	ring->bytes = NULL;
}

static uint32_t whole_bytes(uint32_t bytes, uint32_t at_bytes)
{
	return ((uint32_t)sizeof(struct mirror_record) + bytes + at_bytes + ALIGN - 1) & ~(ALIGN - 1);
}

static struct mirror_record *record_at(const struct mirror_ring *ring, uint32_t position)
{
	return (struct mirror_record *)(void *)(ring->bytes + position % MIRROR_RING_BYTES);
}

bool mirror_ring_put(struct mirror_ring *ring, const struct mirror_record *record, const struct vireo_frame *frame, const char *at)
{
	uint32_t at_bytes = at ? (uint32_t)strnlen(at, MIRROR_NAME_BYTES) : 0, bytes = whole_bytes(record->bytes, at_bytes);
	uint32_t to_end = MIRROR_RING_BYTES - ring->put % MIRROR_RING_BYTES, gap = bytes > to_end ? to_end : 0;
	/* Pairs with the release in mirror_ring_drop(): what is written over is not looked at any more. */
	uint32_t used = ring->put - __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE);
	struct mirror_record *to;
	uint8_t *data;

	if (bytes > MIRROR_RING_BYTES / 2 || bytes + gap > MIRROR_RING_BYTES - used)
		return false;
	if (gap)
		record_at(ring, ring->put)->bytes = GAP;
	to = record_at(ring, ring->put + gap);
	*to = *record;
	to->at_bytes = (uint8_t)at_bytes;
	data = (uint8_t *)(to + 1);
	frame_copy_shown(frame, data, record->bytes);
	if (at_bytes)
		memcpy(data + record->bytes, at, at_bytes);
	ring->put += gap + bytes;
	return true;
}

void mirror_ring_show(struct mirror_ring *ring)
{
	__atomic_store_n(&ring->shown, ring->put, __ATOMIC_RELEASE);
}

const struct mirror_record *mirror_ring_first(struct mirror_ring *ring, const uint8_t **ret_bytes)
{
	uint32_t shown = __atomic_load_n(&ring->shown, __ATOMIC_ACQUIRE), at = ring->taken;
	const struct mirror_record *record;

	if (at == shown)
		return NULL;
	record = record_at(ring, at);
	if (record->bytes == GAP) { /* it is never the last */
		at += MIRROR_RING_BYTES - at % MIRROR_RING_BYTES;
		__atomic_store_n(&ring->taken, at, __ATOMIC_RELEASE);
		record = record_at(ring, at);
	}
	*ret_bytes = (const uint8_t *)(record + 1);
	return record;
}

void mirror_ring_drop(struct mirror_ring *ring)
{
	const struct mirror_record *record = record_at(ring, ring->taken);

	__atomic_store_n(&ring->taken, ring->taken + whole_bytes(record->bytes, record->at_bytes), __ATOMIC_RELEASE);
}
