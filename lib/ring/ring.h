/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_H
#define RING_RING_H

/*
 * A virtqueue as the device sees it (virtio 1.3, 2.7 split, 2.8 packed). The only room that knows
 * descriptor formats. No fd, no transport, no thread: a ring is a struct in its owner's hands.
 *
 * Everything read from the ring is read once into a local; a rule of the specification that the
 * driver breaks makes the ring broken for ever (`error` says why, ring_pop() returns -EPROTO).
 *
 * Dispatch on the format happens once per burst, in ring.c.
 */

#include "mem/map.h"
#include "ring/witness.h"
#include "vireo/chain.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_log; /* in log.h */
struct ring_record; /* in record.c */
struct ring_ledger; /* in ledger.h */

/* What a user does about an address outside guest memory, most often. */
#define RING_SHARE_HINT ": all of the machine's memory must be shared, also what is plugged in later (share=on in QEMU)"

struct ring_setup {
	bool packed, indirect, event_idx, in_order;
	uint32_t size; /* 1..32768, split: a power of two */
	/*
	 * Where this process sees the three areas (split: descriptor table, available ring, used ring;
	 * packed: descriptor ring, driver event, device event), with the lengths of ring_area_bytes();
	 * checked for alignment here.
	 */
	void *desc, *driver, *device;
	/*
	 * As SET_VRING_BASE encodes it, see ring_base(). Split: the used index in memory decides; a base that
	 * differs means that chains were lost in flight, and they are popped again. If what is available cannot have come after
	 * that index, it is a stale one, and the base decides if it fits: the index is written then. Packed: likewise from the
	 * used half; if that is zero, it is taken to be the same as the available half. A ring that stands elsewhere is found by
	 * looking at it: see place.c.
	 */
	uint32_t base;
	/*
	 * The device completes chains in the order in which it popped them. Where one that does not say so was killed, nothing but a
	 * witness that knows what was in flight could tell which are done: without one, and unless `sure` or at rest (ring_rest()), a ring
	 * in which chains wait that has carried something before is refused by ring_new().
	 */
	bool keeps_order;
	bool sure; /* the base is where a ring like this one was stopped: nothing else is looked at */
	/*
	 * The witness writes to memory that the peer has kept for as long as chains may have been in flight. So if it says nothing yet, nothing is
	 * in flight at the base, and chains that wait there have never been popped: a guest that has moved here has such rings. That is so if
	 * whoever had the ring before wrote there as well, or was stopped and told the base. One that has no such memory, and was killed, leaves
	 * the same: what it had popped is taken for what waits. Nothing tells the two apart; ring_base_believed() tells that it came to this.
	 */
	bool region_kept;
	bool plain; /* without the CPU's vector instructions, as on one that has none: for tests */
	/*
	 * The map is filled as it is asked for: an address that is not in it is no lie yet. ring_pop() returns -EFAULT for
	 * a chain that has one, and leaves the chain where it is; ring_missed() says which.
	 */
	bool lazy;
	/*
	 * Who is told what becomes of chains, or none: see witness.h. What it knows of the ring's place decides instead of `base`
	 * and memory, and nothing is in doubt then.
	 */
	struct ring_witness witness;
	struct map *map; /* borrowed, for as long as the ring uses it: see ring_map_offer() */
};

/* Bytes of each area (split with event_idx includes the event fields: 6 + 2n, 6 + 8n). */
struct ring_area {
	uint64_t desc_bytes, driver_bytes, device_bytes;
};
struct ring_area ring_area_bytes(bool packed, uint32_t size);

/*
 * A record: what the successor of a killed process goes on from, see record.c. In memory that outlives the process; a burst that
 * was not shown any more is shown by the successor. For packed rings of devices that complete chains in order: a split ring
 * shows where it stands.
 *
 * Its length, for a ring of up to `size` descriptors: whole cache lines. It is aligned as one, and all zero in the beginning.
 */
size_t ring_record_bytes(uint32_t size);
void ring_record_clear(struct ring_record *record); /* the driver has set the ring up anew */
struct ring_witness ring_record_witness(struct ring_record *record); /* for ring_setup; borrows it */

/*
 * A ledger: the same for rings of both formats whose device completes chains in any order, see ledger.c. What was in flight is
 * popped first by the successor. It writes to a region (wire/inflight.h) in memory that outlives the process, all zero in the
 * beginning and aligned to 8 bytes; a peer may write there, too. A region has room for rings of one format, up to `entries`
 * descriptors; the same number reads it again.
 */
size_t ring_ledger_bytes(bool packed, uint32_t entries); /* of a region */
void ring_ledger_clear(void *region); /* the driver has set the ring up anew */
int ring_ledger_new(void *region, bool packed, uint32_t entries, struct ring_ledger **ret_ledger); /* borrows it; -ENOMEM */
void ring_ledger_free(struct ring_ledger *ledger); /* after the ring; does nothing for NULL */
struct ring_witness ring_ledger_witness(struct ring_ledger *ledger); /* for ring_setup; borrows it */

struct ring; /* in ring_internal.h; opaque outside this room and its size known there */

/* What of the size, the base or the areas' alignment is wrong, or NULL. */
const char *ring_setup_wrong(const struct ring_setup *setup);

/* -EINVAL (size, alignment, what was in flight, the witness; *why says), -EPROTO (the witness's memory lies), -ENOMEM. */
int ring_new(const struct ring_setup *setup, struct ring **ret_ring, const char **why);
void ring_free(struct ring *ring);

/*
 * Any thread but two at once, while the ring is used: its next pop goes by `map` (borrowed), which keeps all that the ones before
 * have (map_keeps()): what has been popped stays where it is, and so do the three areas. The ring never has more than two: returns the
 * map that was offered last, if it will never be used; NULL: it is used (there is one), and the one before is not any more.
 */
struct map *ring_map_offer(struct ring *ring, struct map *map);
bool ring_map_taken(const struct ring *ring); /* what was offered last is used; the same thread */

/*
 * The same for a dirty log (log.h): what the ring writes to guest memory from the next call on is told to it. What it wrote before, to
 * its areas, counts as well; what was written into chains before, is the caller's to think of: log.c says how.
 */
struct ring_log *ring_log_offer(struct ring *ring, struct ring_log *log);
/* Nobody uses the ring any more: what was offered last is taken. */
void ring_log_settle(struct ring *ring);

/* See vireo_queue_pop() and friends: the same contracts. */
int ring_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	     unsigned iov_max);
void ring_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count);
void ring_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
	       unsigned count);

/*
 * Looks ahead: where the buffers that a ring set up like this would pop next are not in the map, once a page. Takes nothing and
 * breaks nothing, but writes where a new ring does: the queue is quiet. Ends at `max`, when it has seen enough, or at a chain
 * that it cannot make out. Returns how many; the first *ret_soon are of the first `soon_chains` chains.
 */
#define RING_PAGE_BYTES 4096u /* the least that an IOMMU maps */
struct ring_absence {
	uint64_t gpa;
	bool write; /* to be written to */
};
unsigned ring_absent(const struct ring_setup *setup, struct ring_absence *absent, unsigned max, unsigned soon_chains,
		     unsigned *ret_soon);

/*
 * The same for a ring that runs, by any thread while it is not freed: from what its driver has been shown on, with what has been popped
 * since. Writes nothing. What changes meanwhile may be named, or not be. `writable`: only what is to be written to.
 */
unsigned ring_absent_running(const struct ring *ring, const struct map *map, bool writable, struct ring_absence *absent, unsigned max);

/* Has a pop that did not return -EFAULT ended at a chain that is not in the map? Asked once: the next time only after the next one. */
bool ring_misses_next(struct ring *ring);

/* After -EFAULT, or where that is so: the first address of the chain that is not in the map. */
uint64_t ring_missed(const struct ring *ring);
bool ring_missed_write(const struct ring *ring); /* is it to be written to? */

/* Makes pushed entries visible. Returns whether the driver is to be signalled for them, or (ring_signals_later()) may be. */
enum ring_signal {
	RING_QUIET,
	RING_SIGNAL,
	RING_SIGNAL_LATER, /* the driver has not been asked: ring_wants_signal() asks, for all that has been shown since it was called last */
};
enum ring_signal ring_publish(struct ring *ring);

/*
 * Who uses the ring may signal later than at each publish, which from its next one on returns RING_SIGNAL_LATER for all that it shows. Any thread;
 * for as long as the ring is there. later.c
 */
void ring_signals_later(struct ring *ring);
/* Whether the driver wants a signal for what has been shown since this was asked last; it is forgotten then. Who uses the ring. */
bool ring_wants_signal(struct ring *ring);
bool ring_awaits_signal(const struct ring *ring); /* see vireo_queue_awaits_signal() */
uint32_t ring_unsignalled(const struct ring *ring); /* how much that is: entries of a split ring, descriptors of a packed one */

/*
 * Kicks are on in a new ring. While they are on, a pop that returned 0 has asked for a kick for the next
 * chain: "pop until 0, sleep" needs no other call.
 */

bool ring_kick_enable(struct ring *ring, bool on);
unsigned ring_available(struct ring *ring); /* chains; packed: descriptors */
void ring_expect(const struct ring *ring); /* see vireo_queue_expect() */

/*
 * Where the ring stands, encoded as GET_VRING_BASE (vhost-user: "vring base"): split: next available index;
 * packed: bits 0-14 available index, 15 its wrap counter, 16-30 used index, 31 its wrap counter. Only when
 * every popped chain has been pushed and published.
 */
uint32_t ring_base(const struct ring *ring);

unsigned ring_owes(const struct ring *ring); /* chains that its witness says are owed, and not popped: the base leaves them out */

/*
 * The base is about to be told, and the ring is not used any more: whoever has it next finds in the ring itself that nothing was in flight there.
 * For devices that complete chains in any order (see `keeps_order`); does nothing where it is not so: chains popped and not shown, chains
 * owed, a broken ring. rest.c
 */
void ring_rest(struct ring *ring);
/* It has popped nothing, and is about to be freed: if its predecessor was at rest, so is it. */
void ring_unused(struct ring *ring);

#define RING_BASE_PACKED_NEW 0x80008000u /* of a packed ring that has carried nothing */

/* The driver lies, or breaks a rule of the device's own: -EPROTO, from now on. `why` is static. */
int ring_break(struct ring *ring, const char *why);
const char *ring_error(const struct ring *ring); /* NULL: not broken */
const char *ring_remark(const struct ring *ring); /* why it does not stand at its base, or NULL: it does */
bool ring_base_believed(const struct ring *ring); /* chains wait at its base, and that they were not in flight has been believed: see `region_kept` */
bool ring_carried(const struct ring *ring); /* it has shown the driver something since it was made */

#endif
