/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/shelf.h"
#include "device/device.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Made when the queue starts, so that nothing is allocated while it runs. There is a slot for
 * each chain that the ring can hold. A request of up to four data descriptors has its pieces in the slot; a longer one takes
 * a list: of one length for chains as the driver is told to make them, of another for the longest that there can be. There are lists
 * for a mebibyte at most, for a guest decides how many of them are filled; when none is left, chains stay in the ring until some
 * are completed. What has not been used is not in memory: free ones are taken from the end where they were put last.
 */

#define LISTS_BYTES_MAX (1u << 20)
#define LISTS_LEAST 4u
#define LISTS_LONGEST 2u
#define MEMORY_MEETS 8u /* places where memory regions may meet in a request: each makes one piece more */

static uint32_t list_stride(const struct shelf_setup *setup, uint32_t pieces)
{
	return setup->views ? 2 * pieces + SHELF_VIEWS_MORE : pieces;
}

static int lists_new(struct shelf_lists *lists, const struct shelf_setup *setup, uint32_t pieces, uint32_t count)
{
	uint32_t stride = list_stride(setup, pieces);

	lists->pieces = pieces;
	lists->iov = malloc((size_t)count * stride * sizeof(*lists->iov));
	lists->free = calloc(count, sizeof(*lists->free));
	if (!lists->iov || !lists->free)
		return -ENOMEM;
	while (lists->free_count < count) {
		lists->free[lists->free_count] = lists->iov + (size_t)(count - 1 - lists->free_count) * stride;
		lists->free_count++;
	}
	return 0;
}

void *shelf_slot_nth(const struct shelf *shelf, uint32_t number)
{
	return (char *)shelf->slots + (size_t)number * shelf->slot_stride;
}

static struct shelf_slot *slot_nth(const struct shelf *shelf, uint32_t number)
{
	return (void *)((char *)shelf_slot_nth(shelf, number) + shelf->slot_at);
}

static int slots_new(struct shelf *shelf)
{
	size_t bytes = (size_t)shelf->size * shelf->slot_stride;

	shelf->slots = aligned_alloc(CACHE_LINE_BYTES, bytes);
	shelf->free = calloc(shelf->size, sizeof(struct shelf_slot *));
	if (!shelf->slots || !shelf->free)
		return -ENOMEM;
	memset(shelf->slots, 0, bytes);
	while (shelf->free_count < shelf->size) {
		struct shelf_slot *slot = slot_nth(shelf, shelf->size - 1 - shelf->free_count);

		slot->shelf = shelf;
		shelf->free[shelf->free_count++] = slot;
	}
	return 0;
}

int shelf_new(struct shelf *shelf, const struct shelf_setup *setup)
{
	uint32_t told = setup->pieces + MEMORY_MEETS;
	uint32_t count = min_u32(setup->size, LISTS_BYTES_MAX / (list_stride(setup, told) * (uint32_t)sizeof(struct iovec)));
	int r;

	*shelf = (struct shelf){
		.size = setup->size,
		.slot_stride = (uint32_t)align_up(setup->slot_bytes, CACHE_LINE_BYTES),
		.slot_at = setup->slot_at,
		.scratch_max = VIREO_CHAIN_PIECES_MAX(setup->size),
	};
	shelf->scratch = malloc(shelf->scratch_max * sizeof(*shelf->scratch));
	r = shelf->scratch ? slots_new(shelf) : -ENOMEM;
	if (!r)
		r = lists_new(&shelf->lists[0], setup, told, count > LISTS_LEAST ? count : LISTS_LEAST);
	if (!r)
		r = lists_new(&shelf->lists[1], setup, shelf->scratch_max, LISTS_LONGEST);
	if (r)
		shelf_free(shelf);
	return r;
}

void shelf_free(struct shelf *shelf)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shelf->lists); i++) {
		free(shelf->lists[i].iov);
		free(shelf->lists[i].free);
	}
	memset(shelf->lists, 0, sizeof(shelf->lists));
	free(shelf->scratch);
	free(shelf->free);
	free(shelf->slots);
	shelf->scratch = NULL;
	shelf->free = NULL;
	shelf->slots = NULL;
}

__cold struct shelf_slot *shelf_slot_new_long(struct shelf *shelf, const struct vireo_chain *chain)
{
	uint32_t pieces = chain->readable_count + chain->writable_count;
	struct shelf_lists *lists = &shelf->lists[0];
	struct shelf_slot *slot;

	if (pieces > lists->pieces || !lists->free_count)
		lists = &shelf->lists[1];
	if (!lists->free_count)
		return NULL;
	slot = shelf->free[--shelf->free_count];
	slot->chain = *chain;
	slot->lists = lists;
	slot->chain.iov = lists->free[--lists->free_count];
	memcpy(slot->chain.iov, chain->iov, pieces * sizeof(*chain->iov));
	return slot;
}

__cold void shelf_slot_list_free(struct shelf_slot *slot)
{
	slot->lists->free[slot->lists->free_count++] = slot->chain.iov;
	slot->lists = NULL;
}

/* ---- the memory of what the application has ---- */

bool shelf_piece_kept(const struct vireo_device *device, const struct iovec *piece, size_t more_bytes)
{
	uint64_t bytes = piece->iov_len + more_bytes;

	return !bytes || device_memory_has(device, piece->iov_base, bytes);
}

static bool slot_is_free(const struct shelf *shelf, const struct shelf_slot *slot)
{
	for (uint32_t i = 0; i < shelf->free_count; i++)
		if (shelf->free[i] == slot)
			return true;
	return false;
}

__cold bool shelf_kept(const struct shelf *shelf, bool (*kept)(struct shelf_slot *slot))
{
	uint32_t left = shelf->size - shelf->free_count;

	for (uint32_t i = 0; i < shelf->size && left; i++) {
		struct shelf_slot *slot = slot_nth(shelf, i);

		if (slot_is_free(shelf, slot))
			continue;
		if (!kept(slot))
			return false;
		left--;
	}
	return true;
}
