/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A chain's pieces, away from the usual way (lay.h): descriptors that are empty or lie in several regions, tables that do, and
 * what is not in the map.
 *
 * An address that is not in it may have come after the map was looked for, at the beginning of the burst: the driver learns of new
 * memory by way of others, and is as quick as we are. So a newer map is looked for where one fails. That look comes after the driver has
 * been seen to name the address (pair AVAIL), and so it finds what was offered before the driver heard of it.
 *
 * What is proved of one descriptor is in tests/prove/lay.c, and of the walks upon that in split.c and packed.c there.
 */

#include "ring/lay.h"
#include "vireo/device.h"
#include <string.h>

#define EMPTY_DESCS_MAX 256u /* in one chain */

/* -EPROTO, or -EFAULT. */
static int ring_outside(struct ring *ring, uint64_t gpa, bool write, const char *why)
{
	if (!ring->lazy)
		return ring_break(ring, why);
	ring->miss_gpa = gpa;
	ring->miss_write = write;
	ring->misses = true;
	return -EFAULT;
}

/* Part of the range is not in the map, or not for this: where that begins. */
static uint64_t ring_hole(struct ring *ring, uint64_t gpa, bool write)
{
	uint64_t usable;

	while (map_at(ring->map, &ring->buffers, gpa, write, &usable))
		gpa += usable;
	return gpa;
}

/* A chain that does not even fit an array of the promised size is cut up beyond reason. */
__cold int ring_no_room(struct ring *ring, const struct ring_pieces *p)
{
	if (p->room_start >= VIREO_CHAIN_PIECES_MAX(ring->size))
		return ring_break(ring, "chain lies in too many pieces of memory");
	return -ENOBUFS;
}

/*
 * Zero length is allowed (nothing forbids it): no piece, and its address means nothing. But it is work that no
 * room for pieces bounds: a ring of 32768 such chains of 32768 would take seconds to walk.
 */
__cold int ring_lay_slowly(struct ring *ring, struct ring_pieces *p, uint64_t addr, uint32_t len,
			   bool writable)
{
	int pieces;

	if (!len)
		return ++p->empty_count > EMPTY_DESCS_MAX ?
			       ring_break(ring, "chain with hundreds of empty descriptors") :
			       0;
	if (addr + (len - 1) < addr)
		return ring_break(ring, "descriptor wraps around the address space");
	if (ring->look)
		return ring_look_note(ring, addr, len, writable);
	do
		pieces = map_pieces(ring->map, &ring->buffers, addr, len, writable, p->iov, p->room);
	while (pieces == -EFAULT && ring_map_take(ring));
	if (pieces == -ENOBUFS)
		return ring_no_room(ring, p);
	if (pieces < 0)
		return ring_outside(ring, ring_hole(ring, addr, writable), writable,
				    "descriptor outside guest memory" RING_SHARE_HINT);
	p->iov += pieces;
	p->room -= (unsigned)pieces;
	if (writable) {
		p->writable_count += (unsigned)pieces;
		p->writable_bytes += len;
	} else {
		p->readable_count += (unsigned)pieces;
		p->readable_bytes += len;
	}
	return 0;
}

/* Zero-length checked apart from the rest: % 16 would let it pass. */
int ring_table_check(struct ring *ring, uint32_t len_bytes, uint32_t *ret_count)
{
	uint32_t count = len_bytes / sizeof(struct split_desc);

	if (unlikely(!ring->indirect))
		return ring_break(ring, "indirect descriptor without VIRTIO_F_INDIRECT_DESC");
	if (unlikely(!len_bytes))
		return ring_break(ring, "indirect table of zero length");
	if (unlikely(len_bytes % sizeof(struct split_desc)))
		return ring_break(ring, "indirect table's length is no multiple of 16");
	if (unlikely(count > ring->size))
		return ring_break(ring, "indirect table longer than the queue");
	*ret_count = count;
	return 0;
}

/* Byte ranges that lie in one region each are copied one after the other. */
__cold int ring_table_read(struct ring *ring, uint64_t table, uint32_t index, struct ring_desc *ret)
{
	uint64_t gpa = table + (uint64_t)index * sizeof(struct split_desc);
	uint8_t bytes[sizeof(struct split_desc)];
	uint32_t have = 0;

	if (gpa < table || gpa + sizeof(bytes) - 1 < gpa)
		return ring_break(ring, "indirect table wraps around the address space");
	while (have < sizeof(bytes)) {
		uint64_t usable;
		const void *host;
		uint32_t now;

		do
			host = map_at(ring->map, &ring->tables, gpa + have, false, &usable);
		while (!host && ring_map_take(ring));
		if (!host)
			return ring_outside(ring, gpa + have, false, "indirect table outside guest memory" RING_SHARE_HINT);
		now = (uint32_t)min_u64(usable, sizeof(bytes) - have);
		memcpy(bytes + have, host, now);
		have += now;
	}
	*ret = ring_desc_read(bytes);
	return 0;
}
