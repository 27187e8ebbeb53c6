/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"
#include "model/blk/blk_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Where a queue keeps what the application has: made when the queue starts, so that nothing is allocated while it runs. There is a slot for
 * each chain that the ring can hold. A request of up to four data descriptors has its pieces in the slot; a longer one takes
 * a list: of one length for chains as the driver is told to make them, of another for the longest that there can be. There are lists
 * for a mebibyte at most, for a guest decides how many of them are filled; when none is left, chains stay in the ring until some
 * are completed. What has not been used is not in memory: free ones are taken from the end where they were put last.
 */

#define LISTS_BYTES_MAX (1u << 20)
#define LISTS_LEAST 4u
#define LISTS_LONGEST 2u
#define MEMORY_MEETS 8u /* places where memory regions may meet in a request: each makes one piece more */

static int lists_new(struct blk_lists *lists, uint32_t pieces, uint32_t count)
{
	lists->pieces = pieces;
	lists->iov = malloc((size_t)count * pieces * sizeof(*lists->iov));
	lists->free = calloc(count, sizeof(*lists->free));
	if (!lists->iov || !lists->free)
		return -ENOMEM;
	while (lists->free_count < count) {
		lists->free[lists->free_count] = lists->iov + (size_t)(count - 1 - lists->free_count) * pieces;
		lists->free_count++;
	}
	return 0;
}

static size_t slot_stride(const struct blk_queue *q)
{
	return align_up(align_up(sizeof(struct blk_slot), 16) + q->blk->room_bytes, CACHE_LINE_BYTES);
}

static int slots_new(struct blk_queue *q)
{
	size_t stride = slot_stride(q);

	q->slots = aligned_alloc(CACHE_LINE_BYTES, q->size * stride);
	q->free = calloc(q->size, sizeof(struct blk_slot *));
	if (!q->slots || !q->free)
		return -ENOMEM;
	memset(q->slots, 0, q->size * stride);
	while (q->free_count < q->size) {
		struct blk_slot *slot = (void *)((char *)q->slots + (q->size - 1 - q->free_count) * stride);

		slot->q = q;
		slot->request.queue = q->index;
		slot->request.room = (char *)slot + align_up(sizeof(*slot), 16);
		q->free[q->free_count++] = slot;
	}
	return 0;
}

int blk_arena_new(struct blk_queue *q, uint32_t size)
{
	uint32_t told = q->blk->segments_max + 2 + MEMORY_MEETS;
	uint32_t count = min_u32(size, LISTS_BYTES_MAX / (told * (uint32_t)sizeof(struct iovec)));
	int r;

	q->size = size;
	q->free_count = q->done_count = q->in_flight = 0;
	q->again = NULL;
	q->again_end = &q->again;
	q->unshown = q->starved = false;
	q->scratch_max = VIREO_CHAIN_PIECES_MAX(size);
	q->scratch = malloc(q->scratch_max * sizeof(*q->scratch));
	r = q->scratch ? slots_new(q) : -ENOMEM;
	if (!r)
		r = lists_new(&q->lists[0], told, count > LISTS_LEAST ? count : LISTS_LEAST);
	if (!r)
		r = lists_new(&q->lists[1], q->scratch_max, LISTS_LONGEST);
	if (r)
		blk_arena_free(q);
	return r;
}

void blk_arena_free(struct blk_queue *q)
{
	for (unsigned i = 0; i < ARRAY_SIZE(q->lists); i++) {
		free(q->lists[i].iov);
		free(q->lists[i].free);
	}
	memset(q->lists, 0, sizeof(q->lists));
	free(q->scratch);
	free(q->free);
	free(q->slots);
	q->scratch = NULL;
	q->free = NULL;
	q->slots = NULL;
}

__cold struct blk_slot *blk_slot_new_long(struct blk_queue *q, const struct vireo_chain *chain)
{
	uint32_t pieces = chain->readable_count + chain->writable_count;
	struct blk_lists *lists = &q->lists[0];
	struct blk_slot *slot;

	if (pieces > lists->pieces || !lists->free_count)
		lists = &q->lists[1];
	if (!lists->free_count)
		return NULL;
	slot = q->free[--q->free_count];
	slot->chain = *chain;
	slot->lists = lists;
	slot->chain.iov = lists->free[--lists->free_count];
	memcpy(slot->chain.iov, chain->iov, pieces * sizeof(*chain->iov));
	return slot;
}

__cold void blk_slot_list_free(struct blk_slot *slot)
{
	slot->lists->free[slot->lists->free_count++] = slot->chain.iov;
	slot->lists = NULL;
}

/* ---- the memory of what the application has ---- */

static bool piece_kept(const struct blk_queue *q, const struct iovec *piece, size_t more_bytes)
{
	uint64_t bytes = piece->iov_len + more_bytes;

	return !bytes || device_memory_has(q->blk->device, piece->iov_base, bytes);
}

/* The status has been cut off the last piece that has bytes. */
static bool slot_kept(const struct blk_slot *slot)
{
	uint32_t count = slot->chain.readable_count + slot->chain.writable_count;

	for (uint32_t i = 0; i < count; i++)
		if (!piece_kept(slot->q, &slot->chain.iov[i], &slot->chain.iov[i] == slot->status_piece))
			return false;
	return true;
}

static bool slot_is_free(const struct blk_queue *q, const struct blk_slot *slot)
{
	for (uint32_t i = 0; i < q->free_count; i++)
		if (q->free[i] == slot)
			return true;
	return false;
}

__cold bool blk_arena_kept(const struct blk_queue *q)
{
	uint32_t left = q->size - q->free_count;

	for (uint32_t i = 0; i < q->size && left; i++) {
		const struct blk_slot *slot = (const void *)((const char *)q->slots + i * slot_stride(q));

		if (slot_is_free(q, slot))
			continue;
		if (!slot_kept(slot))
			return false;
		left--;
	}
	return true;
}
