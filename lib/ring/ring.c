/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A ring walks through four positions, each catching up with the one before it:
 *
 *	available (the driver's) >= popped >= pushed >= published
 *
 * pop reads chains from "available" and moves "popped"; unpop moves it back. push writes used entries where
 * the driver does not look yet; publish shows them all at once. What lies between published and popped is in
 * flight: the driver must not reuse it, and a driver that makes more available than the ring has room for
 * beyond what was published is lying.
 *
 * Nothing that the driver writes is trusted: every field is read once, the copy is checked, and a broken rule
 * breaks the ring for ever. Chains that came before the bad one in the same burst are still returned; the
 * next pop tells. A broken ring writes nothing to guest memory any more.
 *
 * Kicks are on when a ring is new. While they are on, a pop that returns 0 has asked the driver for a kick
 * for the very next chain (with EVENT_IDX that has to be asked anew each time), so "pop until 0, then sleep"
 * loses nothing.
 *
 * IN_ORDER (2.7.9, 2.8.7): one used entry, where the burst begins, stands for a burst of read-only chains.
 * Bursts with writable chains get an entry each from the first writable chain on: drivers want to know each
 * length.
 *
 * A ring that has a witness (witness.h) goes through witness.c, one that is logged through log.c as well; `special` says so, and that it
 * is broken: one test for all.
 *
 * The format is looked at here, once per call; split.c, and packed.c with packed_used.c, know one format each, lay.c what they share: a
 * chain's pieces.
 */

#include "ring/quad.h"
#include <stdlib.h>
#include <string.h>

struct ring_area ring_area_bytes(bool packed, uint32_t size)
{
	if (packed)
		return (struct ring_area){
			.desc_bytes = packed_desc_bytes(size),
			.driver_bytes = sizeof(struct packed_event),
			.device_bytes = sizeof(struct packed_event),
		};
	return (struct ring_area){
		.desc_bytes = split_desc_bytes(size),
		.driver_bytes = split_avail_bytes(size),
		.device_bytes = split_used_bytes(size),
	};
}

static bool aligned(const void *at, uintptr_t align)
{
	return at && ((uintptr_t)at & (align - 1)) == 0;
}

_Static_assert(SPLIT_DESC_ALIGN == PACKED_DESC_ALIGN && SPLIT_USED_ALIGN == PACKED_EVENT_ALIGN,
	       "one check for both");

const char *ring_setup_wrong(const struct ring_setup *s)
{
	if (s->size < 1 || s->size > RING_SIZE_MAX)
		return "queue size not in 1..32768";
	if (!s->packed && (s->size & (s->size - 1)))
		return "size of a split queue is not a power of two";
	if (!aligned(s->desc, SPLIT_DESC_ALIGN))
		return "descriptor area misaligned";
	if (!aligned(s->driver, s->packed ? PACKED_EVENT_ALIGN : SPLIT_AVAIL_ALIGN))
		return "driver area misaligned";
	if (!aligned(s->device, SPLIT_USED_ALIGN))
		return "device area misaligned";
	if (!s->packed && s->base > UINT16_MAX)
		return "base beyond 16 bits";
	if (s->packed && ((s->base & 0x7fff) >= s->size || (s->base >> 16 & 0x7fff) >= s->size))
		return "base beyond the queue's size";
	return NULL;
}

/* Can the driver have made available what it has if it saw us last at `place`? */
static bool split_fits(const struct split_state *s, uint32_t size, uint16_t place)
{
	uint16_t idx = le16(__atomic_load_n(&s->avail->idx, __ATOMIC_RELAXED));

	return (uint16_t)(idx - place) <= size;
}

/*
 * The used index is where the driver saw us last, and only memory knows it: a peer that lost its back end may
 * name a base that is older or newer. What lies between the two was in flight and is popped again. But memory may be older
 * than the ring: a driver that sets one up has not always cleared it.
 */
static void split_look_back(struct ring *ring, const struct ring_setup *setup)
{
	struct split_state *s = &ring->split;
	uint16_t base = (uint16_t)setup->base;

	s->published = le16(__atomic_load_n(&s->used->idx, __ATOMIC_RELAXED));
	if (s->published != base)
		ring->remark = "the used index in memory is another one: what was in flight there is taken again";
	if (s->published != base && !split_fits(s, setup->size, s->published) && split_fits(s, setup->size, base)) {
		ring->remark = "the used index in memory was left there by something else";
		s->published = base;
		__atomic_store_n(&s->used->idx, le16(base), __ATOMIC_RELAXED);
	}
}

static void split_start(struct ring *ring, const struct ring_setup *setup, const struct ring_stand *stand)
{
	struct split_state *s = &ring->split;

	s->desc = setup->desc;
	s->avail = setup->driver;
	s->used = setup->device;
	if (stand->known)
		s->published = (uint16_t)stand->place;
	else
		split_look_back(ring, setup);
	s->next_avail = s->avail_seen = s->fetched = s->next_used = s->published;
}

/* Only a ring that carries nothing does not show where it stands; and it stands anywhere. */
static void packed_look(struct ring *ring, const struct ring_setup *setup)
{
	struct packed_state *p = &ring->packed;
	struct packed_place base = p->used;
	uint32_t waiting;

	if (!packed_place_find(setup, base, &p->used, &waiting))
		ring->remark = "what lies in it is no packed ring";
	else if (!place_equal(p->used, base) || (setup->base >> 16 && setup->base >> 16 != (setup->base & UINT16_MAX)))
		ring->remark = "what has been used in it, and what is available, says so";
}

/*
 * Both halves of the base name the same place unless chains were lost in flight: then the used one counts, as
 * above. Some front ends leave the used half zero; that is no place of its own.
 */
static void packed_start(struct ring *ring, const struct ring_setup *setup, const struct ring_stand *stand)
{
	struct packed_state *p = &ring->packed;
	uint32_t half = setup->base >> 16 ? setup->base >> 16 : setup->base;

	p->desc = setup->desc;
	p->driver = setup->driver;
	p->device = setup->device;
	p->used = place_decode(stand->known ? stand->place : half);
	if (!stand->known && !setup->sure)
		packed_look(ring, setup);
	p->avail = p->first = p->used;
	p->shown = place_encode(p->used);
}

/*
 * A front end that knows split rings alone names base 0 for a new ring of either format, and its driver may have accepted packed
 * ones all the same (User-mode Linux). Such a ring has chains from its beginning on, and behind them nothing has ever been written:
 * what a device has used has a length there, and what a driver has made available has an address. An id says nothing (DPDK's).
 */
static bool packed_is_new(const struct ring_setup *setup, struct packed_place found, uint32_t waiting)
{
	const struct packed_desc *descs = setup->desc;

	if (setup->base || !place_equal(found, place_decode(RING_BASE_PACKED_NEW)))
		return false;
	for (uint32_t i = waiting; i < setup->size; i++)
		if (__atomic_load_n(&descs[i].addr, __ATOMIC_RELAXED) || __atomic_load_n(&descs[i].len, __ATOMIC_RELAXED))
			return false;
	return true;
}

/* Whether chains may have been in flight that nothing tells apart from those that wait. */
enum ring_doubt {
	RING_CERTAIN,
	RING_WAITING, /* the ring stands at the base, and chains wait there: in doubt, but for what the witness knows, or a mark of rest says */
	RING_IN_DOUBT,
};

static enum ring_doubt packed_doubt(const struct ring_setup *setup)
{
	struct packed_place begin = place_decode(RING_BASE_PACKED_NEW), base = place_decode(setup->base >> 16), place;
	uint32_t waiting;

	if (!packed_place_find(setup, base, &place, &waiting))
		return RING_IN_DOUBT;
	if (packed_is_new(setup, place, waiting))
		return RING_CERTAIN;
	if (!place_equal(place, base))
		return RING_IN_DOUBT;
	return waiting && !place_equal(place, begin) ? RING_WAITING : RING_CERTAIN;
}

static enum ring_doubt split_doubt(const struct ring_setup *setup)
{
	const struct split_avail *avail = setup->driver;
	const struct split_used *used = setup->device;
	uint16_t idx = le16(__atomic_load_n(&used->idx, __ATOMIC_RELAXED));

	if (idx != setup->base)
		return RING_IN_DOUBT;
	return idx && idx != le16(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) ? RING_WAITING : RING_CERTAIN;
}

static enum ring_doubt ring_doubt(const struct ring_setup *setup, const struct ring_stand *stand)
{
	enum ring_doubt doubt;

	if (setup->keeps_order || setup->sure || stand->known)
		return RING_CERTAIN;
	doubt = setup->packed ? packed_doubt(setup) : split_doubt(setup);
	if (doubt == RING_WAITING && rest_found(setup, setup->packed ? setup->base >> 16 : setup->base))
		return RING_CERTAIN;
	return doubt;
}

static struct ring *ring_alloc(const struct ring_setup *setup, const struct ring_stand *stand)
{
	size_t order_bytes = setup->in_order ? setup->size * sizeof(uint16_t) : 0;
	/* Whole cache lines: rings of different workers do not share one. */
	struct ring *ring = aligned_alloc(64, (sizeof(*ring) + order_bytes + 63) / 64 * 64);

	if (!ring)
		return NULL;
	memset(ring, 0, sizeof(*ring) + order_bytes);
	ring->held = stand->held;
	if (setup->witness.ops && !stand->held)
		ring->held = ring->held_room = calloc(setup->size, sizeof(*ring->held));
	if (!setup->witness.ops || ring->held)
		return ring;
	free(ring);
	return NULL;
}

static void ring_begin(struct ring *ring, const struct ring_setup *setup, const struct ring_stand *stand)
{
	ring->map = setup->map;
	ring->size = setup->size;
	ring->is_packed = setup->packed;
	ring->indirect = setup->indirect;
	ring->event_idx = setup->event_idx;
	ring->in_order = ring->merge = setup->in_order;
	ring->signal_next = setup->event_idx;
	ring->lazy = setup->lazy;
	ring->witness = setup->witness;
	ring->special = setup->witness.ops ? RING_WITNESSED : 0;
	ring->publish_specially = true; /* the first time */
	ring->quads = !setup->plain && ring_quads_supported();
	if (setup->packed)
		packed_start(ring, setup, stand);
	else
		split_start(ring, setup, stand);
	rest_end(ring, setup);
	witness_start(ring, stand);
	ring_kick_enable(ring, true);
}

int ring_new(const struct ring_setup *setup, struct ring **ret_ring, const char **why)
{
	const char *wrong = ring_setup_wrong(setup);
	struct ring_stand stand = { 0 };
	enum ring_doubt doubt = RING_CERTAIN;
	struct ring *ring = NULL;
	bool believed;

	assert(setup->map);
	if (!wrong)
		wrong = witness_begin(setup, &stand);
	if (!wrong)
		doubt = ring_doubt(setup, &stand);
	believed = doubt == RING_WAITING && setup->region_kept && stand.says_nothing;
	if (doubt != RING_CERTAIN && !believed)
		wrong = "chains were in flight, and nothing tells which: the device completes them in any order; reset it";
	if (!wrong)
		ring = ring_alloc(setup, &stand);
	if (ring) {
		ring_begin(ring, setup, &stand);
		ring->base_believed = believed;
		*ret_ring = ring;
		return 0;
	}
	free(stand.owed);
	free(stand.owed_descs);
	*why = wrong ? wrong : "out of memory";
	if (stand.lies)
		return -EPROTO;
	return wrong ? -EINVAL : -ENOMEM;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	free(ring->held_room);
	free(ring->owed);
	free(ring->owed_descs);
	free(ring);
}

__cold int ring_break(struct ring *ring, const char *why)
{
	if (!ring->error)
		ring->error = why;
	ring_special_set(ring, RING_BROKEN);
	return -EPROTO;
}

struct map *ring_map_offer(struct ring *ring, struct map *map)
{
	/* Pairs with ring_map_take(): the new map is seen there as a whole, and its last look at the old one has been before. */
	return __atomic_exchange_n(&ring->map_offered, map, __ATOMIC_ACQ_REL);
}

/* Pairs with ring_map_take(): the ring's last look at the map before has been. */
bool ring_map_taken(const struct ring *ring)
{
	return !__atomic_load_n(&ring->map_offered, __ATOMIC_ACQUIRE);
}

/* The caches hold indexes, which mean nothing now: each is checked when it is used. */
__cold bool ring_map_take(struct ring *ring)
{
	struct map *map = __atomic_exchange_n(&ring->map_offered, NULL, __ATOMIC_ACQ_REL);

	if (map)
		ring->map = map;
	return map;
}

static int ring_pop_plainly(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov, unsigned iov_max)
{
	return ring->is_packed ? packed_pop(ring, chains, max, iov, iov_max)
			       : split_pop(ring, chains, max, iov, iov_max);
}

/* Apart from ring_pop(), which so needs no register to be saved. */
static __attribute__((noinline)) int ring_pop_specially(struct ring *ring, struct vireo_chain *chains, unsigned max,
							struct iovec *iov, unsigned iov_max)
{
	uint32_t armed;
	int done;

	if (__atomic_load_n(&ring->map_offered, __ATOMIC_RELAXED))
		ring_map_take(ring);
	if (!ring_special(ring))
		return ring_pop_plainly(ring, chains, max, iov, iov_max);
	if (ring->error)
		return -EPROTO;
	ring_log_take(ring);
	armed = log_armed(ring);
	if (ring->witness.ops)
		done = witness_pop(ring, chains, max, iov, iov_max);
	else
		done = ring_pop_plainly(ring, chains, max, iov, iov_max);
	if (ring->log && log_armed(ring) != armed)
		log_kick_enabled(ring);
	return done;
}

int ring_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov, unsigned iov_max)
{
	if (unlikely(__atomic_load_n(&ring->map_offered, __ATOMIC_RELAXED)) || unlikely(ring_special(ring)))
		return ring_pop_specially(ring, chains, max, iov, iov_max);
	return ring_pop_plainly(ring, chains, max, iov, iov_max);
}

bool ring_misses_next(struct ring *ring)
{
	bool misses = ring->misses;

	ring->misses = false;
	return misses;
}

uint64_t ring_missed(const struct ring *ring)
{
	return ring->miss_gpa;
}

bool ring_missed_write(const struct ring *ring)
{
	return ring->miss_write;
}

void ring_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	assert(count <= ring->outstanding);
	ring->outstanding -= count;
	if (unlikely(ring_special(ring)) && ring->witness.ops) {
		unsigned owed = witness_unpop(ring, chains, count);

		chains += owed;
		count -= owed;
	}
	if (ring->is_packed)
		packed_unpop(ring, chains, count);
	else
		split_unpop(ring, count);
}

/* False: split.c or packed.c takes them. */
static bool ring_push_specially(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
				unsigned count)
{
	if (ring->error)
		return true;
	ring_log_take(ring);
	if (ring->log)
		log_pushed(ring, chains, written_bytes, count);
	if (ring->witness.ops)
		witness_push(ring, chains, written_bytes, count);
	return ring->witness.ops;
}

void ring_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
	       unsigned count)
{
	assert(ring->outstanding >= count);
	ring->outstanding -= count;
	if (unlikely(ring_special(ring)) && ring_push_specially(ring, chains, written_bytes, count))
		return;
	ring->staged += count;
	if (ring->is_packed)
		packed_push(ring, chains, written_bytes, count);
	else
		split_push(ring, chains, written_bytes, count);
}

static inline enum ring_signal ring_show(struct ring *ring)
{
	ring->staged = 0;
	ring->merge = ring->in_order;
	return ring->is_packed ? packed_publish(ring) : split_publish(ring);
}

static enum ring_signal ring_publish_specially(struct ring *ring)
{
	bool passed, first = ring->signal_next, later = ring_special(ring) & RING_LATER;
	uint32_t from = log_place(ring);

	if (ring->error)
		return RING_QUIET;
	ring_log_take(ring);
	ring->signal_next = false;
	ring->carried = true;
	ring->publish_specially = false;
	passed = ring->witness.ops ? witness_publish(ring) : ring_show(ring) == RING_SIGNAL;
	if (ring->log)
		log_shown(ring, from);
	if (!later)
		return passed || first ? RING_SIGNAL : RING_QUIET;
	later_shown(ring, from, first);
	return RING_SIGNAL_LATER;
}

enum ring_signal ring_publish(struct ring *ring)
{
	if (!ring->staged)
		return RING_QUIET;
	if (unlikely(ring_special(ring) || ring->publish_specially))
		return ring_publish_specially(ring);
	return ring_show(ring);
}

static bool ring_kick_enable_specially(struct ring *ring, bool on)
{
	bool more;

	if (ring->error)
		return on; /* "pop again", which will tell */
	ring_log_take(ring);
	more = ring->is_packed ? packed_kick_enable(ring, on) : split_kick_enable(ring, on);
	if (ring->log)
		log_kick_enabled(ring);
	return more || (on && witness_owes(ring));
}

bool ring_kick_enable(struct ring *ring, bool on)
{
	ring->kick_on = on;
	if (unlikely(ring_special(ring)))
		return ring_kick_enable_specially(ring, on);
	return ring->is_packed ? packed_kick_enable(ring, on) : split_kick_enable(ring, on);
}

unsigned ring_available(struct ring *ring)
{
	if (unlikely(ring_special(ring)) && (ring->error || witness_owes(ring)))
		return 1; /* as above, or come for what is owed */
	return ring->is_packed ? packed_available(ring) : split_available(ring);
}

bool ring_awaits_signal(const struct ring *ring)
{
	return ring->error || (ring->is_packed ? packed_awaits_signal(ring) : split_awaits_signal(ring));
}

void ring_expect(const struct ring *ring)
{
	const struct split_state *s = &ring->split;

	if (ring->is_packed) {
		__builtin_prefetch(&ring->packed.desc[ring->packed.avail.pos]);
		return;
	}
	__builtin_prefetch(&s->avail->idx);
	__builtin_prefetch(&s->avail->ring[s->next_avail & (ring->size - 1)]);
}

uint32_t ring_base(const struct ring *ring)
{
	assert(ring->error || (!ring->outstanding && !ring->staged));
	if (ring->is_packed)
		return place_encode(ring->packed.avail) | place_encode(ring->packed.used) << 16;
	return ring->split.next_avail;
}

unsigned ring_owes(const struct ring *ring)
{
	return ring->owed_count - ring->owed_next;
}

const char *ring_error(const struct ring *ring)
{
	return ring->error;
}

const char *ring_remark(const struct ring *ring)
{
	return ring->remark;
}

bool ring_base_believed(const struct ring *ring)
{
	return ring->base_believed;
}

bool ring_carried(const struct ring *ring)
{
	return ring->carried;
}
