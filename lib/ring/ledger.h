/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_LEDGER_H
#define RING_LEDGER_H

/*
 * Map of the ledger: ledger.c reads one and says what is owed, ledger_split.c and ledger_packed.c know one format of the region
 * each: how it is written, and what is in it.
 *
 * A region may be a peer's, who can write to it at any moment. So it is read once, at the beginning, into a copy; what is needed
 * of it later is kept here, and it is only written to.
 */

#include "ring/ring_internal.h"
#include "wire/inflight.h"

#define LEDGER_CANNOT_BE "what is said to be in flight cannot be; reset the device"

#define LEDGER_NO_ENTRY UINT16_MAX

typedef uint64_t ledger_word __attribute__((may_alias));

/* Packed: where in the region a chain lies. */
struct ledger_flight {
	uint16_t head, last;
	uint16_t span; /* 0: not in flight */
};

struct ring_ledger {
	union {
		void *region;
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	uint32_t entries; /* of the region; a ring may have less */
	bool is_packed;
	bool begun; /* the region says where the ring stands */
	uint64_t counter; /* of the last pop */
	uint16_t batch_head; /* split: last_batch_head */
	uint16_t free_head, old_free_head; /* packed: as there */
	uint32_t place, old_place; /* packed: used_idx and old_used_idx, with their wrap counters */
	struct ledger_flight *flights; /* packed: by buffer id, which is below the ring's size */
	uint16_t *nexts; /* packed: by entry */
};

/* A chain that the region says is in flight. */
struct ledger_chain {
	uint64_t counter;
	uint16_t id, head, span;
};

struct ledger_reading {
	struct ring_ledger *ledger;
	const struct ring_setup *setup;
	union {
		void *copy; /* of the region */
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	struct ledger_chain *chains; /* room for as many as the ring has descriptors */
	uint32_t count, span;
	bool *over; /* entries of the last burst: not in flight any more. Packed: free ones */
	bool *taken; /* packed: entries of chains; ids */
	bool *named;
	bool known; /* there is a place */
	uint32_t place;
};

/* False: it cannot be. */
bool ledger_chain_add(struct ledger_reading *r, struct ledger_chain chain);

/* Read: false: it cannot be. Settle: what has been read is written down anew, with no burst open. Begin: nothing is in flight. */
bool ledger_split_read(struct ledger_reading *r);
void ledger_split_settle(struct ledger_reading *r);
void ledger_split_begin(struct ring_ledger *ledger, uint32_t place);
extern const struct ring_witness_ops ledger_split_ops;

bool ledger_packed_read(struct ledger_reading *r);
void ledger_packed_settle(struct ledger_reading *r);
void ledger_packed_begin(struct ring_ledger *ledger, uint32_t place);
extern const struct ring_witness_ops ledger_packed_ops;

/* ring_witness_ops.begin and .stands of both. */
const char *ledger_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand);
void ledger_stands(void *self, const struct ring *ring, uint32_t place);

/* One store, after all before it. */
static inline void ledger_word_store(void *at, const void *word)
{
	uint64_t value;

	__builtin_memcpy(&value, word, sizeof(value));
	witness_order();
	__atomic_store_n((ledger_word *)at, value, __ATOMIC_RELAXED);
	witness_order();
}

static inline void ledger_inflight_set(uint8_t *inflight, uint8_t on)
{
	witness_order();
	__atomic_store_n(inflight, on, __ATOMIC_RELAXED);
	witness_order();
}

#endif
