/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

/*
 * A queue in its worker's hands. Chains are popped by the batch, become requests, and are submitted together. What is completed, at once
 * or later, is gathered, pushed by the batch, and shown with the next flush.
 *
 * A request whose next range is to be submitted waits in a list until the worker comes by (a poll, a flush), so that an application that
 * completes inside submit is not called deeper and deeper. Each time one batch of them goes on, by one range: what completes inside submit
 * would hold up the worker's other queues for as long as a request has ranges.
 */

int blk_slots_new(struct blk_queue *q, uint32_t size)
{
	const size_t room_at = align_up(sizeof(struct blk_slot), 16);
	int r = shelf_new(&q->at, &(struct shelf_setup){
		.size = size,
		.slot_bytes = (uint32_t)(room_at + q->blk->room_bytes),
		.slot_at = offsetof(struct blk_slot, at),
		.pieces = q->blk->segments_max + 2,
	});

	q->again = NULL;
	q->again_end = &q->again;
	for (uint32_t i = 0; !r && i < size; i++) {
		struct blk_slot *slot = shelf_slot_nth(&q->at, i);

		slot->request.queue = q->index;
		slot->request.room = (char *)slot + room_at;
	}
	return r;
}

static inline void requests_submit(struct blk_queue *q, struct vireo_blk_request *const *batch, unsigned count)
{
	q->at.in_flight += count;
	if (count)
		q->blk->ops.submit(q->blk->opaque, q->index, batch, count);
}

static __cold void again_submit(struct blk_queue *q)
{
	struct vireo_blk_request *batch[BLK_BATCH];
	unsigned count = 0;

	while (q->again && count < BLK_BATCH) {
		struct blk_slot *slot = q->again;

		q->again = slot->again;
		if (!q->again)
			q->again_end = &q->again;
		if (blk_range_next(slot))
			batch[count++] = &slot->request;
	}
	requests_submit(q, batch, count);
}

void blk_queue_show(struct blk_queue *q)
{
	if (unlikely(q->again != NULL))
		again_submit(q);
	shelf_show(&q->at);
}

void blk_queue_finish(struct blk_queue *q)
{
	do
		blk_queue_show(q);
	while (q->again);
}

/* Returns as vireo_blk_poll(): of at most BLK_BATCH. */
static inline int queue_batch(struct shelf *shelf, unsigned max)
{
	struct blk_queue *q = container_of(shelf, struct blk_queue, at);
	struct vireo_blk_request *batch[BLK_BATCH];
	struct vireo_chain chains[BLK_BATCH];
	unsigned count = 0;
	int taken, popped = shelf_pop(shelf, chains, max);

	for (taken = 0; taken < popped; taken++) {
		struct shelf_slot *at = shelf_take(shelf, &chains[taken], popped - taken);
		struct blk_slot *slot;

		if (unlikely(!at))
			break;
		slot = container_of(at, struct blk_slot, at);
		batch[count] = &slot->request;
		if (likely(blk_request_take(slot)))
			count++;
		else /* its pieces are in a slot that is free, and the next chain takes it */
			shelf_push_done(shelf);
	}
	requests_submit(q, batch, count);
	shelf_submitted(shelf, count);
	return popped < 0 ? popped : taken;
}

static void queue_show(struct shelf *shelf)
{
	blk_queue_show(container_of(shelf, struct blk_queue, at));
}

int vireo_blk_poll(struct vireo_blk *blk, unsigned queue, unsigned max)
{
	struct blk_queue *q = &blk->queue[queue];

	if (unlikely(!shelf_open(&q->at)))
		return 0;
	return shelf_poll(&q->at, max, queue_batch, queue_show);
}

static inline void done_count(struct vireo_blk_queue_stats *stats, const struct vireo_blk_request *request)
{
	switch (request->type) {
	case VIREO_BLK_IN:
		counter_add(&stats->reads, 1);
		counter_add(&stats->read_bytes, request->bytes);
		break;
	case VIREO_BLK_OUT:
		counter_add(&stats->writes, 1);
		counter_add(&stats->written_bytes, request->bytes);
		break;
	case VIREO_BLK_FLUSH:
		counter_add(&stats->flushes, 1);
		break;
	case VIREO_BLK_DISCARD:
		counter_add(&stats->discards, 1);
		break;
	case VIREO_BLK_WRITE_ZEROES:
		counter_add(&stats->zeroes, 1);
		break;
	default:
		counter_add(&stats->erases, 1);
		break;
	}
}

static __cold void request_failed(struct blk_slot *slot, int result)
{
	counter_add(&blk_queue_of(slot)->stats.errors, 1);
	blk_answer(slot, blk_status_of(blk_queue_of(slot)->blk, result), true);
}

void vireo_blk_complete(struct vireo_blk_request *request, int result)
{
	struct blk_slot *slot = blk_slot_of(request);
	struct blk_queue *q = blk_queue_of(slot);

	assert(q->at.in_flight);
	q->at.in_flight--;
	if (unlikely(result)) {
		request_failed(slot, result);
		return;
	}
	if (unlikely(request->type >= VIREO_BLK_ZONE_APPEND)) {
		blk_zone_answer(slot);
		return;
	}
	done_count(&q->stats, request);
	if (likely(request->type <= VIREO_BLK_OUT)) {
		blk_answer(slot, BLK_S_OK, request->type == VIREO_BLK_OUT);
	} else if (request->type == VIREO_BLK_FLUSH) {
		blk_answer(slot, BLK_S_OK, true);
	} else {
		slot->again = NULL;
		*q->again_end = slot;
		q->again_end = &slot->again;
	}
}

void vireo_blk_flush(struct vireo_blk *blk, unsigned queue)
{
	struct blk_queue *q = &blk->queue[queue];

	blk_queue_show(q);
	if (unlikely(q->at.starved) && shelf_open(&q->at))
		shelf_poll(&q->at, BLK_BATCH, queue_batch, queue_show);
}

bool vireo_blk_kick_enable(struct vireo_blk *blk, unsigned queue, bool on)
{
	struct blk_queue *q = &blk->queue[queue];
	bool more = shelf_kick_enable(&q->at, on);

	return more || (on && q->again);
}

unsigned vireo_blk_in_flight(const struct vireo_blk *blk, unsigned queue)
{
	return blk->queue[queue].at.in_flight + !!blk->queue[queue].again;
}

/* The status has been cut off the last piece that has bytes. */
static bool slot_kept(struct shelf_slot *at)
{
	const struct blk_slot *slot = container_of(at, struct blk_slot, at);
	uint32_t count = at->chain.readable_count + at->chain.writable_count;

	for (uint32_t i = 0; i < count; i++)
		if (!shelf_piece_kept(blk_queue_of(slot)->blk->device, &at->chain.iov[i], &at->chain.iov[i] == slot->status_piece))
			return false;
	return true;
}

bool vireo_blk_kept(struct vireo_blk *blk, unsigned queue)
{
	blk_queue_show(&blk->queue[queue]);
	return shelf_kept(&blk->queue[queue].at, slot_kept);
}

void vireo_blk_expect(struct vireo_blk *blk, unsigned queue)
{
	vireo_queue_expect(blk->queue[queue].at.queue);
}

int vireo_blk_kick_fd(struct vireo_blk *blk, unsigned queue)
{
	return queue < blk->queues && blk->queue[queue].at.queue ? vireo_queue_kick_fd(blk->queue[queue].at.queue) : -1;
}
