/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROVE_LEDGER_H
#define PROVE_LEDGER_H

/*
 * The ledger of both formats, and what has to hold of what a successor is told.
 *
 * Stub: qsort() is a simple sort.
 */

#include "prove.h"
#include <errno.h>

static void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *));
#define qsort sort

/* The tool loses sight of a pointer in a union: here they are three, and all are set. */
#define union struct
#include "ring/ledger.c"
#undef union
#include "ring/ledger_packed.c"
#define ledger_popped	split_popped
#define ledger_unpopped split_unpopped
#define ledger_showing	split_showing
#define ledger_shown	split_shown
#include "ring/ledger_split.c"
#undef ledger_popped
#undef ledger_unpopped
#undef ledger_showing
#undef ledger_shown

static void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *))
{
	struct ledger_chain *chains = base;

	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k && by_counter(&chains[k - 1], &chains[k]) > 0; k--) {
			struct ledger_chain other = chains[k];

			chains[k] = chains[k - 1];
			chains[k - 1] = other;
		}
}

static bool *zeroes(uint32_t count)
{
	bool *at = calloc(count, sizeof(*at));

	assume(at != NULL);
	return at;
}

/* None twice, none beyond the ring, each with descriptors that are there. */
static void look_at_owed(const struct ring_setup *setup, const struct ring_stand *stand)
{
	uint32_t span = 0;

	assert(stand->owed_count <= setup->size);
	for (uint32_t i = 0; i < stand->owed_count; i++) {
		const struct ring_owed *owed = &stand->owed[i];

		assert(owed->id < setup->size && owed->span && owed->first == span);
		span += owed->span;
		for (uint32_t k = 0; k < i; k++)
			assert(stand->owed[k].id != owed->id);
		if (setup->packed)
			assert(__CPROVER_r_ok(stand->owed_descs + owed->first, owed->span * sizeof(struct packed_desc)));
	}
	assert(span <= setup->size);
}

/* As ledger_begin() has them. */
static void lists_for(struct ledger_reading *r)
{
	r->chains = any_bytes(r->setup->size * sizeof(*r->chains));
	r->over = zeroes(r->ledger->entries);
	r->taken = zeroes(r->ledger->entries);
	r->named = zeroes(r->setup->size);
}

#endif
