/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A list of frames reaches a port. If the port has several running out queues, each flow keeps to one of
 * them: one that the receiver has chosen (sw_port_steered_set()), or any. Usually all frames fit the port as they are
 * and go with one call. Otherwise the list is walked: what fits is gathered into an outbox, what is too long is dropped,
 * what needs work is worked on, and its results are gathered too; the outbox is delivered whenever it (or the arena that holds the results) is full. The
 * order is kept.
 *
 * What goes to several ports leaves a quarter of a receiver's buffers free, so that what is sent to it alone finds room however much
 * others have to say to everybody. It leaves half of them if its sender has much to say: others' broadcasts find room beside it then. The
 * whole is the most that have been seen free lately: some drivers never offer more than a few, and some offer fewer than they did.
 *
 * A queue is claimed for all this, since other workers may deliver into it as well. A port that cannot
 * take more loses frames at once, or they are held for it (retry.c): nothing here waits for a port.
 *
 * A sender chooses how small the pieces are, and could have a burst cut into more than a hundred thousand of them
 * while other ports wait. So there is a limit for each burst, whoever receives it: far more than an honest sender
 * needs, and more than a receiver's ring would hold in most cases. What goes beyond is counted at the sender. What is
 * flooded is cut once for all receivers (cuts.c), and the limit is of what they get together (forward.c).
 */

#include "switch/bond.h"
#include "switch/claim.h"
#include "switch/core.h"
#include "switch/cuts.h"
#include "switch/drops.h"
#include "switch/forwarder.h"
#include "switch/mirror_internal.h"
#include "switch/retry.h"
#include "switch/talk.h"
#include "switch/trace_internal.h"
#include <errno.h>
#include <string.h>

#define ETH_BYTES          14u
#define TAGGED_TWICE_BYTES 22u
#define KEPT_PART          4u
#define KEPT_PART_CROWDED  2u
#define FADES_BY           8u
#define BUFFER_BYTES       1536u /* of most drivers, where a frame may go into several */

struct outbox {
	struct forwarder *forwarder;
	const struct sw_port_ops *ops; /* the port's, or hold_ops */
	void *opaque;
	struct out_queue *queue;
	struct port_counters *counters;
	unsigned offloads;
	uint32_t mtu; /* 0: no limit */
	bool flooded;  /* the frame in hand is */
	uint8_t leaves; /* parts of the buffers, whatever the frame in hand is: see priority.c */
	uint32_t room; /* so many buffers may still be filled with what leaves some */
	unsigned count;
	struct vireo_frame *frames[BURST_FRAMES];
};

/* From here on frames are held: those that the port has left, and what comes after them. */
static void outbox_hold(struct outbox *box)
{
	box->queue->hold.counters = box->counters;
	box->queue->hold.forwarder = box->forwarder;
	box->queue->hold.urgency = box->forwarder->urgency;
	box->ops = &hold_ops;
	box->opaque = box->queue;
}

static __cold void put_rest(struct outbox *box, struct vireo_frame *const *frames, unsigned count, int went)
{
	const struct sw_port_ops *ops = box->ops;
	unsigned gone = went > 0 ? (unsigned)went : 0, left = 0;
	void *opaque = box->opaque;

	if (box->ops->left)
		left = box->ops->left(box->opaque, box->queue->number);
	if (gone + left < count) {
		counter_add(&box->counters->tx_lost, count - left - gone);
		/* Which they were, the port does not say: mostly the last ones, for which there are no buffers. */
		dropped_list(box->forwarder, box->queue->queue.port, &box->counters->tx_lost, frames + gone, count - left - gone);
	}
	if (!left)
		return;
	box->ops->flush(box->opaque, box->queue->number);
	outbox_hold(box);
	box->ops->deliver(box->opaque, box->queue->number, frames + count - left, left);
	retry_left(box->forwarder, box->queue, ops, opaque);
}

static void put(struct outbox *box, struct vireo_frame *const *frames, unsigned count)
{
	int gone = box->ops->deliver(box->opaque, box->queue->number, frames, count);

	if (unlikely(gone < (int)count))
		put_rest(box, frames, count, gone);
}

static void outbox_empty(struct outbox *box)
{
	if (box->count)
		put(box, box->frames, box->count);
	box->count = 0;
	offload_reset(box->forwarder->arena);
}

/* What a frame's layer 2 carries, as the receiver gets it: the MTU does not count link header and tags. */
static uint32_t payload_bytes(const struct vireo_frame *frame)
{
	uint32_t bytes = vireo_frame_bytes(frame);
	uint16_t network = 0;

	headers_link(frame->head, vireo_frame_head_bytes(frame), &network);
	if (!network) /* a second tag, whose end is not in the head */
		network = bytes < TAGGED_TWICE_BYTES ? ETH_BYTES : TAGGED_TWICE_BYTES;
	return bytes - network;
}

static uint32_t buffers(uint32_t frame_bytes)
{
	return 1 + frame_bytes / BUFFER_BYTES;
}

/* For what is flooded, or less urgent. */
static uint32_t room_of(const struct outbox *box)
{
	struct out_queue *queue = box->queue;
	uint32_t room, kept;

	if (!box->ops->room)
		return UINT32_MAX;
	room = box->ops->room(box->opaque, queue->number);
	if (queue->room_s != box->forwarder->worker.now_s) {
		queue->room_s = box->forwarder->worker.now_s;
		queue->room_max -= queue->room_max / FADES_BY;
	}
	if (queue->room_of != box->ops || room > queue->room_max) {
		queue->room_of = box->ops;
		queue->room_max = room;
	}
	kept = (uint32_t)parts_left(queue->room_max, box->leaves);
	if (box->forwarder->burst.flooded)
		kept = (uint32_t)max_u64(kept, queue->room_max / (box->forwarder->burst.crowds ? KEPT_PART_CROWDED : KEPT_PART));
	return room > kept ? room - kept : 0;
}

static __attribute__((noinline)) void drop(struct outbox *box, uint64_t *counter, struct vireo_frame *frame)
{
	counter_add(counter, 1);
	dropped(box->forwarder, box->queue->queue.port, counter, frame);
}

static bool outbox_take_room(struct outbox *box, struct vireo_frame *frame)
{
	if (!box->room) {
		drop(box, box->leaves ? &box->counters->tx_less_urgent : &box->counters->tx_flood_room, frame);
		return false;
	}
	box->room -= min_u32(box->room, buffers(frame->len_bytes));
	return true;
}

/* The outbox has room for one. */
static void outbox_add(struct outbox *box, struct vireo_frame *frame)
{
	if (unlikely(box->flooded || box->leaves) && !outbox_take_room(box, frame))
		return;
	if (box->mtu && frame->offload.gso == VIREO_GSO_NONE && payload_bytes(frame) > box->mtu) {
		drop(box, &box->counters->tx_mtu, frame);
		return;
	}
	box->frames[box->count++] = frame;
}

/* The pieces are there already. */
static void outbox_give(struct outbox *box, struct vireo_frame *frame, const struct cut *cut)
{
	struct offload_slot *slots = box->forwarder->cuts->arena->slots;

	if (cut->state == CUT_LIES)
		drop(box, &box->counters->tx_segment_error, frame);
	if (cut->state != CUT_MADE)
		return;
	if (frame->offload.gso != VIREO_GSO_NONE)
		counter_add(&box->counters->tx_segmented, 1);
	if (traced(box->forwarder))
		trace_cut(box->forwarder, frame, cut->count);
	for (unsigned i = 0; i < cut->count; i++) {
		if (box->count == BURST_FRAMES)
			outbox_empty(box);
		outbox_add(box, &slots[cut->first + i].frame);
	}
}

/* More pieces than the burst's sender may have. */
static void outbox_over(struct outbox *box, struct vireo_frame *frame)
{
	const struct sw_port *from = box->forwarder->burst.from;
	uint64_t *counter = &from->counters[box->forwarder->worker.index].rx_segment_limit;

	counter_add(counter, 1);
	dropped(box->forwarder, from, counter, frame);
}

static void outbox_cut(struct outbox *box, struct vireo_frame *frame)
{
	struct offload_arena *arena = box->forwarder->arena;
	struct vireo_frame *made;
	struct offload_job job;
	int err = offload_begin(&job, arena, frame);

	if (err == -ENOSPC) {
		outbox_empty(box);
		err = offload_begin(&job, arena, frame);
	}
	if (err) {
		drop(box, &box->counters->tx_segment_error, frame);
		return;
	}
	if (offload_pieces(&job) > box->forwarder->pieces_left) {
		outbox_over(box, frame);
		return;
	}
	box->forwarder->pieces_left -= offload_pieces(&job);
	if (frame->offload.gso != VIREO_GSO_NONE)
		counter_add(&box->counters->tx_segmented, 1);
	if (traced(box->forwarder))
		trace_cut(box->forwarder, frame, offload_pieces(&job));
	while (!job.finished) {
		if (box->count == BURST_FRAMES || !offload_has_slot(arena)) {
			put(box, box->frames, box->count);
			box->count = 0;
			arena->slots_used = 0; /* the payload is still needed */
		}
		made = offload_next(&job);
		outbox_add(box, made);
	}
}

static void outbox_work(struct outbox *box, struct vireo_frame *frame)
{
	const struct cuts *cuts = box->forwarder->cuts;
	ptrdiff_t index = frame - box->forwarder->burst.frames;

	if (cuts->frames >> index & 1)
		outbox_give(box, frame, &cuts->of[index]);
	else
		outbox_cut(box, frame);
}

static void deliver_with_work(struct outbox *box, struct vireo_frame *const *frames, unsigned count)
{
	const struct burst *burst = &box->forwarder->burst;

	for (unsigned i = 0; i < count; i++) {
		box->flooded = burst->flooded >> (frames[i] - burst->frames) & 1;
		if (box->count == BURST_FRAMES)
			outbox_empty(box);
		if (offload_needs(&frames[i]->offload) & ~box->offloads)
			outbox_work(box, frames[i]);
		else
			outbox_add(box, frames[i]);
	}
	outbox_empty(box);
}

/* Can all frames of the burst go as they are? */
static bool burst_fits(const struct burst *burst, unsigned offloads, uint32_t mtu)
{
	return !(burst->needs & ~offloads) && (!mtu || burst->longest_bytes <= mtu + ETH_BYTES);
}

/* Where frames are held that find no buffers, those of lower classes find their limit there. */
static unsigned leaves_of(const struct outbox *box)
{
	bool holds = box->ops == &hold_ops || (box->ops->starves && __atomic_load_n(&box->queue->queue.port->retry_looks, __ATOMIC_RELAXED));

	return holds ? 0 : box->forwarder->urgency.leaves;
}

/* Need nobody look at each frame for the room that it takes? */
static bool burst_has_room(struct outbox *box, unsigned count)
{
	const struct burst *burst = &box->forwarder->burst;

	if (likely(!burst->flooded && !box->forwarder->urgency.leaves))
		return true;
	box->leaves = (uint8_t)leaves_of(box);
	if (!burst->flooded && !box->leaves)
		return true;
	box->room = room_of(box);
	return !burst->needs && box->room >= count * buffers(burst->longest_bytes);
}

/* The queue is claimed. */
static __cold void look_for_held(struct outbox *box)
{
	struct out_queue *queue = box->queue;

	if (!(__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE) & HELD_PAUSED))
		retry_drain(box->forwarder, queue, box->ops, box->opaque);
	if (__atomic_load_n(&queue->held, __ATOMIC_RELAXED))
		outbox_hold(box);
}

static void deliver_queue(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue,
			  struct vireo_frame *const *frames, unsigned count)
{
	struct outbox box;

	box.forwarder = forwarder;
	box.ops = to->ops;
	box.opaque = to->opaque;
	box.queue = queue;
	box.counters = &to->port->counters[forwarder->worker.index];
	box.offloads = __atomic_load_n(&to->port->offloads, __ATOMIC_ACQUIRE); /* pairs with sw_port_offloads_set() */
	box.mtu = __atomic_load_n(&to->port->mtu, __ATOMIC_RELAXED);
	box.count = 0;
	box.leaves = 0;
	box.room = 0;
	box.flooded = false;
	if (unlikely(!claim(forwarder, queue))) {
		counter_add(&box.counters->tx_lost, count);
		dropped_list(forwarder, to->port, &box.counters->tx_lost, frames, count);
		return;
	}
	if (unlikely(__atomic_load_n(&queue->held, __ATOMIC_RELAXED)))
		look_for_held(&box);
	if (likely(burst_has_room(&box, count) && burst_fits(&forwarder->burst, box.offloads, box.mtu)))
		put(&box, frames, count);
	else
		deliver_with_work(&box, frames, count);
	box.ops->flush(box.opaque, queue->number);
	if (unlikely(forwarder->pacer.on))
		pace_note(forwarder, to->port, queue, box.ops);
	if (unlikely(signals_held(to->port)))
		signals_out(forwarder, to, queue);
	unclaim(forwarder, queue);
}

static void give_held(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue)
{
	if (!claim(forwarder, queue))
		return;
	queue->late = false; /* somebody may have looked after it, and have lost sight of it */
	if (!(__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE) & HELD_PAUSED)) {
		retry_drain(forwarder, queue, to->ops, to->opaque);
		if (unlikely(signals_held(to->port)))
			signals_out(forwarder, to, queue);
	}
	unclaim(forwarder, queue);
}

/* No burst: whether it takes long is looked at here. */
void deliver_held(struct forwarder *forwarder, const struct topology_port *to, struct out_queue *queue)
{
	uint64_t begun = cycles_now();

	if (forwarder->stall.alert) {
		begun = stall_begin(forwarder);
		give_held(forwarder, to, queue);
		stall_end(forwarder, begun, to->port);
	} else {
		give_held(forwarder, to, queue);
	}
	if (cycles_now() - begun > forwarder->sw->stall_cycles)
		stall_suspect(&forwarder->stall);
}

/* Takes the frames of the first frame's queue out of the list, in order, and leaves the others. */
static unsigned take_same(uint8_t *queue_of, struct vireo_frame **frames, unsigned *count,
			  struct vireo_frame **taken)
{
	uint8_t queue = queue_of[0];
	unsigned left = 0, same = 0;

	for (unsigned i = 0; i < *count; i++) {
		if (queue_of[i] == queue) {
			taken[same++] = frames[i];
		} else {
			queue_of[left] = queue_of[i];
			frames[left++] = frames[i];
		}
	}
	*count = left;
	return same;
}

/* Each frame to its queue, which is one of `to`'s. Both lists are used up. */
static void deliver_chosen(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, uint8_t *queue_of,
			   unsigned count)
{
	struct vireo_frame *taken[BURST_FRAMES];

	while (count) {
		struct out_queue *queue = to->out[queue_of[0]];
		unsigned same = take_same(queue_of, frames, &count, taken);

		if (traced(forwarder))
			trace_list(forwarder, taken, same, &(struct sw_trace_step){.what = SW_TRACE_QUEUE, .n = queue->number});
		deliver_queue(forwarder, to, queue, taken, same);
	}
}

static void deliver_spread(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *list,
			   unsigned count)
{
	struct vireo_frame *frames[BURST_FRAMES];
	uint8_t queue_of[BURST_FRAMES];

	memcpy(frames, list, count * sizeof(frames[0]));
	for (unsigned i = 0; i < count; i++)
		queue_of[i] = (uint8_t)((uint64_t)flow_hash(frames[i]) * to->out_count >> 32);
	deliver_chosen(forwarder, to, frames, queue_of, count);
}

static __cold void count_unsent(struct forwarder *forwarder, const struct sw_port *port, struct vireo_frame *const *frames, unsigned count)
{
	struct port_counters *counters = &port->counters[forwarder->worker.index];
	uint64_t *counter = __atomic_load_n(&port->cut, __ATOMIC_RELAXED) ? &counters->tx_link_down : &counters->tx_no_queue;

	counter_add(counter, count);
	dropped_list(forwarder, port, counter, frames, count);
}

/* Where it is among the queues that run; out_count: it is not. Usually all do. */
static unsigned running(const struct topology_port *to, unsigned number)
{
	unsigned at = number;

	if (likely(at < to->out_count && to->out[at]->number == number))
		return at;
	for (at = 0; at < to->out_count && to->out[at]->number != number; at++)
		;
	return at;
}

/* As the receiver has said. False: it has said nothing (any more), and nothing has been done. */
static __attribute__((noinline)) bool deliver_steered(struct forwarder *forwarder, const struct topology_port *to,
						      struct vireo_frame *const *list, unsigned count)
{
	const struct sw_port *port = to->port; /* its own ops, also when it is served aside: no memory of its peer is looked at */
	struct vireo_frame *frames[BURST_FRAMES];
	uint8_t queue_of[BURST_FRAMES];
	unsigned kept = 0;

	if (!port->ops->steer || !port->ops->steer(port->opaque, list, count, queue_of))
		return false;
	for (unsigned i = 0; i < count; i++) {
		unsigned at = running(to, queue_of[i]);

		if (at == to->out_count) {
			count_unsent(forwarder, port, &list[i], 1);
			continue;
		}
		frames[kept] = list[i];
		queue_of[kept++] = (uint8_t)at;
	}
	deliver_chosen(forwarder, to, frames, queue_of, kept);
	return true;
}

/* Into one of its queues for each flow, or out of a member for each. */
static void deliver_many(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	if (unlikely(to->bond && !to->member))
		bond_deliver(forwarder, to->bond, frames, count);
	else
		deliver_spread(forwarder, to, frames, count);
}

/* Into any of its queues. */
static inline void deliver_any(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	if (likely(to->out_count == 1))
		deliver_queue(forwarder, to, to->out[0], frames, count);
	else if (to->out_count)
		deliver_many(forwarder, to, frames, count);
	else
		count_unsent(forwarder, to->port, frames, count);
}

/* To a port whose receiver chooses the queues, or that is mirrored, or while something is traced. Watched, the port is; where its copies go to is watched by itself. */
static __attribute__((noinline)) void deliver_apart(struct forwarder *forwarder, const struct topology_port *to,
						    struct vireo_frame **frames, unsigned count, bool watched)
{
	unsigned limited = __atomic_load_n(&to->port->limited, __ATOMIC_RELAXED);
	bool mirrored = limited & PORT_MIRRORED && !(forwarder->mirroring & MIRRORING_COPY);
	bool begun = mirrored && mirror_out_begin(forwarder, frames, count);
	uint64_t step = 0;

	if (traced(forwarder))
		trace_out_begin(forwarder, to, frames, count);
	if (watched)
		step = stall_begin(forwarder);
	if (!(limited & PORT_STEERED) || !deliver_steered(forwarder, to, frames, count))
		deliver_any(forwarder, to, frames, count);
	if (watched)
		stall_end(forwarder, step, to->port);
	if (traced(forwarder))
		trace_out_end(forwarder, to, frames, count);
	if (mirrored)
		mirror_out_end(forwarder, to, frames, count, begun);
}

static inline bool goes_apart(const struct topology_port *to)
{
	return __atomic_load_n(&to->port->limited, __ATOMIC_RELAXED) & (PORT_STEERED | PORT_MIRRORED | PORT_TRACED);
}

static inline void deliver_queues(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames,
				  unsigned count)
{
	if (unlikely(goes_apart(to)))
		deliver_apart(forwarder, to, frames, count, false);
	else
		deliver_any(forwarder, to, frames, count);
}

/* The same as without being watched, see stall.c. */
static __attribute__((noinline)) void deliver_watched(struct forwarder *forwarder, const struct topology_port *to,
						      struct vireo_frame **frames, unsigned count)
{
	uint64_t begun;

	if (unlikely(goes_apart(to))) {
		deliver_apart(forwarder, to, frames, count, true);
		return;
	}
	begun = stall_begin(forwarder);
	deliver_any(forwarder, to, frames, count);
	stall_end(forwarder, begun, to->port);
}

static inline void deliver_now(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	if (unlikely(forwarder->stall.alert))
		deliver_watched(forwarder, to, frames, count);
	else
		deliver_queues(forwarder, to, frames, count);
}

void deliver_ready(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	deliver_now(forwarder, to, frames, count);
}

static inline void deliver_presented(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames,
				     unsigned count)
{
	if (unlikely(to->rules.tagged || forwarder->burst.tagged))
		vlan_present(forwarder, to, frames, count);
	deliver_now(forwarder, to, frames, count);
}

void deliver_limited(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	deliver_presented(forwarder, to, frames, count);
}

/* Returns how many frames are left of the list. */
static __attribute__((noinline)) unsigned deliver_fewer(struct forwarder *forwarder, const struct topology_port *to,
							struct vireo_frame **frames, unsigned count)
{
	const struct sw_trace_step receiver = trace_of_port(SW_TRACE_TO, to->port, 0), in_rate = {.what = SW_TRACE_RATE_OUT};
	unsigned limited = __atomic_load_n(&to->port->limited, __ATOMIC_RELAXED);

	if (limited & PORT_COUNTED)
		talk_count(forwarder, to->port, frames, count);
	if (traced(forwarder))
		trace_list(forwarder, frames, count, &receiver);
	if (limited & LIMITED_PRIORITY) {
		priority_deliver(forwarder, to, frames, count);
		return 0;
	}
	if (limited & LIMITED_OUT) {
		count = limits_out(forwarder, to->port, frames, count);
		if (traced(forwarder))
			trace_list(forwarder, frames, count, &in_rate);
	}
	return count;
}

void deliver(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count)
{
	if (unlikely(__atomic_load_n(&to->port->limited, __ATOMIC_RELAXED) & (LIMITED_OUT | LIMITED_PRIORITY | PORT_COUNTED | PORT_TRACED))) {
		count = deliver_fewer(forwarder, to, frames, count);
		if (!count)
			return;
	}
	deliver_presented(forwarder, to, frames, count);
}
