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
 * Where a port has classes (priority.c), each is held in a lane of its own. The order is kept within each: what is more urgent goes
 * first, and less urgent frames leave room for it. A class whose lane there was no memory for is held in the first one's.
 *
 * Where it does not wait, a queue costs one look at `held`.
 */

#include "switch/hold.h"
#include "switch/core.h"
#include "switch/drops.h"
#include "switch/forward.h"
#include "switch/port.h"
#include "switch/trace_internal.h"
#include <errno.h>

#define HOLD_BUFFER_BYTES 2048u /* the hold counts as so many buffers, for what is sent to many */

static int lane_prepare(struct lane *lane)
{
	int err = store_init(&lane->store);

	if (!err)
		__atomic_store_n(&lane->ready, true, __ATOMIC_RELEASE); /* pairs with place_of() */
	return err;
}

void hold_classes(struct out_queue *queue)
{
	struct lane *lane = queue->hold.lane;

	if (!lane[0].ready || !(queue->queue.port->limited & LIMITED_PRIORITY))
		return;
	for (unsigned i = 1; i < CLASSES; i++)
		if (!lane[i].ready)
			lane_prepare(&lane[i]);
}

int hold_prepare(struct out_queue *queue)
{
	struct hold *hold = &queue->hold;
	int err;

	if (hold->lane[0].ready)
		return 0;
	hold->bytes_max = STORE_BYTES / (queue->number + 1);
	if (hold->bytes_max < STORE_RECORD_MAX)
		hold->bytes_max = STORE_RECORD_MAX;
	err = lane_prepare(&hold->lane[0]);
	if (!err)
		hold_classes(queue);
	return err;
}

void hold_end(struct out_queue *queue)
{
	struct hold *hold = &queue->hold;

	if (hold->frames)
		counter_add(&port_counters_control(queue->queue.port)->tx_lost, hold->frames);
	hold->frames = 0;
	for (unsigned i = 0; i < CLASSES; i++)
		store_fini(&hold->lane[i].store);
}

static void hold_begin_anew(struct out_queue *queue)
{
	for (struct lane *lane = queue->hold.lane; lane < queue->hold.lane + CLASSES; lane++) {
		if (lane->used)
			store_restart(&lane->store);
		lane->used = false;
		lane->frames = 0;
	}
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

static uint64_t bytes_held(const struct hold *hold)
{
	uint64_t bytes = 0;

	for (const struct lane *lane = hold->lane; lane < hold->lane + CLASSES; lane++)
		bytes += lane->used ? store_bytes(&lane->store) : 0;
	return bytes;
}

/* Where frames of one class are held, and as long as there are fewer. */
struct place {
	struct lane *lane; /* NULL: nothing can be held */
	uint32_t frames_max;
	uint32_t bytes_max; /* of the lane */
};

static struct place place_of(struct hold *hold)
{
	struct lane *lane = &hold->lane[hold->urgency.class];
	uint64_t others;

	if (!__atomic_load_n(&lane->ready, __ATOMIC_ACQUIRE)) /* pairs with lane_prepare() */
		lane = hold->lane;
	if (!__atomic_load_n(&lane->ready, __ATOMIC_ACQUIRE))
		return (struct place){NULL, 0, 0};
	others = bytes_held(hold) - (lane->used ? store_bytes(&lane->store) : 0) + parts_left(hold->bytes_max, hold->urgency.leaves);
	return (struct place){
		.lane = lane,
		.frames_max = HOLD_FRAMES_MAX - (uint32_t)parts_left(HOLD_FRAMES_MAX, hold->urgency.leaves),
		.bytes_max = hold->bytes_max - min_u32(hold->bytes_max, (uint32_t)others),
	};
}

static bool put_one(struct hold *hold, const struct place *place, const struct vireo_frame *frame)
{
	struct store *store = &place->lane->store;

	if (hold->frames >= place->frames_max)
		return false;
	if (store_bytes(store) + vireo_frame_bytes(frame) > place->bytes_max)
		return false;
	if (!store_put(store, frame))
		return false;
	hold->frames++;
	return true;
}

/* What finds no place although there is some is less urgent than what that is for. */
static __attribute__((noinline)) void lose(const struct out_queue *queue, struct vireo_frame *frame)
{
	const struct hold *hold = &queue->hold;
	bool yields = hold->urgency.leaves && hold->frames < HOLD_FRAMES_MAX && bytes_held(hold) < hold->bytes_max;
	uint64_t *counter = yields ? &hold->counters->tx_less_urgent : &hold->counters->tx_hold_limit;

	counter_add(counter, 1);
	dropped(hold->forwarder, queue->queue.port, counter, frame);
}

static int held_deliver(void *opaque, unsigned number, struct vireo_frame *const *frames, unsigned count)
{
	struct out_queue *queue = opaque;
	struct hold *hold = &queue->hold;
	struct place place = place_of(hold);
	unsigned put = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!place.lane || !put_one(hold, &place, frames[i])) {
			lose(queue, frames[i]);
			continue;
		}
		put++;
		if (traced(hold->forwarder))
			trace_held(hold->forwarder, frames[i]);
	}
	if (put) {
		place.lane->used = true;
		place.lane->frames += put;
		store_show(&place.lane->store);
		counter_add(&hold->counters->tx_held, put);
		__atomic_fetch_or(&queue->held, HELD_FRAMES, __ATOMIC_RELAXED);
	}
	return (int)count;
}

static void held_flush(void *opaque, unsigned number)
{
}

static unsigned held_room(void *opaque, unsigned number)
{
	const struct hold *hold = &((struct out_queue *)opaque)->hold;
	uint64_t bytes = bytes_held(hold);

	if (!__atomic_load_n(&hold->lane[0].ready, __ATOMIC_ACQUIRE) || bytes >= hold->bytes_max)
		return 0;
	return min_u32(HOLD_FRAMES_MAX - hold->frames, (uint32_t)(hold->bytes_max - bytes) / HOLD_BUFFER_BYTES);
}

const struct sw_port_ops hold_ops = {.deliver = held_deliver, .flush = held_flush, .room = held_room};

/* ---- the queue goes on ---- */

/* Some of the oldest of a class. Returns how many the port has left, which have to wait again. */
static unsigned drain_some(struct out_queue *queue, struct lane *lane, const struct sw_port_ops *ops, void *opaque,
			   struct port_counters *counters)
{
	struct vireo_frame frames[BURST_FRAMES], *list[BURST_FRAMES];
	struct hold *hold = &queue->hold;
	struct iovec iov[BURST_FRAMES];
	unsigned count = store_see(&lane->store, frames, iov, BURST_FRAMES), left = 0, gone;
	int r;

	for (unsigned i = 0; i < count; i++)
		list[i] = &frames[i];
	r = ops->deliver(opaque, queue->number, list, count);
	gone = r > 0 ? (unsigned)r : 0;
	if (gone < count && ops->left)
		left = ops->left(opaque, queue->number);
	if (gone + left < count)
		counter_add(&counters->tx_lost, count - left - gone);
	store_drop_first(&lane->store, count - left);
	lane->frames -= count - left;
	hold->frames -= count - left;
	hold->gone += count - left;
	return left;
}

void hold_drain(struct out_queue *queue, const struct sw_port_ops *ops, void *opaque, struct port_counters *counters)
{
	struct hold *hold = &queue->hold;
	bool had = hold->frames;
	unsigned left = 0;

	for (struct lane *lane = hold->lane + CLASSES; lane-- > hold->lane && !left;)
		while (lane->frames && !left)
			left = drain_some(queue, lane, ops, opaque, counters);
	if (had)
		ops->flush(opaque, queue->number);
	if (!hold->frames)
		hold_begin_anew(queue);
}
