/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MODEL_SHELF_H
#define MODEL_SHELF_H

/*
 * Where a model keeps the chains of a queue that runs while the application has them: in slots, from which they go to `done`, and from there
 * to the driver by the batch. For models whose chains end in any order. The worker's, while it has the queue.
 *
 * A model embeds struct shelf_slot in its own slot, and struct shelf in what it has of a queue.
 */

#include "base/util.h"
#include "vireo/chain.h"
#include "vireo/device.h"
#include <assert.h>

#define SHELF_BATCH	   64u /* chains popped and pushed at a time */
#define SHELF_SHORT_PIECES 6u  /* two for headers and status, and four of data: most requests */
#define SHELF_SHOWN	   8u  /* see shelf_step() */
#define SHELF_FEW	   32u
#define SHELF_VIEWS_MORE   4u  /* see shelf_setup.views */

struct shelf_lists { /* arrays for the pieces of chains, all of one length */
	struct iovec *iov;
	struct iovec **free;
	uint32_t pieces, free_count;
};

struct shelf_slot {
	struct vireo_chain chain; /* its pieces are here: `pieces`, or a list of `lists` */
	struct shelf *shelf;
	struct shelf_lists *lists; /* where chain.iov is from; NULL: pieces */
	struct iovec pieces[SHELF_SHORT_PIECES];
};

/*
 * While a queue runs each chain that has been popped is in a slot, or in `done`, with its slot free already, but not used again before
 * it is pushed.
 */
struct shelf {
	struct vireo_queue *queue; /* NULL: does not run */
	uint32_t size;		   /* of the ring; so many slots */
	uint32_t free_count;
	uint32_t done_count;
	uint32_t in_flight; /* slots that the application has: the model counts */
	bool unshown;	    /* pushed, and not flushed */
	bool stopping;	    /* asked back: written by the control thread, read by the worker */
	bool starved;	    /* chains are left in the ring because there is no list for their pieces */
	bool prompt;	    /* what was submitted last had been completed when that returned: shelf_submitted() */
	bool crowded;	    /* the last poll took as many chains as it might: more may wait */
	struct shelf_slot **free;
	void *slots;
	uint32_t slot_stride, slot_at;
	struct iovec *scratch; /* what a pop lays */
	uint32_t scratch_max;
	struct shelf_lists lists[2]; /* for chains as the driver is told to make them; for all others */
	struct vireo_chain done[SHELF_BATCH];
	uint32_t written[SHELF_BATCH]; /* beside `done` */
};

struct shelf_setup {
	uint32_t size;	     /* of the ring */
	uint32_t slot_bytes; /* of the model's slot, with all that belongs to it: aligned to a cache line by the shelf */
	uint32_t slot_at;    /* where in it struct shelf_slot is */
	uint32_t pieces;     /* of a chain as the driver is told to make them */
	bool views; /* lists have room behind their pieces, for as many and SHELF_VIEWS_MORE, which are the model's: shelf_views() */
};

/* Zeroed slots. -ENOMEM: there is nothing. */
int shelf_new(struct shelf *shelf, const struct shelf_setup *setup);
void shelf_free(struct shelf *shelf);
void *shelf_slot_nth(const struct shelf *shelf, uint32_t number); /* the model's slot */

/* Takes over a chain that lies in the scratch. NULL: there is no list of its length. */
struct shelf_slot *shelf_slot_new_long(struct shelf *shelf, const struct vireo_chain *chain);
void shelf_slot_list_free(struct shelf_slot *slot);

/* Does all that is in slots lie in the memory that there is? `kept` says so of one; pieces may have been cut. */
bool shelf_kept(const struct shelf *shelf, bool (*kept)(struct shelf_slot *slot));
bool shelf_piece_kept(const struct vireo_device *device, const struct iovec *piece, size_t more_bytes);

static inline struct shelf_slot *shelf_slot_new(struct shelf *shelf, const struct vireo_chain *chain)
{
	uint32_t pieces = chain->readable_count + chain->writable_count;
	struct shelf_slot *slot;

	if (unlikely(pieces > SHELF_SHORT_PIECES))
		return shelf_slot_new_long(shelf, chain);
	slot = shelf->free[--shelf->free_count];
	slot->chain = *chain;
	slot->chain.iov = slot->pieces;
	for (uint32_t i = 0; i < pieces; i++)
		slot->pieces[i] = chain->iov[i];
	return slot;
}

/* The model's own room behind the pieces of a list. */
static inline struct iovec *shelf_views(const struct shelf_slot *slot)
{
	return slot->chain.iov + slot->lists->pieces;
}

static inline void shelf_push_done(struct shelf *shelf)
{
	vireo_queue_push_burst(shelf->queue, shelf->done, shelf->written, shelf->done_count);
	shelf->done_count = 0;
	shelf->unshown = true;
}

/* The next chains, which lie in the scratch: at most SHELF_BATCH. Returns as vireo_queue_pop(). */
static inline int shelf_pop(struct shelf *shelf, struct vireo_chain *chains, unsigned max)
{
	if (shelf->done_count) /* their slots are free, and are used from here on */
		shelf_push_done(shelf);
	return vireo_queue_pop(shelf->queue, chains, max, shelf->scratch, shelf->scratch_max);
}

/* A slot for the first of `left` chains that were popped. NULL: there is no list for it now, and all of them are in the ring again. */
static inline struct shelf_slot *shelf_take(struct shelf *shelf, const struct vireo_chain *chains, int left)
{
	struct shelf_slot *slot = shelf_slot_new(shelf, chains);

	if (unlikely(!slot)) {
		vireo_queue_unpop(shelf->queue, chains, (unsigned)left);
		shelf->starved = true;
	}
	return slot;
}

/* So many of a batch have gone to the application. */
static inline void shelf_submitted(struct shelf *shelf, unsigned count)
{
	if (count)
		shelf->prompt = !shelf->in_flight;
}

/* It goes to the driver with the next push. What the slot has is still there until the next one is made. */
static inline void shelf_end(struct shelf_slot *slot, uint32_t written_bytes)
{
	struct shelf *shelf = slot->shelf;

	if (unlikely(shelf->done_count == SHELF_BATCH))
		shelf_push_done(shelf);
	shelf->done[shelf->done_count] = slot->chain;
	shelf->written[shelf->done_count++] = written_bytes;
	if (unlikely(slot->lists != NULL))
		shelf_slot_list_free(slot);
	shelf->free[shelf->free_count++] = slot;
}

static inline void shelf_show(struct shelf *shelf)
{
	if (shelf->done_count)
		shelf_push_done(shelf);
	if (shelf->unshown)
		vireo_queue_flush(shelf->queue);
	shelf->unshown = false;
}

/*
 * How many chains a poll takes before it shows the driver what has come of them. Where all that a driver has under way goes there and back as
 * one, it waits while the device works, and the device while it works. So where few wait, and are done at once, they are shown by eights,
 * and the driver goes on with the first ones meanwhile. Where many wait, it has enough to do, and each time costs a cache line that goes there and back.
 */
static inline unsigned shelf_step(const struct shelf *shelf)
{
	if (!shelf->prompt || shelf->crowded || vireo_queue_available(shelf->queue) > SHELF_FEW)
		return SHELF_BATCH;
	return SHELF_SHOWN;
}

/* There are more. The next step: all the rest at once, where it is not done at once, or the driver wants one more signal for each time. */
static inline unsigned shelf_step_on(struct shelf *shelf, unsigned step)
{
	if (step == SHELF_BATCH)
		return step;
	shelf_show(shelf);
	return !shelf->prompt || vireo_queue_awaits_signal(shelf->queue) ? SHELF_BATCH : step;
}

/*
 * A poll: of at most `max` chains. `batch` takes so many, and returns how many it took, or the error of the pop; `show` ends a poll. Both are the
 * model's, and constants where this is inlined. How many chains it took; an error, if it took none.
 */
static inline __attribute__((always_inline)) int shelf_poll(struct shelf *shelf, unsigned max, int (*batch)(struct shelf *shelf, unsigned max),
							    void (*show)(struct shelf *shelf))
{
	unsigned step = shelf_step(shelf), total = 0;
	bool more;
	int r;

	shelf->starved = false;
	do {
		r = batch(shelf, min_u32(max - total, step));
		total += r > 0 ? (unsigned)r : 0;
		more = r == (int)step && total < max && !shelf->starved;
		if (more)
			step = shelf_step_on(shelf, step);
	} while (more);
	show(shelf);
	shelf->crowded = total == max;
	return r < 0 && !total ? r : (int)total;
}

/* A queue that has been asked back takes no more, else a guest that has always something to say would keep it for ever. */
static inline bool shelf_open(const struct shelf *shelf)
{
	return vireo_queue_enabled(shelf->queue) && !__atomic_load_n(&shelf->stopping, __ATOMIC_RELAXED);
}

/* What no list was left for waits for completions, and not for the driver. */
static inline bool shelf_kick_enable(const struct shelf *shelf, bool on)
{
	bool more = vireo_queue_kick_enable(shelf->queue, on);

	return more && shelf_open(shelf) && !(shelf->starved && shelf->in_flight);
}

#endif
