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
 * completes inside submit is not called deeper and deeper.
 */

void blk_push_done(struct blk_queue *q)
{
	vireo_queue_push_burst(q->queue, q->done, q->written, q->done_count);
	q->done_count = 0;
	q->unshown = true;
}

static inline void requests_submit(struct blk_queue *q, struct vireo_blk_request *const *batch, unsigned count)
{
	q->in_flight += count;
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
	while (unlikely(q->again != NULL))
		again_submit(q);
	if (q->done_count)
		blk_push_done(q);
	if (q->unshown)
		vireo_queue_flush(q->queue);
	q->unshown = false;
}

/* Returns as vireo_blk_poll(): of at most BLK_BATCH. */
static inline int queue_batch(struct blk_queue *q, unsigned max)
{
	struct vireo_blk_request *batch[BLK_BATCH];
	struct vireo_chain chains[BLK_BATCH];
	unsigned count = 0;
	int taken, popped;

	if (q->done_count) /* their slots are free, and are used from here on */
		blk_push_done(q);
	popped = vireo_queue_pop(q->queue, chains, max, q->scratch, q->scratch_max);
	for (taken = 0; taken < popped; taken++) {
		struct blk_slot *slot = blk_slot_new(q, &chains[taken]);

		if (unlikely(!slot)) {
			vireo_queue_unpop(q->queue, &chains[taken], (unsigned)(popped - taken));
			q->starved = true;
			break;
		}
		batch[count] = &slot->request;
		if (likely(blk_request_take(slot)))
			count++;
		else /* its pieces are in a slot that is free, and the next chain takes it */
			blk_push_done(q);
	}
	requests_submit(q, batch, count);
	return popped < 0 ? popped : taken;
}

static inline int queue_poll(struct blk_queue *q, unsigned max)
{
	unsigned total = 0;
	int r;

	q->starved = false;
	do {
		r = queue_batch(q, min_u32(max - total, BLK_BATCH));
		total += r > 0 ? (unsigned)r : 0;
	} while (r == BLK_BATCH && total < max && !q->starved);
	blk_queue_show(q);
	return r < 0 && !total ? r : (int)total;
}

/* A queue that has been asked back takes no more, else a guest that has always something to say would keep it for ever. */
static inline bool queue_open(const struct blk_queue *q)
{
	return vireo_queue_enabled(q->queue) && !__atomic_load_n(&q->stopping, __ATOMIC_RELAXED);
}

int vireo_blk_poll(struct vireo_blk *blk, unsigned queue, unsigned max)
{
	struct blk_queue *q = &blk->queue[queue];

	if (unlikely(!queue_open(q)))
		return 0;
	return queue_poll(q, max);
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
	counter_add(&slot->q->stats.errors, 1);
	blk_answer(slot, result == -EOPNOTSUPP ? BLK_S_UNSUPP : BLK_S_IOERR, true);
}

void vireo_blk_complete(struct vireo_blk_request *request, int result)
{
	struct blk_slot *slot = blk_slot_of(request);
	struct blk_queue *q = slot->q;

	assert(q->in_flight);
	q->in_flight--;
	if (unlikely(result)) {
		request_failed(slot, result);
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
	if (unlikely(q->starved) && queue_open(q))
		queue_poll(q, BLK_BATCH);
}

/* What no list was left for waits for completions, and not for the driver. */
bool vireo_blk_kick_enable(struct vireo_blk *blk, unsigned queue, bool on)
{
	struct blk_queue *q = &blk->queue[queue];
	bool more = vireo_queue_kick_enable(q->queue, on);

	return more && queue_open(q) && !(q->starved && q->in_flight);
}

unsigned vireo_blk_in_flight(const struct vireo_blk *blk, unsigned queue)
{
	return blk->queue[queue].in_flight + !!blk->queue[queue].again;
}

bool vireo_blk_kept(struct vireo_blk *blk, unsigned queue)
{
	blk_queue_show(&blk->queue[queue]);
	return blk_arena_kept(&blk->queue[queue]);
}

void vireo_blk_expect(struct vireo_blk *blk, unsigned queue)
{
	vireo_queue_expect(blk->queue[queue].queue);
}

int vireo_blk_kick_fd(struct vireo_blk *blk, unsigned queue)
{
	return queue < blk->queues && blk->queue[queue].queue ? vireo_queue_kick_fd(blk->queue[queue].queue) : -1;
}
