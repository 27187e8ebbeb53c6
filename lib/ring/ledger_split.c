/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The region of a split ring: an entry for each head. The chain's descriptors are the driver's until it is used, and no copy
 * of them is needed. The burst that is being shown is a list; used_idx says until where bursts are over, and the ring's
 * own used index, whether that one has been shown.
 */

#include "ring/ledger.h"

struct split_word { /* the header's second one */
	uint16_t version, desc_num, last_batch_head, used_idx;
};

static void word_store(struct ring_ledger *ledger, uint16_t used_idx)
{
	const struct split_word word = { INFLIGHT_VERSION, (uint16_t)ledger->entries, ledger->batch_head, used_idx };

	ledger_word_store(&ledger->split->version, &word);
}

/* ---- the ring ---- */

static void ledger_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			  unsigned count)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < count; i++) {
		struct inflight_split_desc *desc = &ledger->split->desc[chains[i].id];

		desc->counter = ++ledger->counter;
		ledger_inflight_set(&desc->inflight, 1);
	}
}

static void ledger_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct ring_ledger *ledger = self;

	while (count--) /* the last one first: what stays is what was popped before it */
		ledger_inflight_set(&ledger->split->desc[chains[count].id].inflight, 0);
}

static void ledger_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < burst->count; i++) {
		ledger->split->desc[burst->completions[i].id].next = ledger->batch_head;
		ledger->batch_head = burst->completions[i].id;
	}
	word_store(ledger, (uint16_t)burst->place);
}

static void ledger_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct ring_ledger *ledger = self;

	for (unsigned i = 0; i < burst->count; i++)
		ledger_inflight_set(&ledger->split->desc[burst->completions[i].id].inflight, 0);
	word_store(ledger, (uint16_t)burst->place_after);
}

/* ---- a successor ---- */

static bool split_owes(const struct ledger_reading *r)
{
	for (uint32_t id = 0; id < r->ledger->entries; id++)
		if (r->split->desc[id].inflight)
			return true;
	return false;
}

/* The list of a burst that has been shown, and may be in flight still by what is written down. */
static bool batch_read(struct ledger_reading *r, uint16_t count)
{
	uint16_t id = r->split->last_batch_head;

	if (count > r->setup->size)
		return false;
	for (; count--; id = r->split->desc[id].next) {
		if (id >= r->setup->size || r->over[id])
			return false;
		r->over[id] = true;
	}
	return true;
}

static bool flights_read(struct ledger_reading *r)
{
	for (uint32_t id = 0; id < r->ledger->entries; id++) {
		const struct inflight_split_desc *desc = &r->split->desc[id];

		if (desc->inflight > 1)
			return false;
		if (desc->inflight && !r->over[id] &&
		    !ledger_chain_add(r, (struct ledger_chain){ desc->counter, (uint16_t)id, (uint16_t)id, 1 }))
			return false;
	}
	return true;
}

bool ledger_split_read(struct ledger_reading *r)
{
	const struct split_used *used = r->setup->device;
	uint16_t idx = le16(__atomic_load_n(&used->idx, __ATOMIC_RELAXED));
	bool owes = split_owes(r);

	r->place = idx;
	r->known = batch_read(r, (uint16_t)(idx - r->split->used_idx));
	return !owes || (r->known && flights_read(r));
}

void ledger_split_settle(struct ledger_reading *r)
{
	struct ring_ledger *ledger = r->ledger;

	for (uint32_t id = 0; id < ledger->entries; id++)
		if (r->over[id])
			ledger_inflight_set(&ledger->split->desc[id].inflight, 0);
	ledger->batch_head = 0;
	word_store(ledger, (uint16_t)r->place);
}

/* The version is in the last store. */
void ledger_split_begin(struct ring_ledger *ledger, uint32_t place)
{
	for (uint32_t id = 0; id < ledger->entries; id++)
		ledger->split->desc[id] = (struct inflight_split_desc){ 0 };
	ledger->split->features = 0;
	ledger->batch_head = 0;
	word_store(ledger, (uint16_t)place);
}

const struct ring_witness_ops ledger_split_ops = {
	.begin = ledger_begin,
	.stands = ledger_stands,
	.popped = ledger_popped,
	.unpopped = ledger_unpopped,
	.showing = ledger_showing,
	.shown = ledger_shown,
};
