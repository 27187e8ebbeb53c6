/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_INTERNAL_H
#define RING_RING_INTERNAL_H

/*
 * The ring itself, and what each file of this room has for the others. Beside it: order.h (memory order), place.h (places in
 * the packed ring), lay.h (descriptors into a chain's pieces), quad.h (four at a time).
 */

#include "ring/log.h"
#include "ring/place.h"
#include "ring/ring.h"
#include "wire/virtio_ring.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>

struct split_state {
	const struct split_desc *desc;
	const struct split_avail *avail;
	struct split_used *used;
	uint16_t next_avail; /* all of these free-running: index & mask is the slot */
	uint16_t avail_seen; /* avail->idx as last read and checked */
	uint16_t fetched; /* descriptors of chains before this one have been asked for; a hint */
	uint16_t next_used; /* pushed up to here ... */
	uint16_t published; /* ... of which the driver has been shown this much: used->idx; atomic, see ring_shown() */
	uint16_t armed; /* what avail_event holds */
};

struct packed_state {
	struct packed_desc *desc;
	const struct packed_event *driver;
	struct packed_event *device;
	struct packed_place avail; /* the next head is looked for here */
	struct packed_place used; /* the next used entry goes here */
	struct packed_place first; /* where the staged burst begins */
	uint32_t shown; /* the same, encoded; atomic, see ring_shown() */
	struct packed_place armed; /* what the device event holds */
	uint64_t first_word; /* length, id and flags of the entry at `first`, written last, by publish */
	uint16_t event_flags; /* what the device event holds */
	uint32_t staged_span; /* descriptors from `first` to `used` */
	uint32_t in_flight; /* descriptors popped and not yet shown as used */
};

/* Belongs to the queue's worker while the queue runs, to the control thread otherwise. */
struct ring {
	union {
		struct split_state split;
		struct packed_state packed;
	};
	const struct map *map;
	struct map *map_offered; /* any thread (atomic): to be taken by the next pop, or NULL */
	struct map_cache buffers; /* last region hit by payload ... */
	struct map_cache tables; /* ... and by indirect tables: often another one */
	uint32_t size;
	uint32_t outstanding; /* chains popped, neither pushed nor unpopped */
	uint32_t staged; /* chains pushed, not yet published */
	bool is_packed, indirect, event_idx, in_order;
	bool buffers_writable; /* the last chain was: so will the next one be */
	bool quads; /* lay usual chains four at a time: quad.h */
	bool merge; /* IN_ORDER: whatever is staged is read-only, one used entry may stand for all */
	bool kick_on; /* the driver has been asked to kick */
	bool signal_next; /* the driver's event state is older than we are: signal the next publish */
	uint8_t special; /* RING_BROKEN and so on: not on the straight ways; any thread (atomic) */
	bool carried; /* something has been shown to the driver since it is here */
	bool publish_specially; /* not carried */
	bool base_believed; /* see ring_base_believed() */
	bool keeps_order; /* see ring_setup */
	bool rested; /* a mark of rest was where it began: see rest.c */
	bool lazy;
	bool misses; /* a pop has come to an address that is not in the map, and nobody has asked since */
	bool miss_write; /* where the last pop that returned -EFAULT ended is to be written to */
	const char *error;
	const char *remark; /* see ring_remark() */
	uint64_t miss_gpa; /* where the last pop that returned -EFAULT ended */
	struct ring_look *look; /* it does no more than look ahead, or NULL */
	struct ring_witness witness; /* see witness.c, of all that follows */
	struct ring_completion *held; /* the staged ones, not yet in the ring */
	struct ring_completion *held_room; /* if the witness has none for them */
	struct ring_owed *owed; /* handed out up to owed_next */
	struct packed_desc *owed_descs;
	uint32_t owed_count, owed_next;
	uint32_t popped_since; /* others, after the last of the owed; at most `size` */
	const struct ring_log *log; /* see log.c; NULL: none */
	struct ring_log *log_offered; /* any thread (atomic): to be taken by the next call, or NULL */
	struct map_cache log_buffers; /* of its memory: the last region hit by payload */
	uint32_t unsignalled; /* slots that have been shown since ring_wants_signal() was asked, see later.c */
	uint32_t unsignalled_from; /* and where they begin, as log_place() says */
	uint16_t order[]; /* IN_ORDER: ids as popped, by slot of the head; checks our own pushes */
};

#define RING_BROKEN    1u
#define RING_WITNESSED 2u
#define RING_LOGGED    4u /* or a log, or its end, has been offered */
#define RING_LATER     8u /* see ring_signals_later() */

/* RING_*; 0: none. */
static inline uint8_t ring_special(const struct ring *ring)
{
	return __atomic_load_n(&ring->special, __ATOMIC_RELAXED);
}

static inline void ring_special_set(struct ring *ring, uint8_t what)
{
	__atomic_fetch_or(&ring->special, what, __ATOMIC_SEQ_CST);
}

/* Any thread: up to where the driver has been shown that its chains are used. Split: an index; packed: a place, encoded. */
static inline uint32_t ring_shown(const struct ring *ring)
{
	return ring->is_packed ? __atomic_load_n(&ring->packed.shown, __ATOMIC_RELAXED)
			       : __atomic_load_n(&ring->split.published, __ATOMIC_RELAXED);
}

/* ring.c */

/* Goes by the map that has been offered. False: none has. What has been found by the one before still holds. */
bool ring_map_take(struct ring *ring);

/* later.c: what ring.c calls in place of a look at the driver's event. */
void later_shown(struct ring *ring, uint32_t from, bool first);
uint32_t ring_slots_since(const struct ring *ring, uint32_t from); /* shown since log_place() said so, once round a ring at most */

/* split.c */
bool split_wants_signal(const struct ring *ring, uint16_t was); /* of what has been shown since then */
int split_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	      unsigned iov_max);
void split_unpop(struct ring *ring, unsigned count);
void split_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
enum ring_signal split_publish(struct ring *ring);
int split_chain_owed(struct ring *ring, uint16_t head, struct vireo_chain *chain, struct iovec *iov, unsigned room);
bool split_kick_enable(struct ring *ring, bool on);
bool split_awaits_signal(const struct ring *ring);
unsigned split_available(struct ring *ring);

/* packed.c */
typedef uint64_t packed_word __attribute__((may_alias)); /* length, id and flags of a descriptor */

int packed_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	       unsigned iov_max);
void packed_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count);
int packed_chain_owed(struct ring *ring, const struct packed_desc *descs, const struct ring_owed *owed,
		      struct vireo_chain *chain, struct iovec *iov, unsigned room);
bool packed_awaits_signal(const struct ring *ring);
unsigned packed_available(struct ring *ring);

/* packed_used.c */
bool packed_asks_signal(const struct ring *ring, uint32_t span); /* of so many descriptors that have been shown last */
void packed_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
enum ring_signal packed_publish(struct ring *ring);
bool packed_kick_enable(struct ring *ring, bool on);

/* witness.c: what ring.c calls instead of the above where there is a witness. */
int witness_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov, unsigned iov_max);
/* How many of the first are owed, and stay popped for split.c and packed.c; the rest is theirs to take back. */
unsigned witness_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count);
void witness_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
bool witness_publish(struct ring *ring);
const char *witness_begin(const struct ring_setup *setup, struct ring_stand *stand); /* as ring_witness_ops.begin */
void witness_start(struct ring *ring, const struct ring_stand *stand); /* the ring stands where it says */

/* rest.c */
bool rest_found(const struct ring_setup *setup, uint32_t place); /* a mark of it; `place` as ring_shown() says it */
void rest_end(struct ring *ring, const struct ring_setup *setup); /* it is where it begins, and nothing has been popped */

/* log.c: what ring.c calls where there is a log, and where one may have been offered (ring_log_take()). */
void ring_log_take(struct ring *ring);
/* Of chains that are pushed: what has been written into them. */
void log_pushed(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count);
uint32_t log_place(const struct ring *ring); /* where the burst begins that is shown next ... */
void log_shown(struct ring *ring, uint32_t from); /* ... and has been */
uint32_t log_armed(const struct ring *ring); /* changes whenever a pop asks for a kick */
void log_kick_enabled(struct ring *ring); /* the event words have been written */
void log_rested(struct ring *ring); /* the mark of rest has been */

static inline bool witness_owes(const struct ring *ring)
{
	return ring->owed_next < ring->owed_count;
}

/*
 * place.c: where a killed back end stood, or false: that cannot be made out. `base` is what is said of it. How many descriptors
 * are available from there on.
 */
bool packed_place_find(const struct ring_setup *setup, struct packed_place base, struct packed_place *ret_place,
		       uint32_t *ret_waiting);

/* absent.c: notes what of a descriptor's range is not in the map. 0, or -EFAULT: enough has been looked at. */
int ring_look_note(struct ring *ring, uint64_t gpa, uint32_t len, bool write);

/* What a used entry says of a chain; the rule that it cannot be more than the chain had room for is our own. */
static inline uint32_t ring_written(const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned i)
{
	uint32_t bytes = written_bytes ? written_bytes[i] : 0;

	assert(bytes <= chains[i].writable_bytes);
	return bytes;
}

#endif
