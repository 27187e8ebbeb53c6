/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The split virtqueue (virtio 1.3, 2.7), device side. The four positions of ring.c are free-running 16-bit
 * indices; the driver's is avail->idx, ours that it sees is used->idx.
 */

#include "ring/ring_internal.h"

/* Heads that are read ahead, so that their descriptors are on the way while earlier chains are laid out. */
#define HEADS_AHEAD 64u
#define USED_PER_LINE 8u
#define DESCS_PER_LINE 4u

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
static int split_lay_table(struct ring *ring, struct ring_pieces *p, const struct ring_desc *named,
			   uint32_t before)
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
		else if (ring_table_read(ring, named->addr, index, &d))
			return -EPROTO;
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

/* From descriptor `d` on: direct ones, of which the last may name an indirect table (2.7.5.3.2). */
static int split_lay_chain(struct ring *ring, struct ring_pieces *p, struct ring_desc d)
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

/* The long way: several descriptors, several regions, or something wrong. */
static int split_chain_slowly(struct ring *ring, const struct ring_desc *d, struct vireo_chain *chain,
			      struct iovec *iov, unsigned room)
{
	struct ring_pieces p = ring_pieces_of(iov, room);
	int err = split_lay_chain(ring, &p, *d);

	return unlikely(err) ? err : ring_pieces_finish(ring, &p, iov, chain);
}

static inline int split_chain(struct ring *ring, struct ring_window *window, uint16_t head,
			      struct vireo_chain *chain, struct iovec *iov, unsigned room)
{
	struct ring_desc d;
	int err;

	if (unlikely(head >= ring->size))
		return ring_break(ring, "available ring names a descriptor beyond the table");
	d = ring_desc_read(&ring->split.desc[head]);
	chain->id = head;
	chain->span = 1;
	if (likely(!(d.mid & (DESC_F_NEXT | DESC_F_INDIRECT)) && room) &&
	    ring_lay_single(window, &d, d.mid & DESC_F_WRITE, chain, iov))
		return 0;
	err = split_chain_slowly(ring, &d, chain, iov, room);
	*window = ring_window_of(ring);
	return err;
}

/* Their descriptors are asked for once a line: heads that follow each other mostly share one. */
static inline void split_read_heads(struct ring *ring, uint16_t from, uint16_t *heads, unsigned count)
{
	const struct split_state *s = &ring->split;
	uint16_t mask = (uint16_t)(ring->size - 1), line = UINT16_MAX;

	for (unsigned i = 0; i < count; i++) {
		heads[i] = le16(__atomic_load_n(&s->avail->ring[(from + i) & mask], __ATOMIC_RELAXED));
		if (heads[i] / DESCS_PER_LINE != line)
			__builtin_prefetch(&s->desc[heads[i] & mask]);
		line = heads[i] / DESCS_PER_LINE;
	}
}

/* What the pushes of `count` chains from `from` on will write to. */
static inline void split_prefetch_used(struct ring *ring, uint16_t from, unsigned count)
{
	const struct split_state *s = &ring->split;
	uint16_t mask = (uint16_t)(ring->size - 1);

	for (unsigned i = 0; i < count; i += USED_PER_LINE)
		prefetch_write(&s->used->ring[(from + i) & mask]);
}

/* Chains that are there already, and will be popped next. */
static void split_prefetch_next(struct ring *ring)
{
	struct split_state *s = &ring->split;
	uint16_t heads[HEADS_AHEAD], have = (uint16_t)(s->avail_seen - s->next_avail);

	split_read_heads(ring, s->next_avail, heads, min_u32(have, HEADS_AHEAD));
}

/* Nothing there, and the driver may still believe that we look: ask for a kick, look again. */
static int split_rearm(struct ring *ring, unsigned want)
{
	if (!ring->kick_on || !ring->event_idx || ring->split.armed == ring->split.next_avail)
		return 0;
	split_kick_enable(ring, true);
	return ring->error ? -EPROTO : split_look(ring, want);
}

int split_pop(struct ring *ring, struct vireo_chain *chains, unsigned max, struct iovec *iov,
	      unsigned iov_max)
{
	struct split_state *s = &ring->split;
	struct ring_window window = ring_window_of(ring);
	uint16_t from, heads[HEADS_AHEAD];
	int err = 0, done, count = split_look(ring, max);

	if (!count && max)
		count = split_rearm(ring, max);
	if (count <= 0)
		return count;
	from = s->next_avail;
	for (done = 0; done < count; done++, from++) {
		struct vireo_chain *chain = &chains[done];
		unsigned ahead = (unsigned)done % HEADS_AHEAD, pieces;

		if (!ahead)
			split_read_heads(ring, from, heads, min_u32((uint32_t)(count - done), HEADS_AHEAD));
		err = split_chain(ring, &window, heads[ahead], chain, iov, iov_max);
		if (unlikely(err))
			break;
		if (ring->in_order)
			ring->order[from & (ring->size - 1)] = heads[ahead];
		pieces = chain->readable_count + chain->writable_count;
		iov += pieces;
		iov_max -= pieces;
	}
	split_prefetch_used(ring, s->next_avail, (unsigned)done);
	s->next_avail = from;
	ring->outstanding += (uint32_t)done;
	split_prefetch_next(ring);
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

void split_push(struct ring *ring, const struct vireo_chain *chains, const uint32_t *written_bytes, unsigned count)
{
	struct split_state *s = &ring->split;
	struct split_used_elem *used = s->used->ring;
	uint16_t mask = (uint16_t)(ring->size - 1), next = s->next_used;
	bool merge = ring->merge;

	for (unsigned i = 0; i < count; i++, next++) {
		assert(!ring->in_order || ring->order[next & mask] == chains[i].id);
		split_write_used(&used[(merge ? s->published : next) & mask], chains[i].id,
				 ring_written(chains, written_bytes, i));
		merge = merge && !chains[i].writable_bytes;
	}
	s->next_used = next;
	ring->merge = merge;
}

bool split_publish(struct ring *ring)
{
	struct split_state *s = &ring->split;
	uint16_t was = s->published;

	s->published = s->next_used;
	__atomic_store_n(&s->used->idx, le16(s->published), __ATOMIC_RELEASE); /* pair USED */
	ring_fence(); /* pair SIGNAL */
	if (ring->event_idx) {
		uint16_t event = le16(__atomic_load_n(&s->avail->ring[ring->size], __ATOMIC_RELAXED));

		return split_event_passed(event, s->published, was);
	}
	return !(le16(__atomic_load_n(&s->avail->flags, __ATOMIC_RELAXED)) & SPLIT_AVAIL_F_NO_INTERRUPT);
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
