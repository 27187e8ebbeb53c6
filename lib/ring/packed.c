/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The packed virtqueue (virtio 1.3, 2.8), device side: what the driver makes available. Positions are places on a line that
 * goes round the ring; the wrap counter tells one lap from the next. Driver and device write into the same descriptors, so
 * what is in flight is counted: a descriptor that looks available but is still ours is a lie.
 *
 * packed_used.c is the other half: used entries, signals and kicks.
 */

#include "ring/lay.h"
#include "ring/order.h"
#include "ring/quad.h"

#define DESCS_PER_LINE 4u
#define FETCH_MAX	32u

/* The rest of a descriptor whose flags have been read: each field once. */
static inline struct ring_desc packed_read(const struct packed_desc *desc, uint16_t flags)
{
	return (struct ring_desc){
		.addr = le64(__atomic_load_n(&desc->addr, __ATOMIC_RELAXED)),
		.len = le32(__atomic_load_n(&desc->len, __ATOMIC_RELAXED)),
		.mid = le16(__atomic_load_n(&desc->id, __ATOMIC_RELAXED)),
		.tail = flags,
	};
}

/*
 * All of the table's entries in a row; of their flags only WRITE counts, the others are ignored (2.8.8). Made twice: a call costs
 * 1 % of what pops.
 */
__attribute__((always_inline)) static inline int packed_lay_table(struct ring *ring, struct ring_pieces *p,
								  const struct ring_desc *named)
{
	uint64_t usable = 0;
	const uint8_t *table;
	uint32_t count;
	int err = ring_table_check(ring, named->len, &count);

	if (unlikely(err))
		return err;
	table = map_gpa(ring->map, &ring->tables, named->addr, &usable);
	for (uint32_t i = 0; i < count; i++) {
		struct ring_desc d;

		if (likely(table && usable >= named->len))
			d = ring_desc_read(table + i * sizeof(struct packed_desc));
		else if ((err = ring_table_read(ring, named->addr, i, &d)))
			return err;
		err = ring_lay(ring, p, d.addr, d.len, d.tail & DESC_F_WRITE);
		if (unlikely(err))
			return err;
	}
	return 0;
}

/*
 * A list of direct descriptors from *d at `at` on (2.8.6); *d ends as the last one, whose id counts. The head
 * was made available last, so all the others are there already, with flags of their own lap.
 */
static int packed_lay_list(struct ring *ring, struct ring_pieces *p, struct packed_place at,
			   struct ring_desc *d, uint16_t *ret_span)
{
	uint32_t room = ring->size - ring->packed.in_flight, span = 1;

	for (;; span++) {
		const struct packed_desc *desc;
		int err = ring_lay(ring, p, d->addr, d->len, d->tail & DESC_F_WRITE);
		uint16_t flags;

		if (unlikely(err))
			return err;
		if (!(d->tail & DESC_F_NEXT))
			break;
		if (unlikely(span == room))
			return ring_break(ring, "chain longer than the queue has room for");
		at = place_forward(at, 1, ring->size);
		desc = &ring->packed.desc[at.pos];
		flags = le16(__atomic_load_n(&desc->flags, __ATOMIC_RELAXED));
		if (unlikely(!packed_is_available(flags, at.wrap)))
			return ring_break(ring, "chain goes on in a descriptor that is not available");
		if (unlikely(flags & DESC_F_INDIRECT))
			return ring_break(ring, "indirect descriptor in a list of direct ones");
		*d = packed_read(desc, flags);
	}
	*ret_span = (uint16_t)span;
	return 0;
}

/* The long way: several descriptors, several regions, or something wrong. */
static int packed_chain_slowly(struct ring *ring, struct ring_desc *d, struct vireo_chain *chain,
			       struct iovec *iov, unsigned room)
{
	struct ring_pieces p = ring_pieces_of(iov, room);
	uint16_t flags = d->tail;
	int err;

	if (!(flags & DESC_F_INDIRECT))
		err = packed_lay_list(ring, &p, ring->packed.avail, d, &chain->span);
	else if (!(flags & DESC_F_NEXT))
		err = packed_lay_table(ring, &p, d);
	else
		err = ring_break(ring, "descriptor with both INDIRECT and NEXT");
	return unlikely(err) ? err : ring_pieces_finish(ring, &p, iov, chain);
}

/*
 * The lines of the next descriptors, a burst's worth. Not of those beyond: the driver may be writing them just now, and
 * would have to fetch them back.
 */
static inline void packed_fetch(const struct ring *ring, unsigned count)
{
	const struct packed_desc *descs = ring->packed.desc;
	uint32_t pos = ring->packed.avail.pos, size = ring->size;

	count = min_u32(min_u32(count, FETCH_MAX), size);
	for (unsigned i = 0; i < count; i += DESCS_PER_LINE, pos += DESCS_PER_LINE)
		__builtin_prefetch(&descs[pos < size ? pos : pos - size]);
}

/* Why laying usual chains has come to an end. */
enum packed_end {
	PACKED_FULL,	/* no room for more */
	PACKED_EMPTY,	/* the next one is not there */
	PACKED_UNUSUAL, /* the next one needs the long way */
};

static inline bool packed_is_there(uint64_t rest, unsigned wanted)
{
	return !((rest >> 48 ^ wanted) & (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK));
}

/*
 * Length, id and flags, as they lie there. In one load, which is single-copy atomic: with the flags of this lap comes
 * what the driver wrote before them. By C's rules the driver's plain stores race with it as long as the flags are old.
 */
static inline uint64_t packed_load(const struct packed_desc *desc, unsigned wanted)
{
	uint64_t flags;

	if (!RING_TSAN)
		return le64(__atomic_load_n((const packed_word *)&desc->len, __ATOMIC_ACQUIRE)); /* pair AVAIL */
	flags = (uint64_t)le16(__atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE)) << 48;
	if (!packed_is_there(flags, wanted))
		return flags;
	return flags | (uint64_t)le16(__atomic_load_n(&desc->id, __ATOMIC_RELAXED)) << 32 |
	       le32(__atomic_load_n(&desc->len, __ATOMIC_RELAXED));
}

/* A descriptor that was read, its second word as it lies there: PACKED_FULL: it has been laid. */
static inline enum packed_end packed_lay_single(const struct ring *ring, const struct ring_window *window,
						uint64_t addr, uint64_t rest, unsigned wanted,
						struct vireo_chain *chain, struct iovec *iov)
{
	unsigned flags = (unsigned)(rest >> 48);
	uint16_t id = (uint16_t)(rest >> 32);

	if (!packed_is_there(rest, wanted))
		return PACKED_EMPTY;
	if (unlikely(flags & (DESC_F_NEXT | DESC_F_INDIRECT)) || unlikely(id >= ring->size) ||
	    !ring_lay_single(window, addr, (uint32_t)rest, flags & DESC_F_WRITE, id, chain, iov))
		return PACKED_UNUSUAL;
	return PACKED_FULL;
}

/*
 * The usual chains: one direct descriptor each, all in the region that was hit last. Stops at the first that is not
 * (not there, or not usual). Returns how many were laid.
 */
static inline unsigned packed_lay_singles(const struct ring *ring, struct packed_place at, struct vireo_chain *chains,
					  unsigned count, struct iovec *iov, enum packed_end *ret_end)
{
	const struct ring_window window = ring_window_of(ring);
	const struct packed_desc *descs = ring->packed.desc;
	uint32_t pos = at.pos, size = ring->size;
	unsigned wanted = at.wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK, done;

	*ret_end = PACKED_FULL;
	for (done = 0; done < count; done++) {
		const struct packed_desc *desc = &descs[pos];
		uint64_t rest = packed_load(desc, wanted), addr = 0;

		if (packed_is_there(rest, wanted))
			addr = le64(__atomic_load_n(&desc->addr, __ATOMIC_RELAXED));
		*ret_end = packed_lay_single(ring, &window, addr, rest, wanted, &chains[done], &iov[done]);
		if (*ret_end != PACKED_FULL)
			break;
		if (unlikely(++pos == size)) {
			pos = 0;
			wanted ^= PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK;
		}
	}
	return done;
}

#if RING_HAS_QUADS
/*
 * A quad that is not usual as a whole: mostly the driver has come so far and no further. What was read is all that is
 * looked at: the line may be on its way back to the driver, and would have to be fetched again for each question.
 */
RING_QUAD unsigned packed_lay_parts(const struct ring *ring, const struct quad *quad, unsigned wanted,
				    struct vireo_chain *chains, struct iovec *iov, enum packed_end *ret_end)
{
	static const unsigned lanes[] = { 0, 2, 1, 3 };
	const struct ring_window window = ring_window_of(ring);
	uint64_t addr[4], rest[4];
	unsigned done;

	_mm256_storeu_si256((__m256i *)(void *)addr, quad->addr);
	_mm256_storeu_si256((__m256i *)(void *)rest, quad->rest);
	*ret_end = PACKED_FULL;
	for (done = 0; done < 4; done++) {
		unsigned lane = lanes[done];

		*ret_end = packed_lay_single(ring, &window, addr[lane], rest[lane], wanted, &chains[done], &iov[done]);
		if (*ret_end != PACKED_FULL)
			break;
	}
	return done;
}

/* Quads of usual chains up to the end of the lap. As packed_lay_singles(). */
__attribute__((target("avx2"))) static unsigned packed_lay_quads(const struct ring *ring, struct packed_place at,
								 struct vireo_chain *chains, unsigned count,
								 struct iovec *iov, enum packed_end *ret_end)
{
	const uint64_t fixed = PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK | DESC_F_NEXT | DESC_F_INDIRECT | DESC_F_WRITE;
	const unsigned lap = at.wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;
	const uint64_t want = lap | (ring->buffers_writable ? DESC_F_WRITE : 0);
	const struct packed_desc *descs = ring->packed.desc;
	const __m256i span = _mm256_set1_epi64x(1 << 16), last_id = _mm256_set1_epi64x(ring->size - 1);
	const __m256i id_mask = _mm256_set1_epi64x(UINT16_MAX);
	uint32_t pos = at.pos, size = ring->size;
	struct quad_burst burst = quad_burst_of(ring, want << 48, fixed << 48, ring->buffers_writable, iov);
	unsigned done;

	*ret_end = PACKED_FULL;
	for (done = 0; burst.usable && done + 4 <= count && pos + 4 <= size; done += 4, pos += 4) {
		struct quad quad = quad_read(&descs[pos]); /* pair AVAIL */
		__m256i ids = _mm256_and_si256(_mm256_srli_epi64(quad.rest, 32), id_mask);
		__m256i beyond = _mm256_cmpgt_epi64(ids, last_id);

		if (unlikely(!_mm256_testz_si256(beyond, beyond)) ||
		    !quad_lay(&burst, &quad, _mm256_or_si256(ids, span), chains + done, iov + done))
			return done + packed_lay_parts(ring, &quad, lap, chains + done, iov + done, ret_end);
	}
	return done;
}
#else
static unsigned packed_lay_quads(const struct ring *ring, struct packed_place at, struct vireo_chain *chains,
				 unsigned count, struct iovec *iov, enum packed_end *ret_end)
{
	*ret_end = PACKED_FULL;
	return 0;
}
#endif

/* Usual chains, by fours where that goes. Returns how many were laid before one that is not there or not usual. */
static unsigned packed_lay_usual(const struct ring *ring, struct vireo_chain *chains, unsigned count, struct iovec *iov,
				 enum packed_end *ret_end)
{
	struct packed_place at = ring->packed.avail;
	unsigned done = 0, some;

	if (!ring->quads)
		return packed_lay_singles(ring, at, chains, count, iov, ret_end);
	do {
		some = packed_lay_quads(ring, at, chains + done, count - done, iov + done, ret_end);
		at = place_forward(at, some, ring->size);
		done += some;
		if (*ret_end != PACKED_FULL || done == count)
			break;
		some = packed_lay_singles(ring, at, chains + done, min_u32(count - done, 4), iov + done, ret_end);
		at = place_forward(at, some, ring->size);
		done += some;
	} while (*ret_end == PACKED_FULL && done < count);
	return done;
}

/* A chain that is not of the usual kind, if one is there: 1, 0, -EPROTO, -ENOBUFS, -EFAULT. */
static int packed_chain(struct ring *ring, struct vireo_chain *chain, struct iovec *iov, unsigned room)
{
	struct packed_state *s = &ring->packed;
	const struct packed_desc *head = &s->desc[s->avail.pos];
	uint16_t flags = le16(__atomic_load_n(&head->flags, __ATOMIC_ACQUIRE)); /* pair AVAIL */
	struct ring_desc d;
	int err;

	if (!packed_is_available(flags, s->avail.wrap))
		return 0;
	if (unlikely(s->in_flight == ring->size))
		return ring_break(ring, "descriptor made available again before it was used");
	d = packed_read(head, flags);
	chain->span = 1;
	err = packed_chain_slowly(ring, &d, chain, iov, room);
	if (unlikely(err))
		return err;
	if (unlikely(d.mid >= ring->size))
		return ring_break(ring, "buffer id beyond the queue's size");
	chain->id = d.mid;
	return 1;
}

/* From a copy of its descriptors; what the copy says is checked like what the driver says. */
__cold int packed_chain_owed(struct ring *ring, const struct packed_desc *descs, const struct ring_owed *owed,
			     struct vireo_chain *chain, struct iovec *iov, unsigned room)
{
	struct ring_pieces p = ring_pieces_of(iov, room);

	for (unsigned i = 0; i < owed->span; i++) {
		struct ring_desc d = packed_read(&descs[i], le16(descs[i].flags));
		int err;

		if (!(d.tail & DESC_F_INDIRECT))
			err = ring_lay(ring, &p, d.addr, d.len, d.tail & DESC_F_WRITE);
		else if (owed->span == 1)
			err = packed_lay_table(ring, &p, &d);
		else
			err = ring_break(ring, "indirect descriptor in a list of direct ones");
		if (err)
			return err;
	}
	chain->id = owed->id;
	chain->span = owed->span;
	return ring_pieces_finish(ring, &p, iov, chain);
}

/* Chains of `span` descriptors together have been laid and are ours now. */
static inline void packed_note(struct ring *ring, const struct vireo_chain *chains, unsigned count, uint32_t span)
{
	struct packed_state *s = &ring->packed;
	struct packed_place at = s->avail;

	if (ring->in_order) {
		for (unsigned i = 0; i < count; i++) {
			ring->order[at.pos] = chains[i].id;
			at = place_forward(at, chains[i].span, ring->size);
		}
	}
	s->in_flight += span;
	s->avail = place_forward(s->avail, span, ring->size);
	ring->outstanding += count;
}

/* The first lines of the indirect tables of what is there, `count` chains at most, up to the end of the lap: as in split.c. */
static __attribute__((noinline)) void packed_fetch_tables(const struct ring *ring, unsigned count)
{
	const struct ring_window tables = ring_window_at(ring, &ring->tables);
	const struct packed_place at = ring->packed.avail;
	const struct packed_desc *desc = &ring->packed.desc[at.pos], *end = desc + min_u32(min_u32(count, TABLES_FETCH_MAX), ring->size - at.pos);

	for (; desc < end; desc++) {
		uint16_t flags = le16(__atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE));

		if (!packed_is_available(flags, at.wrap))
			break;
		if (likely(flags & DESC_F_INDIRECT))
			ring_table_fetch(&tables, le64(__atomic_load_n(&desc->addr, __ATOMIC_RELAXED)));
	}
}

/* The flags of the next descriptor. A hint: they are read again when it is laid. */
static inline uint16_t packed_flags(const struct ring *ring)
{
	return le16(__atomic_load_n(&ring->packed.desc[ring->packed.avail.pos].flags, __ATOMIC_RELAXED));
}

/* Does the next chain seem to be of several descriptors? */
static inline bool packed_seems_long(const struct ring *ring)
{
	return packed_flags(ring) & (DESC_F_NEXT | DESC_F_INDIRECT);
}

static int packed_take(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
		       unsigned iov_max, int *ret_err)
{
	unsigned done = 0, pieces;
	int got = 1;

	while (done < max) {
		unsigned room = min_u32(min_u32(max - done, iov_max), ring->size - ring->packed.in_flight);
		enum packed_end end = PACKED_UNUSUAL;
		unsigned usual = 0;

		if (!packed_seems_long(ring))
			usual = packed_lay_usual(ring, chains + done, room, iov, &end);
		packed_note(ring, chains + done, usual, usual);
		done += usual;
		iov += usual;
		iov_max -= usual;
		if (done == max || end == PACKED_EMPTY)
			break;
		got = packed_chain(ring, &chains[done], iov, iov_max);
		if (got <= 0)
			break;
		packed_note(ring, &chains[done], 1, chains[done].span);
		pieces = chains[done].readable_count + chains[done].writable_count;
		iov += pieces;
		iov_max -= pieces;
		done++;
	}
	if (done)
		ring->buffers_writable = chains[done - 1].writable_count;
	*ret_err = got > 0 ? 0 : got;
	return (int)done;
}

static inline bool packed_is_empty(const struct ring *ring)
{
	const struct packed_state *s = &ring->packed;
	uint16_t flags = le16(__atomic_load_n(&s->desc[s->avail.pos].flags, __ATOMIC_RELAXED));

	return !packed_is_available(flags, s->avail.wrap);
}

/* Nothing there, and the driver may still believe that we look: ask for a kick, look again. */
static bool packed_rearm(struct ring *ring)
{
	return ring->kick_on && ring->event_idx && !place_equal(ring->packed.armed, ring->packed.avail) &&
	       packed_kick_enable(ring, true);
}

int packed_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	       unsigned iov_max)
{
	int err = 0, done = 0;

	if (!packed_is_empty(ring)) {
		packed_fetch(ring, max);
		if (packed_flags(ring) & DESC_F_INDIRECT)
			packed_fetch_tables(ring, max);
		done = packed_take(ring, chains, max, iov, iov_max, &err);
	}
	if (!done && !err && max && packed_rearm(ring))
		done = packed_take(ring, chains, max, iov, iov_max, &err);
	return done ? done : err;
}

/* The descriptors are untouched: used entries never reach the chains popped last. */
void packed_unpop(struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct packed_state *s = &ring->packed;

	for (unsigned i = 0; i < count; i++) {
		s->avail = place_back(s->avail, chains[i].span, ring->size);
		s->in_flight -= chains[i].span;
	}
	assert(s->in_flight >= s->staged_span);
}

/* Is the descriptor available that comes so many after the next? */
static bool packed_available_at(const struct ring *ring, uint32_t after)
{
	struct packed_place at = place_forward(ring->packed.avail, after, ring->size);
	uint16_t flags = le16(__atomic_load_n(&ring->packed.desc[at.pos].flags, __ATOMIC_ACQUIRE));

	return packed_is_available(flags, at.wrap);
}

/* A driver makes descriptors available in their order: where that ends is found by halving. */
unsigned packed_available(struct ring *ring)
{
	uint32_t some = 1, end = ring->size - ring->packed.in_flight; /* `some` are there, more than `end` are not */

	if (!end || !packed_available_at(ring, 0))
		return 0;
	if (packed_available_at(ring, end - 1))
		return end;
	for (end -= 1; some < end;) {
		uint32_t middle = some + (end - some + 1) / 2;

		if (packed_available_at(ring, middle - 1))
			some = middle;
		else
			end = middle - 1;
	}
	return some;
}
