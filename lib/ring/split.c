/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The split virtqueue (virtio 1.3, 2.7), device side. The four positions of ring.c are free-running 16-bit
 * indices; the driver's is avail->idx, ours that it sees is used->idx.
 */

#include "ring/lay.h"
#include "ring/order.h"
#include "ring/quad.h"

#define FETCH_AHEAD 64u /* chains beyond those that are popped */
#define USED_PER_LINE 8u

/*
 * Up to `want` chains that may be popped, or -EPROTO. What the driver offers beyond what we published cannot
 * be more than the ring holds; an index that went back shows up as far too many (2.7.6.1).
 */
static inline int split_look(struct ring *ring, unsigned want)
{
	struct split_state *s = &ring->split;
	uint16_t have = (uint16_t)(s->avail_seen - s->next_avail);

	if (have < want) {
		uint16_t in_flight = (uint16_t)(s->next_avail - s->published);
		uint16_t idx = le16(__atomic_load_n(&s->avail->idx, __ATOMIC_ACQUIRE)); /* pair AVAIL */

		have = (uint16_t)(idx - s->next_avail);
		if (unlikely((uint32_t)have + in_flight > ring->size))
			return ring_break(ring, "available index further ahead than the ring is long");
		s->avail_seen = idx;
	}
	return have < want ? have : (int)want;
}

/* The entries of an indirect table from 0 on along `next` (2.7.5.3); `before` descriptors led to it. */
__attribute__((always_inline)) static inline int split_lay_table(struct ring *ring, struct ring_pieces *p,
								 const struct ring_desc *named, uint32_t before)
{
	uint32_t count, index = 0, seen = 1;
	uint64_t usable = 0;
	const uint8_t *table;
	int err = ring_table_check(ring, named->len, &count);

	if (unlikely(err))
		return err;
	table = map_gpa(ring->map, &ring->tables, named->addr, &usable);
	for (;; seen++) {
		struct ring_desc d;

		if (likely(table && usable >= named->len))
			d = ring_desc_read(table + index * sizeof(struct split_desc));
		else if ((err = ring_table_read(ring, named->addr, index, &d)))
			return err;
		if (unlikely(d.mid & DESC_F_INDIRECT))
			return ring_break(ring, "indirect table inside an indirect table");
		err = ring_lay(ring, p, d.addr, d.len, d.mid & DESC_F_WRITE);
		if (unlikely(err) || !(d.mid & DESC_F_NEXT))
			return err;
		index = d.tail;
		if (unlikely(index >= count))
			return ring_break(ring, "next index beyond the indirect table");
		if (unlikely(seen == count))
			return ring_break(ring, "loop in an indirect table");
		if (unlikely(before + seen == ring->size))
			return ring_break(ring, "chain longer than the queue");
	}
}

/* From descriptor `d` on: direct ones, of which the last may name an indirect table (2.7.5.3.2). Made twice, see split_chain_at(). */
__attribute__((always_inline)) static inline int split_lay_chain(struct ring *ring, struct ring_pieces *p, struct ring_desc d)
{
	for (uint32_t seen = 1;; seen++) {
		int err;

		if (d.mid & DESC_F_INDIRECT) {
			if (unlikely(d.mid & DESC_F_NEXT))
				return ring_break(ring, "descriptor with both INDIRECT and NEXT");
			return split_lay_table(ring, p, &d, seen - 1);
		}
		err = ring_lay(ring, p, d.addr, d.len, d.mid & DESC_F_WRITE);
		if (unlikely(err) || !(d.mid & DESC_F_NEXT))
			return err;
		if (unlikely(d.tail >= ring->size))
			return ring_break(ring, "next index beyond the descriptor table");
		if (unlikely(seen == ring->size))
			return ring_break(ring, "chain longer than the queue, or a loop");
		d = ring_desc_read(&ring->split.desc[d.tail]);
	}
}

typedef uint64_t split_heads __attribute__((aligned(1), may_alias)); /* four in a row */

#define HEADS_ONES  0x0001000100010001u
#define HEADS_COUNT 0x0003000200010000u /* 0, 1, 2, 3 */

/*
 * Four heads from slot `slot` on, which do not wrap around; ret_in_a_row: each is the successor of the one before, if
 * the first is at most 0xfffc. Beyond that the sum carries from one into the next.
 */
static inline uint64_t split_heads_read(const struct split_state *s, uint32_t slot, bool *ret_in_a_row)
{
	uint64_t heads = le64(*(const volatile split_heads *)&s->avail->ring[slot]);

	*ret_in_a_row = heads == (heads & UINT16_MAX) * HEADS_ONES + HEADS_COUNT;
	return heads;
}

/*
 * Asks for the descriptors of `count` chains, and of those that follow and are there already: they will be popped
 * next. Heads in a row share cache lines. What a head says is only a hint here.
 */
static inline void split_fetch(struct ring *ring, unsigned count)
{
	struct split_state *s = &ring->split;
	uint32_t mask = ring->size - 1, more = (uint16_t)(s->avail_seen - s->next_avail - count);
	uint16_t at = s->fetched, end = (uint16_t)(s->next_avail + count + min_u32(more, FETCH_AHEAD));

	while ((int16_t)(end - at) > 0) { /* an unpop may have left it beyond the end */
		uint32_t slot = at & mask, step = slot + 4 <= ring->size && (uint16_t)(end - at) >= 4 ? 4 : 1;
		bool in_a_row = false;
		uint64_t heads;

		if (step == 4)
			heads = split_heads_read(s, slot, &in_a_row);
		else
			heads = le16(__atomic_load_n(&s->avail->ring[slot], __ATOMIC_RELAXED));
		__builtin_prefetch(&s->desc[heads & mask]);
		if (step == 4)
			__builtin_prefetch(&s->desc[heads >> 48 & mask]);
		if (unlikely(step == 4 && !in_a_row)) {
			__builtin_prefetch(&s->desc[heads >> 16 & mask]);
			__builtin_prefetch(&s->desc[heads >> 32 & mask]);
		}
		at = (uint16_t)(at + step);
	}
	s->fetched = at;
}

/* What the pushes of `count` chains from `from` on will write to. */
static inline void split_prefetch_used(struct ring *ring, uint16_t from, unsigned count)
{
	const struct split_state *s = &ring->split;
	uint16_t mask = (uint16_t)(ring->size - 1);

	for (unsigned i = 0; i < count; i += USED_PER_LINE)
		prefetch_write(&s->used->ring[(from + i) & mask]);
}

/* Nothing there, and the driver may still believe that we look: ask for a kick, look again. */
static int split_rearm(struct ring *ring, unsigned want)
{
	if (!ring->kick_on || !ring->event_idx || ring->split.armed == ring->split.next_avail)
		return 0;
	split_kick_enable(ring, true);
	return ring->error ? -EPROTO : split_look(ring, want);
}

/*
 * The usual chains: one direct descriptor each, all in the region that was hit last. Stops at the first that is not.
 * Returns how many were laid.
 */
static inline int split_lay_singles(const struct ring *ring, uint16_t from, struct vireo_chain *chains, int count,
				    struct iovec *iov)
{
	const struct ring_window window = ring_window_of(ring);
	const struct split_desc *descs = ring->split.desc;
	const uint16_t *heads = ring->split.avail->ring;
	uint32_t size = ring->size, mask = size - 1;
	int done;

	for (done = 0; done < count; done++) {
		uint16_t head = le16(__atomic_load_n(&heads[(from + (uint32_t)done) & mask], __ATOMIC_RELAXED));
		struct ring_desc d;

		if (unlikely(head >= size))
			break;
		d = ring_desc_read(&descs[head]);
		if (unlikely(d.mid & (DESC_F_NEXT | DESC_F_INDIRECT)) ||
		    !ring_lay_single(&window, d.addr, d.len, d.mid & DESC_F_WRITE, head, &chains[done], &iov[done]))
			break;
	}
	return done;
}

/* Made twice: what pops goes round these often, and a call costs it 3 %. */
__attribute__((always_inline)) static inline int split_chain_at(struct ring *ring, uint16_t head, struct vireo_chain *chain,
								struct iovec *iov, unsigned room)
{
	struct ring_pieces p = ring_pieces_of(iov, room);
	int err;

	chain->id = head;
	chain->span = 1;
	err = split_lay_chain(ring, &p, ring_desc_read(&ring->split.desc[head]));
	return unlikely(err) ? err : ring_pieces_finish(ring, &p, iov, chain);
}

/* One chain that is not of the usual kind. */
static int split_chain(struct ring *ring, uint16_t from, struct vireo_chain *chain, struct iovec *iov, unsigned room)
{
	uint16_t mask = (uint16_t)(ring->size - 1);
	uint16_t head = le16(__atomic_load_n(&ring->split.avail->ring[from & mask], __ATOMIC_RELAXED));

	if (unlikely(head >= ring->size))
		return ring_break(ring, "available ring names a descriptor beyond the table");
	return split_chain_at(ring, head, chain, iov, room);
}

/* Until it is used, the driver leaves the table's descriptors as they are. */
__cold int split_chain_owed(struct ring *ring, uint16_t head, struct vireo_chain *chain, struct iovec *iov, unsigned room)
{
	return split_chain_at(ring, head, chain, iov, room);
}

#if RING_HAS_QUADS
/* Whole quads whose heads are in a row, and so their descriptors. As split_lay_singles(). */
__attribute__((target("avx2"))) static int split_lay_quads(const struct ring *ring, uint16_t from,
							   struct vireo_chain *chains, int count, struct iovec *iov)
{
	const struct split_state *s = &ring->split;
	uint32_t size = ring->size, mask = size - 1;
	bool in_a_row, writable;
	struct quad_burst burst;
	int done;

	if (count < 4)
		return 0;
	writable = ring->buffers_writable;
	burst = quad_burst_of(ring, (uint64_t)(writable ? DESC_F_WRITE : 0) << 32,
			      (uint64_t)(DESC_F_WRITE | DESC_F_NEXT | DESC_F_INDIRECT) << 32, writable, iov);
	for (done = 0; burst.usable && done + 4 <= count; done += 4) {
		uint32_t slot = (from + (uint32_t)done) & mask;
		struct quad quad;
		uint64_t heads;
		__m256i ids;

		if (unlikely(slot + 4 > size))
			break;
		heads = split_heads_read(s, slot, &in_a_row);
		/* The first is bounded so that none after it overflows: a row that begins with 0xffff does not end at 2. */
		if (unlikely(!in_a_row || (heads & UINT16_MAX) + 4 > size))
			break;
		quad = quad_read(&s->desc[heads & UINT16_MAX]);
		ids = _mm256_add_epi64(_mm256_set1_epi64x((long long)(heads & UINT16_MAX)),
				       _mm256_setr_epi64x(1 << 16, (1 << 16) + 2, (1 << 16) + 1, (1 << 16) + 3));
		if (unlikely(!quad_lay(&burst, &quad, ids, chains + done, iov + done)))
			break;
	}
	return done;
}
#else
static int split_lay_quads(const struct ring *ring, uint16_t from, struct vireo_chain *chains, int count,
			   struct iovec *iov)
{
	return 0;
}
#endif

/* Usual chains, by fours where that goes. Returns how many were laid before one that is not usual. */
static int split_lay_usual(const struct ring *ring, uint16_t from, struct vireo_chain *chains, int count,
			   struct iovec *iov)
{
	int done = 0, singles, want;

	if (!ring->quads)
		return split_lay_singles(ring, from, chains, count, iov);
	for (;;) {
		done += split_lay_quads(ring, (uint16_t)(from + done), chains + done, count - done, iov + done);
		want = count - done < 4 ? count - done : 4;
		singles = split_lay_singles(ring, (uint16_t)(from + done), chains + done, want, iov + done);
		done += singles;
		if (singles < want || done == count)
			return done;
	}
}

/* The flags of the first descriptor of the chain at `from`. A hint: they are read again when it is laid. */
static inline uint16_t split_flags_at(const struct ring *ring, uint16_t from)
{
	uint32_t mask = ring->size - 1;
	uint16_t head = le16(__atomic_load_n(&ring->split.avail->ring[from & mask], __ATOMIC_RELAXED));

	return le16(__atomic_load_n(&ring->split.desc[head & mask].flags, __ATOMIC_RELAXED));
}

/* Does it seem to be of several descriptors? */
static inline bool split_seems_long(const struct ring *ring, uint16_t from)
{
	return split_flags_at(ring, from) & (DESC_F_NEXT | DESC_F_INDIRECT);
}

/* The first lines of the indirect tables of the next `count` chains: see ring_table_fetch(). Not inlined: who has none would pay for its registers. */
static __attribute__((noinline)) void split_fetch_tables(const struct ring *ring, unsigned count)
{
	const struct split_state *s = &ring->split;
	const struct ring_window tables = ring_window_at(ring, &ring->tables);
	const uint16_t *heads = s->avail->ring;
	const size_t mask = ring->size - 1, end = s->next_avail + min_u32(count, TABLES_FETCH_MAX);

	for (size_t at = s->next_avail; at < end; at++) {
		size_t head = le16(__atomic_load_n(&heads[at & mask], __ATOMIC_RELAXED));
		const struct split_desc *desc = &s->desc[head & mask];

		if (likely(le16(__atomic_load_n(&desc->flags, __ATOMIC_RELAXED)) & DESC_F_INDIRECT))
			ring_table_fetch(&tables, le64(__atomic_load_n(&desc->addr, __ATOMIC_RELAXED)));
	}
}

static int split_lay(struct ring *ring, struct vireo_chain *chains, int count, struct iovec *iov, unsigned room,
		     int *ret_err)
{
	uint16_t from = ring->split.next_avail;
	int done = 0;

	*ret_err = 0;
	while (done < count) {
		unsigned pieces;
		int usual = 0;

		if (!split_seems_long(ring, (uint16_t)(from + done)))
			usual = split_lay_usual(ring, (uint16_t)(from + done), chains + done,
						(int)min_u32((uint32_t)(count - done), room), iov);
		done += usual;
		iov += usual;
		room -= (unsigned)usual;
		if (likely(done == count))
			break;
		*ret_err = split_chain(ring, (uint16_t)(from + done), &chains[done], iov, room);
		if (unlikely(*ret_err))
			break;
		pieces = chains[done].readable_count + chains[done].writable_count;
		iov += pieces;
		room -= pieces;
		done++;
	}
	if (done)
		ring->buffers_writable = chains[done - 1].writable_count;
	return done;
}

static void split_note_order(struct ring *ring, const struct vireo_chain *chains, int count)
{
	for (int i = 0; i < count; i++)
		ring->order[(ring->split.next_avail + i) & (int)(ring->size - 1)] = chains[i].id;
}

int split_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	      unsigned iov_max)
{
	struct split_state *s = &ring->split;
	int err, done, count = split_look(ring, max);

	if (!count && max)
		count = split_rearm(ring, max);
	if (count <= 0)
		return count;
	split_fetch(ring, (unsigned)count);
	if (split_flags_at(ring, s->next_avail) & DESC_F_INDIRECT)
		split_fetch_tables(ring, (unsigned)count);
	done = split_lay(ring, chains, count, iov, iov_max, &err);
	if (ring->in_order)
		split_note_order(ring, chains, done);
	split_prefetch_used(ring, s->next_avail, (unsigned)done);
	s->next_avail = (uint16_t)(s->next_avail + done);
	ring->outstanding += (uint32_t)done;
	return done ? done : err;
}

void split_unpop(struct ring *ring, unsigned count)
{
	ring->split.next_avail = (uint16_t)(ring->split.next_avail - count);
}

/* An entry that the driver does not look at before publish. */
static inline void split_write_used(struct split_used_elem *elem, uint16_t id, uint32_t written_bytes)
{
	*(volatile ring_u64_unaligned *)elem = le64(id | (uint64_t)written_bytes << 32);
}

/* IN_ORDER: as long as a burst is read-only, one entry stands for all of it. */
static void split_push_in_order(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes,
				unsigned count)
{
	struct split_state *s = &ring->split;
	uint16_t mask = (uint16_t)(ring->size - 1);

	for (unsigned i = 0; i < count; i++, s->next_used++) {
		uint16_t slot = (ring->merge ? s->published : s->next_used) & mask;

		assert(ring->order[s->next_used & mask] == chains[i].id);
		split_write_used(&s->used->ring[slot], chains[i].id, ring_written(chains, written_bytes, i));
		ring->merge = ring->merge && !chains[i].writable_bytes;
	}
}

void split_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count)
{
	struct split_state *s = &ring->split;
	struct split_used_elem *used = s->used->ring;
	uint32_t mask = ring->size - 1, next = s->next_used;

	if (ring->in_order) {
		split_push_in_order(ring, chains, written_bytes, count);
		return;
	}
	if (!written_bytes)
		for (unsigned i = 0; i < count; i++)
			split_write_used(&used[(next + i) & mask], chains[i].id, 0);
	else
		for (unsigned i = 0; i < count; i++)
			split_write_used(&used[(next + i) & mask], chains[i].id, ring_written(chains, written_bytes, i));
	s->next_used = (uint16_t)(next + count);
}

static inline bool split_event_wants(const struct ring *ring, uint16_t was)
{
	const struct split_state *s = &ring->split;

	if (ring->event_idx) {
		uint16_t event = le16(__atomic_load_n(&s->avail->ring[ring->size], __ATOMIC_RELAXED));

		return split_event_passed(event, s->published, was);
	}
	return !(le16(__atomic_load_n(&s->avail->flags, __ATOMIC_RELAXED)) & SPLIT_AVAIL_F_NO_INTERRUPT);
}

bool split_wants_signal(const struct ring *ring, uint16_t was)
{
	return split_event_wants(ring, was);
}

bool split_awaits_signal(const struct ring *ring)
{
	const struct split_state *s = &ring->split;

	if (ring->event_idx)
		return le16(__atomic_load_n(&s->avail->ring[ring->size], __ATOMIC_RELAXED)) == s->published;
	return !(le16(__atomic_load_n(&s->avail->flags, __ATOMIC_RELAXED)) & SPLIT_AVAIL_F_NO_INTERRUPT);
}

enum ring_signal split_publish(struct ring *ring)
{
	struct split_state *s = &ring->split;
	uint16_t was = s->published;

	__atomic_store_n(&s->published, s->next_used, __ATOMIC_RELAXED); /* see ring_shown() */
	__atomic_store_n(&s->used->idx, le16(s->published), __ATOMIC_RELEASE); /* pair USED */
	ring_fence(); /* pair SIGNAL */
	return split_event_wants(ring, was) ? RING_SIGNAL : RING_QUIET;
}

/*
 * With EVENT_IDX flags stay 0 (2.7.10.2). "Off" is then an event that the driver has just passed: the next
 * one is 65536 chains away, and a kick too many does no harm.
 */
bool split_kick_enable(struct ring *ring, bool on)
{
	struct split_state *s = &ring->split;

	if (ring->event_idx) {
		s->armed = on ? s->next_avail : (uint16_t)(s->next_avail - 1);
		__atomic_store_n(&s->used->flags, 0, __ATOMIC_RELAXED);
		__atomic_store_n(split_avail_event(s->used, ring->size), le16(s->armed), __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&s->used->flags, on ? 0 : le16(SPLIT_USED_F_NO_NOTIFY), __ATOMIC_RELAXED);
	}
	if (!on)
		return false;
	ring_fence(); /* pair KICK */
	return split_look(ring, UINT16_MAX) != 0;
}

unsigned split_available(struct ring *ring)
{
	int count = split_look(ring, UINT16_MAX);

	return count < 0 ? 1 : (unsigned)count; /* 1: come and get the error */
}
