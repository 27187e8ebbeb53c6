/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * An entry is an address with two facts: it is wanted (at which port of the switch it is says for whom), and it is held, by the kernel. Where the two
 * differ it is in one of two lists, what is to be added and what is to be taken back, until bridge_table_take() has it told; then it is `sent`, and
 * in no list until it is answered, whatever is wanted meanwhile. An entry of which neither is true is none.
 *
 *	wanted  held
 *	  -      -      no entry
 *	  x      -      to be added; not again if the kernel has refused it, until it is looked at anew or has not been wanted in between
 *	  x      x      at rest
 *	  -      x      to be taken back; what cannot be is not there
 *
 * Bounds. No more than `max` are wanted, and none is added while as many are held: so what is to go goes first. An address for which there is no room
 * is left out, and a flag says so. There are twice as many entries, for those that are taken back.
 */

#include "bridge_table.h"
#include "base/queue.h"
#include "base/util.h"
#include "switch/scramble.h"
#include "switch/switch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SHARE_PART 8u
#define SHARE_LEAST 16u

#define WANTED 0x01u
#define HELD   0x02u
#define SENT   0x04u
#define FAILED 0x08u /* the kernel does not take it */
#define SEEN   0x10u /* in this walk */
#define TO_ADD  0x20u /* it is in that list */
#define TO_DROP 0x40u

struct entry {
	struct entry *next; /* in its chain, or free */
	TAILQ_ENTRY(entry) listed;
	struct bridge_address address;
	uint16_t port; /* if it is wanted */
	uint8_t is;
};

TAILQ_HEAD(entries, entry);

struct bridge_table {
	uint32_t max, share;
	uint32_t wanted, held, adding; /* adding: of those that are sent */
	bool refused, room, foreign;
	uint64_t seed;
	unsigned shift;
	struct entry **chains;
	struct entry *pool, *free;
	struct entries to_add, to_drop;
	uint32_t wanted_of[SW_PORTS_MAX];
};

uint32_t bridge_table_share(uint32_t max)
{
	uint32_t part = max / SHARE_PART;

	return part >= SHARE_LEAST ? part : min_u32(max, SHARE_LEAST);
}

static int storage_new(struct bridge_table *table)
{
	unsigned bits = 4;

	while (1u << bits < table->max)
		bits++;
	table->shift = 64 - bits;
	table->chains = calloc((size_t)1 << bits, sizeof(struct entry *));
	table->pool = calloc(2 * (size_t)table->max, sizeof(table->pool[0]));
	if (!table->chains || !table->pool)
		return -ENOMEM;
	for (uint32_t i = 0; i < 2 * table->max; i++) {
		table->pool[i].next = table->free;
		table->free = &table->pool[i];
	}
	return 0;
}

int bridge_table_new(uint32_t max, struct bridge_table **ret_table)
{
	struct bridge_table *table = calloc(1, sizeof(*table));
	int err;

	if (!table)
		return -ENOMEM;
	table->max = max;
	table->share = bridge_table_share(max);
	TAILQ_INIT(&table->to_add);
	TAILQ_INIT(&table->to_drop);
	if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) < 0)
		table->seed = (uintptr_t)table;
	table->seed &= SCRAMBLE_MASK;
	err = storage_new(table);
	if (err)
		bridge_table_free(table);
	else
		*ret_table = table;
	return err;
}

void bridge_table_free(struct bridge_table *table)
{
	if (!table)
		return;
	free(table->pool);
	free(table->chains);
	free(table);
}

/* ---- entries ---- */

static struct entry **chain_of(const struct bridge_table *table, const struct bridge_address *address)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < sizeof(address->mac); i++)
		number = number << 8 | address->mac[i];
	return &table->chains[scramble(number << 16 | (uint64_t)(address->vid & 0xfff) << 4, table->seed) >> table->shift];
}

static bool same(const struct bridge_address *a, const struct bridge_address *b)
{
	return a->vid == b->vid && !memcmp(a->mac, b->mac, sizeof(a->mac));
}

static struct entry *find(const struct bridge_table *table, const struct bridge_address *address)
{
	struct entry *entry = *chain_of(table, address);

	while (entry && !same(&entry->address, address))
		entry = entry->next;
	return entry;
}

/* NULL: there is no room. */
static struct entry *find_or_make(struct bridge_table *table, const struct bridge_address *address)
{
	struct entry *entry = find(table, address), **chain = chain_of(table, address);

	if (entry || !table->free)
		return entry;
	entry = table->free;
	table->free = entry->next;
	*entry = (struct entry){.address = *address, .next = *chain};
	*chain = entry;
	return entry;
}

static void drop(struct bridge_table *table, struct entry *entry)
{
	struct entry **at = chain_of(table, &entry->address);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	entry->next = table->free;
	table->free = entry;
}

static void unlist(struct bridge_table *table, struct entry *entry)
{
	if (entry->is & TO_ADD)
		TAILQ_REMOVE(&table->to_add, entry, listed);
	if (entry->is & TO_DROP)
		TAILQ_REMOVE(&table->to_drop, entry, listed);
	entry->is &= (uint8_t)~(TO_ADD | TO_DROP);
}

/* Puts an entry that has changed into the list where it belongs, or away. */
static void settle(struct bridge_table *table, struct entry *entry)
{
	unlist(table, entry);
	if (entry->is & SENT)
		return;
	if (!(entry->is & (WANTED | HELD))) {
		drop(table, entry);
		return;
	}
	if ((entry->is & (WANTED | HELD | FAILED)) == WANTED) {
		TAILQ_INSERT_TAIL(&table->to_add, entry, listed);
		entry->is |= TO_ADD;
	} else if ((entry->is & (WANTED | HELD)) == HELD) {
		TAILQ_INSERT_TAIL(&table->to_drop, entry, listed);
		entry->is |= TO_DROP;
	}
}

static void held_set(struct bridge_table *table, struct entry *entry, bool held)
{
	if (!(entry->is & HELD) == !held)
		return;
	entry->is ^= HELD;
	table->held += held ? 1 : UINT32_MAX;
}

static void unwant(struct bridge_table *table, struct entry *entry)
{
	if (!(entry->is & WANTED))
		return;
	entry->is &= (uint8_t)~(WANTED | FAILED);
	table->wanted--;
	table->wanted_of[entry->port]--;
	table->room |= table->refused;
}

/* ---- what is wanted ---- */

static bool may_want(const struct bridge_table *table, unsigned port)
{
	return table->wanted < table->max && table->wanted_of[port] < table->share;
}

static void want_at(struct bridge_table *table, struct entry *entry, unsigned port)
{
	if (entry->is & WANTED && entry->port == port)
		return;
	if (entry->is & WANTED) { /* moved: what the kernel has refused is not tried again for that */
		table->wanted--;
		table->wanted_of[entry->port]--;
	}
	if (!may_want(table, port)) {
		entry->is &= (uint8_t)~(WANTED | FAILED);
		table->refused = true;
		return;
	}
	entry->is |= WANTED;
	entry->port = (uint16_t)port;
	table->wanted++;
	table->wanted_of[port]++;
}

void bridge_table_want(struct bridge_table *table, const struct bridge_address *address, int port)
{
	struct entry *entry = find(table, address);

	if (!entry && port >= 0 && may_want(table, (unsigned)port))
		entry = find_or_make(table, address);
	if (!entry) {
		table->refused |= port >= 0;
		return;
	}
	if (port >= 0)
		want_at(table, entry, (unsigned)port);
	else
		unwant(table, entry);
	entry->is |= SEEN;
	settle(table, entry);
}

/* Entries that are not there have no address, and so none of them is WANTED. */
static void each(struct bridge_table *table, void (*fn)(struct bridge_table *table, struct entry *entry))
{
	struct entry *entry, *next;

	for (uint32_t i = 0; i < 1u << (64 - table->shift); i++) {
		for (entry = table->chains[i]; entry; entry = next) {
			next = entry->next;
			fn(table, entry);
		}
	}
}

static void unsee(struct bridge_table *table, struct entry *entry)
{
	entry->is &= (uint8_t)~SEEN;
}

static void unwant_unseen(struct bridge_table *table, struct entry *entry)
{
	if (entry->is & SEEN)
		return;
	unwant(table, entry);
	settle(table, entry);
}

void bridge_table_walk_begin(struct bridge_table *table)
{
	each(table, unsee);
	table->refused = false;
	table->room = false;
}

void bridge_table_walk_end(struct bridge_table *table)
{
	each(table, unwant_unseen);
}

void bridge_table_want_none(struct bridge_table *table)
{
	bridge_table_walk_begin(table);
	bridge_table_walk_end(table);
}

/* ---- what the kernel has ---- */

static void take(struct bridge_table *table, struct entry *entry, struct bridge_change *ret_change)
{
	*ret_change = (struct bridge_change){.address = entry->address, .add = entry->is & TO_ADD};
	unlist(table, entry);
	entry->is |= SENT;
	table->adding += ret_change->add;
}

unsigned bridge_table_take(struct bridge_table *table, struct bridge_change *changes, unsigned max)
{
	unsigned count = 0;

	while (count < max && !TAILQ_EMPTY(&table->to_drop))
		take(table, TAILQ_FIRST(&table->to_drop), &changes[count++]);
	while (count < max && !TAILQ_EMPTY(&table->to_add) && table->held + table->adding < table->max)
		take(table, TAILQ_FIRST(&table->to_add), &changes[count++]);
	return count;
}

void bridge_table_answer(struct bridge_table *table, const struct bridge_change *change, int err)
{
	struct entry *entry = find(table, &change->address);

	if (!entry || !(entry->is & SENT))
		return;
	entry->is &= (uint8_t)~SENT;
	table->adding -= change->add;
	if (change->add && err && entry->is & WANTED)
		entry->is |= FAILED;
	held_set(table, entry, change->add && !err);
	settle(table, entry);
}

static void unhold(struct bridge_table *table, struct entry *entry)
{
	held_set(table, entry, false);
	entry->is &= (uint8_t)~FAILED;
	unlist(table, entry);
}

void bridge_table_look_begin(struct bridge_table *table)
{
	each(table, unhold);
	table->foreign = false;
}

void bridge_table_found(struct bridge_table *table, const struct bridge_address *address)
{
	struct entry *entry = find_or_make(table, address);

	if (entry)
		held_set(table, entry, true);
	table->foreign |= !entry;
}

void bridge_table_found_more(struct bridge_table *table)
{
	table->foreign = true;
}

void bridge_table_look_end(struct bridge_table *table)
{
	each(table, settle);
}

struct bridge_table_state bridge_table_state(const struct bridge_table *table)
{
	return (struct bridge_table_state){
		.wanted = table->wanted,
		.held = table->held,
		.refused = table->refused,
		.room = table->room,
		.foreign = table->foreign,
	};
}
