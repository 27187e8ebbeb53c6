/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLK_INTERNAL_H
#define BLK_INTERNAL_H

/*
 * The map of this room:
 *
 *	blk.c		life, what the driver agrees on, switches and resets, and what the application asks
 *	space.c		what is offered: features and config space, of what the application says about its disk
 *	queue.c		a queue in its worker's hands: chains in, requests out, and back
 *	request.c	a chain becomes a request, or is answered
 *	ranges.c	DISCARD, WRITE_ZEROES and SECURE_ERASE, which name ranges in their data
 *	zones.c		what a disk that is written by zones is asked
 *
 * What the application has lies on the shelf of its queue (model/shelf.h).
 *
 * Who owns what: the control thread struct vireo_blk, but for what workers read (atomic); the worker struct blk_queue between
 * queue_started and vireo_blk_queue_quiesced(); anybody reads `stats`, each word for itself. There are no locks.
 */

#include "base/util.h"
#include "model/shelf.h"
#include "vireo/blk.h"
#include "vireo/chain.h"
#include "vireo/cursor.h"
#include "vireo/device.h"
#include "wire/virtio_blk.h"

#define BLK_BATCH	 SHELF_BATCH
#define BLK_RANGES_MAX	 256u
#define BLK_ROOM_BYTES_MAX 4096u
#define BLK_STATE_BYTES_MAX 1u

/* What the ranges of one type may be; constant. */
struct blk_range_limit {
	uint64_t bytes_max;
	uint32_t count_max;
};

struct blk_slot {
	struct vireo_blk_request request; /* first: what the application has is the slot */
	struct shelf_slot at;
	uint8_t *status;
	struct iovec *status_piece; /* ends one byte short, until the chain is pushed */
	struct blk_slot *again;	    /* the next one in blk_queue.again */
	union {
		struct vireo_cursor ranges; /* those that have not been submitted */
		struct vireo_cursor report; /* where the next zone is told */
	};
	uint32_t reported; /* zones */
};

_Static_assert(sizeof(struct vireo_blk_request) == 64, "one line");

/* A slot that the application does not have waits in `again` for its next range to be submitted. */
struct blk_queue {
	struct shelf at; /* first */
	struct vireo_blk *blk;
	uint32_t index;
	struct blk_slot *again, **again_end;
	struct vireo_blk_queue_stats stats;
} __attribute__((aligned(64)));

struct vireo_blk {
	struct vireo_device *device;
	struct vireo_blk_ops ops;
	void *opaque;
	/* Constant. */
	unsigned queues;
	uint64_t features_offered;
	uint64_t align_mask; /* of request_align_bytes */
	size_t room_bytes;
	uint32_t segments_max;
	bool read_only;
	uint8_t id[BLK_ID_BYTES];
	struct blk_range_limit discard, zeroes, erase;
	struct vireo_blk_zoned zoned;
	uint64_t features; /* as accepted; constant while queues run */
	enum { BLK_CACHE_UNSAID, BLK_CACHE_OFF, BLK_CACHE_ON } cache_kept; /* what goes to another device, or came from one */
	/* Written by the control thread, read by any (atomic). */
	uint64_t sectors;
	uint64_t lifetime;    /* three words of 16 bits, as on the wire */
	uint32_t write_flags; /* of what writes: VIREO_BLK_FUA or none */
	struct blk_queue queue[];
};

static inline bool blk_has(const struct vireo_blk *blk, unsigned bit)
{
	return blk->features & VIREO_FEATURE(bit);
}

static inline struct blk_slot *blk_slot_of(struct vireo_blk_request *request)
{
	return container_of(request, struct blk_slot, request);
}

static inline struct blk_queue *blk_queue_of(const struct blk_slot *slot)
{
	return container_of(slot->at.shelf, struct blk_queue, at);
}

/* Are these sectors all on the disk? No sum: there is none that could be too large. */
static inline bool blk_on_disk(const struct vireo_blk *blk, uint64_t sector, uint64_t count)
{
	uint64_t sectors = __atomic_load_n(&blk->sectors, __ATOMIC_RELAXED);

	return sector <= sectors && count <= sectors - sector;
}

/* ---- space.c ---- */

int blk_config_check(struct vireo_blk_config *config); /* and fills in what is 0; -EINVAL */
uint64_t blk_features_offered(const struct vireo_blk_config *config);
struct virtio_blk_config_space blk_space(const struct vireo_blk_config *config);
int blk_lifetime_check(const struct vireo_blk_lifetime *lifetime); /* -EINVAL */

/* ---- request.c ---- */

bool blk_request_take(struct blk_slot *slot); /* true: submit it; false: it has been answered */
/* Ends a request: the driver is told with the next push. `fill`: what has been asked for is not there, but zeroes. */
void blk_answer(struct blk_slot *slot, uint8_t status, bool fill);
bool blk_refuse(struct blk_slot *slot, uint8_t status); /* false, for callers of callers */
void blk_data_clear(struct blk_slot *slot); /* all that is writable, but the status */

/* Without the empty pieces at both ends: there is a byte. */
static inline void blk_request_iov(struct blk_slot *slot, struct iovec *first, uint32_t count)
{
	while (!first->iov_len) {
		first++;
		count--;
	}
	while (!first[count - 1].iov_len)
		count--;
	slot->request.iov = first;
	slot->request.iov_count = count;
}

/* ---- ranges.c ---- */

bool blk_ranges_take(struct blk_slot *slot, const struct blk_range_limit *limit); /* as blk_request_take(), of the first one */
bool blk_range_next(struct blk_slot *slot); /* of the next one, if any are left */

/* ---- zones.c ---- */

bool blk_zone_take(struct blk_slot *slot, uint32_t type, uint64_t sector); /* as blk_request_take() */
void blk_zone_answer(struct blk_slot *slot); /* the application has done it */
uint8_t blk_status_of(const struct vireo_blk *blk, int result); /* of any request: what the driver sees of an error */

/* ---- queue.c ---- */

int blk_slots_new(struct blk_queue *q, uint32_t size); /* -ENOMEM */
void blk_queue_show(struct blk_queue *q); /* submits further ranges, a batch, and shows what has been completed */
void blk_queue_finish(struct blk_queue *q); /* the same until no range is left that need not wait for the application */

#endif
