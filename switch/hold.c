/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A receiver may have to stop for a moment, and go on: its queue has met an address that its IOMMU has not told yet, its memory
 * table changes, or it has no buffers (retry.c). What comes for it meanwhile is held, and goes first when it goes on:
 *
 *	control thread				who has claimed the out queue
 *						deliver() leaves frames: they are held		HELD_FRAMES
 *	sw_queue_pause(): HELD_PAUSED		what comes is held, and the port not called
 *	  a grace period: `done`
 *	sw_queue_resume(): not HELD_PAUSED,	hold_drain(), then what comes
 *	  a letter to a worker			hold_drain(), if nothing comes
 *
 * The order is kept: as long as anything is held, nothing passes it by, and all of this happens under the queue's claim. A frame is
 * held as the port would have got it, cut and with its tag. What is held is a queue's own, of so many bytes and frames; beyond that
 * frames are lost, and counted (tx_hold_limit). It ends with the queue, and frames that it has then are lost (tx_lost), as they are
 * when the link is cut (tx_link_down). The first queue
 * of a port may hold all that a store takes, the second half of it, the third one a third: eight of them less than three stores together.
 *
 * Where it does not wait, a queue costs one look at `held`.
 */

#include "switch/hold.h"
#include "switch/core.h"
#include "switch/forward.h"
#include "switch/port.h"
#include <errno.h>

#define HOLD_BUFFER_BYTES 2048u /* the hold counts as so many buffers, for what is sent to many */

int hold_prepare(struct out_queue *queue)
{
	struct hold *hold = &queue->hold;

	if (hold->store.bytes)
		return 0;
	hold->bytes_max = STORE_BYTES / (queue->number + 1);
	if (hold->bytes_max < STORE_RECORD_MAX)
		hold->bytes_max = STORE_RECORD_MAX;
	return store_init(&hold->store);
}

void hold_end(struct out_queue *queue)
{
	struct hold *hold = &queue->hold;

	if (hold->frames)
		counter_add(&port_counters_control(queue->queue.port)->tx_lost, hold->frames);
	hold->frames = 0;
	store_fini(&hold->store);
}

static void hold_begin_anew(struct out_queue *queue)
{
	if (queue->hold.store.bytes)
		store_restart(&queue->hold.store);
	__atomic_fetch_and(&queue->held, (uint8_t)~HELD_FRAMES, __ATOMIC_RELAXED);
}

unsigned hold_drop(struct out_queue *queue)
{
	unsigned frames = queue->hold.frames;

	queue->hold.frames = 0;
	hold_begin_anew(queue);
	return frames;
}

void hold_cut(struct out_queue *queue)
{
	unsigned frames = hold_drop(queue);

	if (frames)
		counter_add(&port_counters_control(queue->queue.port)->tx_link_down, frames);
	queue->late = false; /* the worker that was to look again has not found it any more */
}

/* ---- in place of the port ---- */

static bool put_one(struct hold *hold, const struct vireo_frame *frame)
{
	if (!hold->store.bytes || hold->frames == HOLD_FRAMES_MAX)
		return false;
	if (store_bytes(&hold->store) + vireo_frame_bytes(frame) > hold->bytes_max)
		return false;
	if (!store_put(&hold->store, frame))
		return false;
	hold->frames++;
	return true;
}

static int held_deliver(void *opaque, unsigned number, struct vireo_frame *const *frames, unsigned count)
{
	struct out_queue *queue = opaque;
	struct hold *hold = &queue->hold;
	unsigned put = 0;

	for (unsigned i = 0; i < count; i++)
		put += put_one(hold, frames[i]);
	if (put) {
		store_show(&hold->store);
		counter_add(&hold->counters->tx_held, put);
		__atomic_fetch_or(&queue->held, HELD_FRAMES, __ATOMIC_RELAXED);
	}
	if (put < count)
		counter_add(&hold->counters->tx_hold_limit, count - put);
	return (int)count;
}

static void held_flush(void *opaque, unsigned number)
{
}

static unsigned held_room(void *opaque, unsigned number)
{
	const struct hold *hold = &((struct out_queue *)opaque)->hold;

	if (!hold->store.bytes || store_bytes(&hold->store) >= hold->bytes_max)
		return 0;
	return min_u32(HOLD_FRAMES_MAX - hold->frames, (hold->bytes_max - store_bytes(&hold->store)) / HOLD_BUFFER_BYTES);
}

const struct sw_port_ops hold_ops = {.deliver = held_deliver, .flush = held_flush, .room = held_room};

/* ---- the queue goes on ---- */

/* Some of the oldest. Returns how many the port has left, which have to wait again. */
static unsigned drain_some(struct out_queue *queue, const struct sw_port_ops *ops, void *opaque, struct port_counters *counters)
{
	struct vireo_frame frames[BURST_FRAMES], *list[BURST_FRAMES];
	struct hold *hold = &queue->hold;
	struct iovec iov[BURST_FRAMES];
	unsigned count = store_see(&hold->store, frames, iov, BURST_FRAMES), left = 0, gone;
	int r;

	for (unsigned i = 0; i < count; i++)
		list[i] = &frames[i];
	r = ops->deliver(opaque, queue->number, list, count);
	gone = r > 0 ? (unsigned)r : 0;
	if (gone < count && ops->left)
		left = ops->left(opaque, queue->number);
	if (gone + left < count)
		counter_add(&counters->tx_lost, count - left - gone);
	store_drop_first(&hold->store, count - left);
	hold->frames -= count - left;
	hold->gone += count - left;
	return left;
}

void hold_drain(struct out_queue *queue, const struct sw_port_ops *ops, void *opaque, struct port_counters *counters)
{
	struct hold *hold = &queue->hold;
	bool had = hold->frames;

	while (hold->frames && !drain_some(queue, ops, opaque, counters))
		;
	if (had)
		ops->flush(opaque, queue->number);
	if (!hold->frames)
		hold_begin_anew(queue);
}
