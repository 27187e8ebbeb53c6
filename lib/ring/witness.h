/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_WITNESS_H
#define RING_WITNESS_H

/*
 * A ring's witness is told what becomes of its chains, so that somebody else can go on from there: the successor of a killed
 * process, or the machine that a guest is moved to. It is chosen when the ring is made (ring_setup.witness), and split.c and
 * packed.c know nothing of it. A ring without one pays nothing; one with a witness is slower, in ring.c.
 *
 *	ring_new()	begin		where does the ring stand; what was completed and not shown; which chains are owed?
 *			stands		it stands there, whoever has said so
 *	ring_pop()	popped		these chains are in flight from now on
 *	ring_unpop()	unpopped	these are available again, as if they had not been popped
 *	ring_push()	pushed		these have been completed; their pieces are still there
 *	ring_publish()	showing		this burst is about to be shown; nothing of it is in the ring's areas yet
 *			shown		the driver can see it
 *
 * While a ring has a witness, its used entries are held back: push notes them, and publish writes them into the ring, between
 * `showing` and `shown`. So the areas hold what the driver made available until the witness has been told of all of a burst.
 *
 * Order. Who is killed has carried out all stores up to some instruction, and none behind it. What `popped` stores is there
 * before a caller has the chains; what `showing` stores, before the first store to the ring's areas; what `shown` stores, after
 * the last. The ring keeps the compiler to that; stores inside one call are the tenant's to order (witness_order()).
 * Another process that looks on while this one runs (a dirty log's reader) needs atomics and fences of the tenant's own.
 *
 * Threads and means. `begin` is called in the control thread, while the queue is quiet: it may allocate. The other calls come
 * from the worker that owns the queue, one at a time: they may read the ring and store to memory of the tenant's. They neither
 * allocate, nor block, nor call the ring, nor write to its areas. Each may be NULL. What `self` points to outlives the ring.
 *
 * A dirty log is none (log.c): it comes and goes while the ring runs.
 *
 * A ring has one witness. The tenants: record.c; ledger.c (vhost-user's in-flight region, and VDUSE's file).
 *
 * What a killed process has left of a burst in a packed ring, behind its first entry, is taken back by the ring when `begin` says
 * that chains are owed from there on: a tenant need not redo a burst that has not been shown.
 */

#include "vireo/chain.h"
#include "wire/virtio_ring.h"
#include <stdbool.h>
#include <stdint.h>

struct ring;
struct ring_setup;

/* What a used entry will say of a chain. Its bytes may lie in a file, for a successor. */
struct ring_completion {
	uint32_t written_bytes;
	uint16_t id;
	uint16_t span; /* descriptors of the ring: split: 1 */
	uint32_t writable; /* whether it had writable pieces: such a one has a used entry of its own */
};

/* A chain that was popped, and has neither been shown nor given back. */
struct ring_owed {
	uint16_t id;
	uint16_t span;
	uint32_t first; /* packed: where its descriptors begin in ring_stand.owed_descs */
};

/* What `begin` says. All zero: nothing is known, the ring begins where its set-up and its memory say. */
struct ring_stand {
	bool known; /* the place is: where the next used entry goes, and where `redo` begins */
	uint32_t place; /* split: an index; packed: a half of what ring_base() returns */
	bool says_nothing; /* not known: nobody has written anything down there yet */
	/*
	 * A burst of which `showing` was told, and which the driver does not see yet: it is shown before ring_new() returns, and
	 * `shown` is told of it. Read until then.
	 */
	const struct ring_completion *redo;
	unsigned redo_count;
	/*
	 * ring_pop() hands these out first, in this order: that of their first pop. The next available chain is behind all of
	 * them. `popped` is not told of them again; `unpopped` never is: one that is given back stays owed, by the ring.
	 * Split: their descriptors are in the table still. Packed: the ring may have written over them, so they come with a
	 * copy, as they lay there. Both from malloc(), the ring's from now on, also if it cannot be made.
	 */
	struct ring_owed *owed;
	struct packed_desc *owed_descs;
	unsigned owed_count;
	bool lies; /* `begin` has said why the ring cannot be made: what lies in the tenant's memory is not what a tenant writes */
	/* Room for setup->size completions, where the ring is to hold back what is pushed. NULL: it has room of its own. */
	struct ring_completion *held;
};

/* A burst, as it is shown: `count` completions, the first of which is laid at `place` (see ring_stand.place). */
struct ring_burst {
	const struct ring_completion *completions;
	unsigned count;
	uint32_t place;
	uint32_t place_after;
};

struct ring_witness_ops {
	/* NULL, or why the ring cannot be made (static): ring_new() says so, -EINVAL, or -EPROTO for a lie. */
	const char *(*begin)(void *self, const struct ring_setup *setup, struct ring_stand *ret_stand);
	/* Once, before all that follow, in the control thread: where the next used entry goes (see ring_stand.place). */
	void (*stands)(void *self, const struct ring *ring, uint32_t place);
	/* `place`: of the first one, where it was available (split: its index there). */
	void (*popped)(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains, unsigned count);
	void (*unpopped)(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count);
	void (*pushed)(void *self, const struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
		       unsigned count);
	void (*showing)(void *self, const struct ring *ring, const struct ring_burst *burst);
	void (*shown)(void *self, const struct ring *ring, const struct ring_burst *burst);
};

/* ops NULL: none. */
struct ring_witness {
	const struct ring_witness_ops *ops;
	void *self;
};

/* The compiler moves no store over it. */
static inline void witness_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#endif
