/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a ring leaves to a successor whose device completes chains in any order: a witness (witness.h), in memory that outlives
 * the process, laid out as vhost-user's in-flight region is (wire/inflight.h), whoever keeps it. Each chain that was popped and
 * not shown is written down there; the successor is owed it.
 *
 *	stands		a region that says nothing yet: nothing is in flight, and this is where the ring begins
 *	popped		the chain is written down; then one store says that it is in flight
 *	showing		the burst's chains are listed: split: as last_batch_head, packed: as what old_free_head does not have
 *	shown		they are not in flight any more, and the list is over
 *	a successor	finds a list that is not over, and sees by the ring whether the burst is shown. If it is, its chains are
 *			done; else they are in flight as before. What is in flight is owed, in the order of its pops
 *
 * Whoever is killed between two chains of a pop has handed out neither, and the second will be popped as one that is new: the
 * ones written down are always the first of those made available.
 *
 * A driver that has two chains in flight with one id is a liar, and the ledger knows the second of them.
 *
 * That a successor is owed no chain twice, whatever a region holds, is proved in tests/prove/inflight.c; that each chain is completed once, whenever
 * who has written the region was killed, in written.c there.
 */

#include "ring/ledger.h"
#include <stdlib.h>
#include <string.h>

static const char TOO_SMALL[] = "the in-flight region is for a smaller ring"; /* a mistake, and not what lies in it */
static const char NO_MEMORY[] = "no memory for what is in flight";

struct region_header { /* what both formats begin with */
	uint64_t features;
	uint16_t version, desc_num;
};

size_t ring_ledger_bytes(bool packed, uint32_t entries)
{
	return inflight_queue_bytes(packed, entries);
}

void ring_ledger_clear(void *region)
{
	struct region_header *header = region;

	__atomic_store_n(&header->version, 0, __ATOMIC_RELAXED);
}

void ring_ledger_free(struct ring_ledger *ledger)
{
	if (!ledger)
		return;
	free(ledger->flights);
	free(ledger->nexts);
	free(ledger);
}

int ring_ledger_new(void *region, bool packed, uint32_t entries, struct ring_ledger **ret_ledger)
{
	struct ring_ledger *ledger = calloc(1, sizeof(*ledger));

	if (!ledger)
		return -ENOMEM;
	ledger->region = region;
	ledger->is_packed = packed;
	ledger->entries = entries;
	ledger->flights = packed ? calloc(entries, sizeof(*ledger->flights)) : NULL;
	ledger->nexts = packed ? calloc(entries, sizeof(*ledger->nexts)) : NULL;
	if (packed && (!ledger->flights || !ledger->nexts)) {
		ring_ledger_free(ledger);
		return -ENOMEM;
	}
	*ret_ledger = ledger;
	return 0;
}

/* ---- a successor ---- */

bool ledger_chain_add(struct ledger_reading *r, struct ledger_chain chain)
{
	uint32_t size = r->setup->size;

	if (chain.id >= size || r->named[chain.id] || !chain.span || chain.span > size - r->span)
		return false;
	r->named[chain.id] = true;
	r->chains[r->count++] = chain;
	r->span += chain.span;
	return true;
}

static int by_counter(const void *a, const void *b)
{
	const struct ledger_chain *x = a, *y = b;

	return (x->counter > y->counter) - (x->counter < y->counter);
}

/* In the order of their pops; who was popped at the same moment as another was not popped by anybody. */
static bool chains_sort(struct ledger_reading *r)
{
	qsort(r->chains, r->count, sizeof(*r->chains), by_counter);
	for (uint32_t i = 1; i < r->count; i++)
		if (r->chains[i].counter == r->chains[i - 1].counter)
			return false;
	r->ledger->counter = r->count ? r->chains[r->count - 1].counter : 0;
	return true;
}

static void descs_copy(const struct ledger_reading *r, const struct ledger_chain *chain, struct packed_desc *descs)
{
	uint16_t at = chain->head;

	for (uint32_t i = 0; i < chain->span; i++, at = r->packed->desc[at].next) {
		const struct inflight_packed_desc *e = &r->packed->desc[at];

		descs[i] = (struct packed_desc){ .addr = e->addr, .len = e->len, .id = e->id, .flags = e->flags };
	}
}

static bool owe(const struct ledger_reading *r, struct ring_stand *stand)
{
	uint32_t first = 0;

	stand->owed = calloc(r->count + 1, sizeof(*stand->owed));
	stand->owed_descs = calloc(r->span + 1, sizeof(*stand->owed_descs));
	if (!stand->owed || !stand->owed_descs)
		return false;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct ledger_chain *chain = &r->chains[i];

		stand->owed[i] = (struct ring_owed){ chain->id, chain->span, first };
		if (r->ledger->is_packed)
			descs_copy(r, chain, stand->owed_descs + first);
		first += chain->span;
	}
	stand->owed_count = r->count;
	return true;
}

/* One that owes nothing says nothing against what is found in memory: it begins anew. */
static const char *ledger_read(struct ledger_reading *r, struct ring_stand *stand)
{
	struct ring_ledger *ledger = r->ledger;

	if (!(ledger->is_packed ? ledger_packed_read(r) : ledger_split_read(r)) || !chains_sort(r) || (r->count && !r->known))
		return LEDGER_CANNOT_BE;
	if (!r->known)
		return NULL;
	if (!owe(r, stand))
		return NO_MEMORY;
	stand->known = true;
	stand->place = r->place;
	ledger->begun = true;
	if (ledger->is_packed)
		ledger_packed_settle(r);
	else
		ledger_split_settle(r);
	return NULL;
}

static const char *header_wrong(const struct ring_ledger *ledger, const struct ring_setup *setup,
				const struct region_header *header)
{
	if (ledger->is_packed != setup->packed || ledger->entries < setup->size)
		return TOO_SMALL;
	if (header->version && header->version != INFLIGHT_VERSION)
		return "the in-flight region is of a version that nobody knows";
	if (header->version && header->features)
		return "the in-flight region has features that nobody knows";
	if (header->version && header->desc_num != ledger->entries)
		return "the in-flight region is for rings of another size";
	return NULL;
}

const char *ledger_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	struct ring_ledger *ledger = self;
	size_t bytes = inflight_queue_bytes(ledger->is_packed, ledger->entries);
	struct ledger_reading r = { .ledger = ledger, .setup = setup };
	const char *wrong = NO_MEMORY;

	ledger->begun = false;
	r.copy = malloc(bytes);
	r.chains = calloc(setup->size, sizeof(*r.chains));
	r.over = calloc(ledger->entries, sizeof(*r.over));
	r.taken = calloc(ledger->entries, sizeof(*r.taken));
	r.named = calloc(setup->size, sizeof(*r.named));
	if (r.copy && r.chains && r.over && r.taken && r.named) {
		memcpy(r.copy, ledger->region, bytes);
		wrong = header_wrong(ledger, setup, r.copy);
		stand->says_nothing = !((const struct region_header *)r.copy)->version;
		if (!wrong && !stand->says_nothing)
			wrong = ledger_read(&r, stand);
		stand->lies = wrong && wrong != NO_MEMORY && wrong != TOO_SMALL;
	}
	free(r.copy);
	free(r.chains);
	free(r.over);
	free(r.taken);
	free(r.named);
	return wrong;
}

void ledger_stands(void *self, const struct ring *ring, uint32_t place)
{
	struct ring_ledger *ledger = self;

	if (ledger->begun)
		return;
	ledger->begun = true;
	ledger->counter = 0;
	if (ledger->is_packed)
		ledger_packed_begin(ledger, place);
	else
		ledger_split_begin(ledger, place);
}

struct ring_witness ring_ledger_witness(struct ring_ledger *ledger)
{
	return (struct ring_witness){ ledger->is_packed ? &ledger_packed_ops : &ledger_split_ops, ledger };
}
