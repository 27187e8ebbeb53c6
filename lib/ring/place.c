/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Where a packed ring stands, when nobody can say it: a front end whose back end was killed names the base that it told when
 * the ring was started (QEMU), or none at all. For devices that complete chains in the order in which they were made available;
 * then every descriptor behind our place has been used, and every one from there to the driver's place is available.
 *
 *	the driver's place	AVAIL is the wrap counter of the lap in which the driver wrote a descriptor last, used or not
 *				(2.8.1), so it changes where the driver stands
 *	our mark		the device event area holds how far we have shown chains: with DESC it is the place for
 *				which a kick was asked; else its offset means nothing to a driver, and is ours, lifted beyond
 *				all offsets (place_mark_lift()). It is written after each burst
 *	the last used one	looking back from the driver's place. A chain that took several descriptors has one used entry,
 *				and the rest of it looks available: where the mark is older than that entry, a list with the same
 *				buffer id behind it is taken for the rest only if the base says so, or the mark is still
 *				available: the driver waits there (IN_ORDER: always, one entry stands for many)
 *
 * Used entries are written into the ring before the first of their burst, which shows them: killed in between, a ring has used
 * descriptors behind an available one at our mark. What they have overwritten cannot be served again. The burst is shown with
 * nothing written in any of it: receive buffers come back empty, and no frame is made up.
 *
 * All of it is the driver's memory: a lie in it gives a wrong place in the driver's own ring.
 */

#include "ring/ring_internal.h"
#include <stdlib.h>

/* Places are counted back from the driver's: 0 is where it stands, `size` the oldest. */
struct place_look {
	const struct ring_setup *setup;
	struct packed_desc *descs;
	struct packed_desc *copy; /* the driver may be making more available */
	struct packed_place driver;
	uint32_t last_used; /* 0: none */
};

static uint16_t flags_of(const struct place_look *look, uint32_t pos)
{
	return le16(look->copy[pos].flags);
}

static bool avail_bit(const struct place_look *look, uint32_t pos)
{
	return flags_of(look, pos) & PACKED_DESC_AVAIL_MASK;
}

/*
 * The first and the last descriptor differ from all that lie between them: a chain of two is being added at the ring's end. Else it
 * would be one that takes the whole ring but for its last descriptor.
 */
static bool goes_round(const uint32_t *starts, uint32_t size)
{
	return starts[1] == 1 && starts[2] == size - 1 && size > 3;
}

/*
 * AVAIL changes once, where the driver stands. It changes oftener if the driver is just adding a chain, whose head it writes
 * last: then the head, a single descriptor that differs, is where it stands. False: this is no ring.
 */
static bool driver_find(struct place_look *look)
{
	uint32_t size = look->setup->size, starts[5] = { 0 }, count = 1, head;

	for (uint32_t i = 1; i < size; i++) {
		if (avail_bit(look, i) == avail_bit(look, i - 1))
			continue;
		if (count == 4)
			return false;
		starts[count++] = i;
	}
	starts[count] = size;
	look->driver = (struct packed_place){ .wrap = !avail_bit(look, 0) };
	if (count == 1)
		return true;
	look->driver = (struct packed_place){ .pos = (uint16_t)starts[1], .wrap = avail_bit(look, 0) };
	if (count == 2)
		return true;
	for (head = count == 3 && !goes_round(starts, size) ? 0 : 1; head < count; head++)
		if (starts[head + 1] - starts[head] == 1)
			break;
	if (head == count)
		return false;
	look->driver = (struct packed_place){ .pos = (uint16_t)starts[head], .wrap = !avail_bit(look, starts[head]) };
	return true;
}

static struct packed_place place_of(const struct place_look *look, uint32_t back)
{
	return place_back(look->driver, back, look->setup->size);
}

/* True, and how far back `place` lies: within the ring's length. */
static bool back_of(const struct place_look *look, struct packed_place place, uint32_t *ret_back)
{
	uint32_t size = look->setup->size;
	uint32_t there = look->driver.pos + (look->driver.wrap ? 0 : size), here = place.pos + (place.wrap ? 0 : size);
	uint32_t back = (there + 2 * size - here) % (2 * size);

	*ret_back = back;
	return place.pos < size && back <= size;
}

static uint16_t flags_at(const struct place_look *look, uint32_t back)
{
	return flags_of(look, place_of(look, back).pos);
}

static bool is_used(const struct place_look *look, uint32_t back)
{
	uint16_t flags = flags_at(look, back);

	return !(flags & PACKED_DESC_AVAIL_MASK) == !(flags & PACKED_DESC_USED_MASK);
}

static uint16_t id_at(const struct place_look *look, uint32_t back)
{
	return le16(look->copy[place_of(look, back).pos].id);
}

/* The last descriptor of the chain that begins there: its id counts. */
static uint32_t chain_last(const struct place_look *look, uint32_t back)
{
	while ((flags_at(look, back) & DESC_F_NEXT) && back > 1)
		back--;
	return back;
}

/*
 * Behind the chain, or the burst, for which the entry at `used` stands. `other`: the same if what follows, and has its id, is
 * a part of it. Neither goes past another used entry: who steps from one to the next looks at each descriptor a bounded number of times,
 * whatever the ring says.
 */
static uint32_t used_end(const struct place_look *look, uint32_t used, uint32_t *ret_other)
{
	bool in_order = look->setup->in_order;
	uint32_t back = used - 1;

	*ret_other = back;
	while (back && !is_used(look, back) && (in_order || !(flags_at(look, back) & DESC_F_INDIRECT))) {
		uint32_t last = chain_last(look, back);

		back = last - 1;
		if (id_at(look, last) == id_at(look, used))
			*ret_other = back;
		if (!in_order || id_at(look, last) == id_at(look, used))
			break;
	}
	return in_order ? *ret_other : used - 1;
}

/*
 * What we have left in the device event area. Where there is no lift, and kicks are turned off, who has done that meanwhile has left the place
 * for which we had asked for one (QEMU does, when it is about to look). At the ring's beginning that is 0, as programs leave it that poll and
 * never write it: `weak`.
 */
static bool mark_read(const struct place_look *look, uint32_t *ret_back, bool *ret_weak)
{
	const struct packed_event *event = look->setup->device;
	uint16_t off_wrap = le16(__atomic_load_n(&event->off_wrap, __ATOMIC_RELAXED));
	uint16_t word = le16(__atomic_load_n(&event->flags, __ATOMIC_RELAXED)), flags = word & PACKED_EVENT_FLAGS_MASK;
	uint32_t lift = place_mark_lift(look->setup->size);
	struct packed_place place = place_decode(off_wrap);

	*ret_weak = !off_wrap && flags == PACKED_EVENT_DISABLE;
	if (word == PACKED_EVENT_REST || (flags != PACKED_EVENT_DESC && place.pos >= lift))
		place.pos = (uint16_t)((place.pos - lift) & PACKED_EVENT_OFFSET_MASK);
	else if (flags != PACKED_EVENT_DESC && (flags != PACKED_EVENT_DISABLE || lift == 1))
		return false;
	return back_of(look, place, ret_back);
}

static packed_word *word_of(struct packed_desc *desc)
{
	return (packed_word *)&desc->len;
}

/*
 * One chain comes back with nothing written in it, whoever looks there. Not if its driver, who looks elsewhere, has begun to write another
 * one there by now: the flags are what it writes last.
 */
static void chain_return(const struct place_look *look, uint32_t head)
{
	struct packed_place place = place_of(look, head);
	struct packed_desc *desc = &look->descs[place.pos];
	uint64_t was = *word_of(&look->copy[place.pos]), id = id_at(look, chain_last(look, head));

	if (packed_is_available(flags_at(look, head), place.wrap) &&
	    __atomic_load_n(&desc->addr, __ATOMIC_RELAXED) == look->copy[place.pos].addr)
		__atomic_compare_exchange_n(word_of(desc), &was, le64(id << 32 | (uint64_t)packed_used_flags(place.wrap, 0) << 48),
					    false, __ATOMIC_RELEASE, __ATOMIC_RELAXED); /* pair USED */
}

/*
 * The burst from `mark` on is shown, and nothing has been written in it: its first chain, and whatever is available between that and
 * the last used entry. There is something where somebody else has used chains at a place of his own (QEMU 7.2 drops what a guest sends
 * while its back end is away, from the base on that it told last), maybe behind entries of the burst that are in the ring already.
 * Those are stepped over, with the rest of their chains. The first is the last to be written: until then a driver sees none.
 */
static void burst_return(const struct place_look *look, uint32_t mark)
{
	for (uint32_t back = mark - 1; back >= look->last_used; back--) {
		struct packed_desc *desc = &look->descs[place_of(look, back).pos];

		if (!is_used(look, back))
			continue;
		__atomic_store_n(&desc->len, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&desc->flags, le16((uint16_t)packed_used_flags(place_of(look, back).wrap, 0)), __ATOMIC_RELAXED);
	}
	for (uint32_t back = chain_last(look, mark) - 1, behind; back > look->last_used; back = behind) { /* behind < back */
		if (is_used(look, back)) {
			used_end(look, back, &behind);
		} else {
			chain_return(look, back);
			behind = chain_last(look, back) - 1;
		}
	}
	chain_return(look, mark);
}

/* The driver stands there, and has begun to: a used entry has a length only if something was written (2.8.4), and then it says so. */
static bool is_written_over(const struct place_look *look, uint32_t back)
{
	const struct packed_desc *desc = &look->copy[place_of(look, back).pos];

	return back == look->setup->size && desc->len && !(flags_at(look, back) & DESC_F_WRITE);
}

/*
 * The burst from `mark` on has been shown, and the mark was not written any more. Whatever is available between that burst and the last used
 * entry somebody else has passed over, as above, or it is the rest of a chain: no driver looks there. Where the driver is just
 * writing a new chain over the entry, it writes over the rest as well: what has the same id is left alone there.
 */
static void passed_return(const struct place_look *look, uint32_t mark)
{
	for (uint32_t back = mark, other; back > look->last_used;) {
		if (is_used(look, back)) {
			uint32_t end = used_end(look, back, &other);

			back = is_written_over(look, back) ? other : end;
		} else {
			chain_return(look, back);
			back = chain_last(look, back) - 1;
		}
	}
}

/* Is everything behind the mark used, and nothing in front of it? `end`, `other`: behind the last used entry, if there is one. */
static bool mark_fits(const struct place_look *look, uint32_t mark, uint32_t end, uint32_t other)
{
	if (look->last_used)
		return mark == end || mark == other;
	/* The driver may have written over a used entry, and not over the rest of its chain. */
	return mark == look->setup->size || look->setup->in_order || chain_last(look, look->setup->size) == mark + 1;
}

/*
 * Where it stands, counted back from the driver. Another program than this one leaves in the device event area what it likes,
 * as one does whose guest has been migrated to us. So where the ring agrees with the base, a mark that it contradicts is none.
 * A weak one says less than the base, and maybe names the rest of a chain: no used entry is emptied by it.
 */
static uint32_t place_choose(const struct place_look *look, struct packed_place base)
{
	uint32_t mark = 0, told = 0, end = look->setup->size, other = end;
	bool weak, marked = mark_read(look, &mark, &weak), agreed;

	if (look->last_used)
		end = used_end(look, look->last_used, &other);
	agreed = back_of(look, base, &told) && (told == end || told == other);
	if (marked && (!look->last_used || mark < look->last_used)) { /* nothing has been used since */
		bool fits = mark_fits(look, mark, end, other);

		if (agreed ? fits && !weak : fits || !weak)
			return mark;
		return agreed ? told : end;
	}
	if (marked && look->setup->keeps_order && (weak || is_used(look, mark))) {
		passed_return(look, mark);
	} else if (marked && look->setup->keeps_order) {
		burst_return(look, mark);
		end = other; /* the driver still waits at the mark, and has had no buffer id back to give it to another chain */
	}
	return agreed ? told : end; /* if nothing is used, all of it is available */
}

bool packed_place_find(const struct ring_setup *setup, struct packed_place base, struct packed_place *ret_place,
		       uint32_t *ret_waiting)
{
	struct place_look look = { .setup = setup, .descs = setup->desc };
	bool found;

	look.copy = calloc(setup->size, sizeof(*look.copy));
	if (!look.copy)
		return false;
	for (uint32_t i = 0; i < setup->size; i++) {
		*word_of(&look.copy[i]) = __atomic_load_n(word_of(&look.descs[i]), __ATOMIC_ACQUIRE);
		look.copy[i].addr = __atomic_load_n(&look.descs[i].addr, __ATOMIC_RELAXED);
	}
	found = driver_find(&look);
	if (found) {
		for (uint32_t back = 1; back <= setup->size && !look.last_used; back++)
			look.last_used = is_used(&look, back) ? back : 0;
		*ret_waiting = place_choose(&look, base);
		*ret_place = place_of(&look, *ret_waiting);
	}
	free(look.copy);
	return found;
}
