/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_TEST_DRIVER_H
#define RING_RING_TEST_DRIVER_H

/*
 * The other side of a ring, for the tests of this room: a guest with three adjacent regions of memory that
 * lie apart in this process, and a driver of either format, written from the specification. Only one file of
 * a test includes this.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "ring/order.h"
#include "ring/ring.h"
#include "vireo/device.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GUEST_BASE UINT64_C(0x10000)
#define GUEST_END (GUEST_BASE + 0x10000 + 0x1000 + 0x30000)
#define GUEST_SEAM (GUEST_BASE + 0x10000) /* where the first region ends and the second begins */
#define TEST_PIECES_MAX (32768 + 1024)

struct test_options {
	bool packed, indirect, event_idx, in_order;
	uint32_t size;
	uint32_t base; /* packed: 0 means the start, 0x80008000 */
};

struct test_piece {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

struct test_driver {
	struct test_options opt;
	struct map *map;
	struct ring *ring;
	struct split_desc *desc; /* the areas; split ... */
	struct split_avail *avail;
	struct split_used *used;
	struct packed_desc *pdesc; /* ... or packed */
	struct packed_event *driver_event, *device_event;
	void *areas[3];

	uint16_t avail_idx, kicked_idx, last_used; /* split */
	uint16_t pos, used_pos; /* packed */
	bool wrap, used_wrap;
	uint32_t kick_span;

	uint16_t *free_ids; /* a stack: split: descriptors; packed: buffer ids */
	uint32_t free_count, free_descs;
	uint16_t next_desc; /* in order */
	uint16_t *next_of; /* split: private copy of next */
	uint16_t *span; /* descriptors of chain id */
	uint16_t *fifo; /* ids as added, in order */
	uint32_t fifo_in, fifo_out;
	bool in_batch;
	uint32_t batch_id, batch_len;

	struct iovec *iov;
};

static inline void test_push(struct ring *ring, const struct vireo_chain *chain, uint32_t written_bytes)
{
	ring_push(ring, chain, &written_bytes, 1);
}

static inline void *test_alloc(size_t bytes)
{
	void *at = NULL;

	assert_int_equal(posix_memalign(&at, 64, (bytes + 63) / 64 * 64), 0);
	memset(at, 0, (bytes + 63) / 64 * 64);
	return at;
}

/* ---- guest memory ---- */

static inline struct map *guest_new(void)
{
	static const uint64_t sizes[] = { 0x10000, 0x1000, 0x30000 };
	struct map *map = calloc(1, sizeof(*map) + ARRAY_SIZE(sizes) * sizeof(map->regions[0]));
	uint64_t gpa = GUEST_BASE;

	assert_non_null(map);
	map->refs = 1;
	map->count = ARRAY_SIZE(sizes);
	for (unsigned i = 0; i < map->count; i++) {
		map->regions[i] = (struct map_region){ .gpa = gpa, .size_bytes = sizes[i], .uaddr = gpa };
		map->regions[i].host = calloc(1, sizes[i]);
		assert_non_null(map->regions[i].host);
		gpa += sizes[i];
	}
	return map;
}

static inline void guest_free(struct map *map)
{
	for (unsigned i = 0; i < map->count; i++)
		free(map->regions[i].host);
	free(map);
}

static inline uint8_t *guest_at(const struct map *map, uint64_t gpa)
{
	for (unsigned i = 0; i < map->count; i++)
		if (gpa - map->regions[i].gpa < map->regions[i].size_bytes)
			return map->regions[i].host + (gpa - map->regions[i].gpa);
	abort(); /* the test itself left guest memory */
}

static inline void guest_write(const struct map *map, uint64_t gpa, const void *src, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		/* It loses count of a struct's bytes. NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
		*guest_at(map, gpa + i) = ((const uint8_t *)src)[i];
}

/* ---- the ring's areas ---- */

static inline struct ring_setup driver_setup(const struct test_driver *d)
{
	return (struct ring_setup){
		.packed = d->opt.packed,
		.indirect = d->opt.indirect,
		.event_idx = d->opt.event_idx,
		.in_order = d->opt.in_order,
		.size = d->opt.size,
		.desc = d->areas[0],
		.driver = d->areas[1],
		.device = d->areas[2],
		.base = d->opt.base,
		.map = d->map,
	};
}

/* Of a device that completes chains in order. */
static inline struct ring_setup driver_setup_in_order(const struct test_driver *d)
{
	struct ring_setup setup = driver_setup(d);

	setup.keeps_order = true;
	return setup;
}

static inline void driver_positions(struct test_driver *d)
{
	uint32_t base = d->opt.base;

	if (d->opt.packed) {
		d->pos = d->used_pos = base & 0x7fff;
		d->wrap = d->used_wrap = base >> 15 & 1;
	} else {
		d->avail_idx = d->kicked_idx = d->last_used = (uint16_t)base;
		d->avail->idx = d->used->idx = le16((uint16_t)base);
	}
}

static inline struct test_driver *driver_new(struct test_options opt)
{
	struct test_driver *d = calloc(1, sizeof(*d));
	struct ring_area area = ring_area_bytes(opt.packed, opt.size);
	struct ring_setup setup;
	const char *why;

	assert_non_null(d);
	if (opt.packed && !opt.base)
		opt.base = 0x80008000;
	d->opt = opt;
	d->map = guest_new();
	d->areas[0] = d->desc = test_alloc(area.desc_bytes);
	d->areas[1] = d->avail = test_alloc(area.driver_bytes);
	d->areas[2] = d->used = test_alloc(area.device_bytes);
	d->pdesc = d->areas[0];
	d->driver_event = d->areas[1];
	d->device_event = d->areas[2];
	d->free_ids = test_alloc(opt.size * sizeof(uint16_t));
	d->next_of = test_alloc(opt.size * sizeof(uint16_t));
	d->span = test_alloc(opt.size * sizeof(uint16_t));
	d->fifo = test_alloc(opt.size * sizeof(uint16_t));
	d->iov = test_alloc(TEST_PIECES_MAX * sizeof(struct iovec));
	d->free_count = d->free_descs = opt.size;
	for (uint32_t i = 0; i < opt.size; i++)
		d->free_ids[i] = (uint16_t)(opt.size - 1 - i);
	driver_positions(d);
	setup = driver_setup(d);
	setup.sure = true; /* drivers begin anywhere here, in cleared memory */
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	return d;
}

static inline void driver_free(struct test_driver *d)
{
	ring_free(d->ring);
	guest_free(d->map);
	for (int i = 0; i < 3; i++)
		free(d->areas[i]);
	free(d->free_ids);
	free(d->next_of);
	free(d->span);
	free(d->fifo);
	free(d->iov);
	free(d);
}

/* Pops with an array that is always long enough. */
static inline int driver_pop(struct test_driver *d, struct vireo_chain *chains, unsigned max)
{
	return ring_pop(d->ring, chains, max, d->iov, VIREO_CHAIN_PIECES_MAX(d->opt.size));
}

/* ---- making chains available ---- */

static inline void split_set(struct test_driver *d, uint32_t i, uint64_t addr, uint32_t len, unsigned flags,
			     uint32_t next)
{
	d->desc[i] =
		(struct split_desc){ le64(addr), le32(len), le16((uint16_t)flags), le16((uint16_t)next) };
}

static inline void split_offer(struct test_driver *d, uint32_t head)
{
	uint16_t mask = (uint16_t)(d->opt.size - 1);

	__atomic_store_n(&d->avail->ring[d->avail_idx & mask], le16((uint16_t)head), __ATOMIC_RELAXED);
	d->avail_idx++;
	__atomic_store_n(&d->avail->idx, le16(d->avail_idx), __ATOMIC_RELEASE);
}

static inline uint16_t split_take_desc(struct test_driver *d)
{
	uint16_t i;

	d->free_descs--;
	if (!d->opt.in_order)
		return d->free_ids[--d->free_count];
	i = d->next_desc;
	d->next_desc = (uint16_t)((i + 1) & (d->opt.size - 1));
	return i;
}

/* An indirect table, with the fields that each format ignores filled with rubbish. */
static inline void table_write(struct test_driver *d, uint64_t table, const struct test_piece *pieces,
			       unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned flags = pieces[i].writable ? DESC_F_WRITE : 0;
		struct split_desc s = { le64(pieces[i].gpa), le32(pieces[i].len), 0, 0 };

		if (d->opt.packed) {
			s.flags = le16(0xbeef); /* the place of the id */
			s.next = le16((uint16_t)(flags | DESC_F_NEXT)); /* the place of the flags */
		} else {
			s.flags = le16((uint16_t)(flags | (i + 1 < count ? DESC_F_NEXT : 0)));
			s.next = le16((uint16_t)(i + 1));
		}
		guest_write(d->map, table + 16 * i, &s, sizeof(s));
	}
}

static inline int split_add(struct test_driver *d, const struct test_piece *pieces, unsigned count,
			    unsigned direct, uint64_t table)
{
	unsigned need = direct + (direct < count);
	uint16_t head = 0, last = 0;

	if (need > d->free_descs)
		return -1;
	for (unsigned i = 0; i < need; i++) {
		uint16_t at = split_take_desc(d);

		if (i == 0)
			head = at;
		else {
			d->desc[last].flags |= le16(DESC_F_NEXT);
			d->desc[last].next = le16(at);
			d->next_of[last] = at;
		}
		last = at;
		if (i < direct)
			split_set(d, at, pieces[i].gpa, pieces[i].len, pieces[i].writable ? DESC_F_WRITE : 0,
				  0);
		else
			split_set(d, at, table, 16 * (count - direct), DESC_F_INDIRECT, 0);
	}
	if (direct < count)
		table_write(d, table, pieces + direct, count - direct);
	d->span[head] = (uint16_t)need;
	split_offer(d, head);
	return head;
}

/* Writes a descriptor at the driver's position, its flags last (or, held back, not at all), and moves on. */
static inline uint16_t packed_fill(struct test_driver *d, uint64_t addr, uint32_t len, unsigned flags,
				   uint32_t id, bool hold)
{
	struct packed_desc *desc = &d->pdesc[d->pos];

	flags |= d->wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK;
	__atomic_store_n(&desc->addr, le64(addr), __ATOMIC_RELAXED);
	__atomic_store_n(&desc->len, le32(len), __ATOMIC_RELAXED);
	__atomic_store_n(&desc->id, le16((uint16_t)id), __ATOMIC_RELAXED);
	if (!hold)
		__atomic_store_n(&desc->flags, le16((uint16_t)flags), __ATOMIC_RELEASE);
	d->kick_span++;
	if (++d->pos == d->opt.size) {
		d->pos = 0;
		d->wrap = !d->wrap;
	}
	return (uint16_t)flags;
}

static inline void packed_set(struct test_driver *d, uint64_t addr, uint32_t len, unsigned flags, uint32_t id)
{
	packed_fill(d, addr, len, flags, id, false);
}

/* The head becomes available last; only the last descriptor's id counts. */
static inline void packed_direct(struct test_driver *d, const struct test_piece *pieces, unsigned count,
				 uint32_t id)
{
	struct packed_desc *head = &d->pdesc[d->pos];
	uint16_t head_flags = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned more = i + 1 < count ? DESC_F_NEXT : 0;
		uint16_t flags = packed_fill(d, pieces[i].gpa, pieces[i].len,
					     more | (pieces[i].writable ? DESC_F_WRITE : 0),
					     more ? 0xdead : id, i == 0);

		if (i == 0)
			head_flags = flags;
	}
	__atomic_store_n(&head->flags, le16(head_flags), __ATOMIC_RELEASE);
}

static inline int packed_add(struct test_driver *d, const struct test_piece *pieces, unsigned count,
			     unsigned direct, uint64_t table)
{
	unsigned need = direct ? count : 1;
	uint16_t id;

	if (need > d->free_descs)
		return -1;
	d->free_descs -= need;
	id = d->opt.in_order ? d->pos : d->free_ids[--d->free_count];
	d->span[id] = (uint16_t)need;
	if (direct) {
		packed_direct(d, pieces, count, id);
		return id;
	}
	table_write(d, table, pieces, count);
	packed_set(d, table, 16 * count, DESC_F_INDIRECT, id);
	return id;
}

/*
 * Makes a chain available: the first `direct` pieces as descriptors of the ring, the others in an indirect
 * table at `table` (packed: all or none direct). Its id, or -1: no room.
 */
static inline int driver_add(struct test_driver *d, const struct test_piece *pieces, unsigned count,
			     unsigned direct, uint64_t table)
{
	int id = d->opt.packed ? packed_add(d, pieces, count, direct, table)
			       : split_add(d, pieces, count, direct, table);

	if (id >= 0)
		d->fifo[d->fifo_in++ % d->opt.size] = (uint16_t)id;
	return id;
}

/* ---- taking used chains ---- */

static inline bool driver_peek(struct test_driver *d)
{
	uint16_t flags;

	if (!d->opt.packed)
		return le16(__atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE)) != d->last_used;
	flags = le16(__atomic_load_n(&d->pdesc[d->used_pos].flags, __ATOMIC_ACQUIRE));
	return !(flags & PACKED_DESC_AVAIL_MASK) == !d->used_wrap &&
	       !(flags & PACKED_DESC_USED_MASK) == !d->used_wrap;
}

static inline void driver_entry(struct test_driver *d, uint32_t *id, uint32_t *len)
{
	const struct split_used_elem *elem = &d->used->ring[d->last_used & (d->opt.size - 1)];

	*id = d->opt.packed ? le16(__atomic_load_n(&d->pdesc[d->used_pos].id, __ATOMIC_RELAXED))
			    : le32(__atomic_load_n(&elem->id, __ATOMIC_RELAXED));
	*len = le32(
		__atomic_load_n(d->opt.packed ? &d->pdesc[d->used_pos].len : &elem->len, __ATOMIC_RELAXED));
	assert_true(*id < d->opt.size);
}

static inline void driver_release(struct test_driver *d, uint16_t id)
{
	uint16_t span = d->span[id], at = id;

	assert_int_not_equal(span, 0); /* outstanding, and not returned twice */
	d->span[id] = 0;
	d->free_descs += span;
	d->last_used++;
	d->used_pos = (uint16_t)(d->used_pos + span);
	if (d->opt.packed && d->used_pos >= d->opt.size) {
		d->used_pos = (uint16_t)(d->used_pos - d->opt.size);
		d->used_wrap = !d->used_wrap;
	}
	if (d->opt.in_order)
		return;
	for (unsigned i = 0; i < (d->opt.packed ? 1u : span); i++, at = d->next_of[at])
		d->free_ids[d->free_count++] = at;
}

/* The next used chain, or -1. *ret_skipped: its entry was left out (IN_ORDER). */
static inline int driver_used(struct test_driver *d, uint32_t *ret_len, bool *ret_skipped)
{
	uint32_t id, len;

	*ret_skipped = false;
	if (!d->opt.in_order) {
		if (!driver_peek(d))
			return -1;
		driver_entry(d, &id, ret_len);
		driver_release(d, (uint16_t)id);
		return (int)id;
	}
	if (!d->in_batch) {
		if (!driver_peek(d))
			return -1;
		driver_entry(d, &d->batch_id, &d->batch_len);
		d->in_batch = true;
	}
	assert_int_not_equal(d->fifo_in, d->fifo_out);
	id = d->fifo[d->fifo_out++ % d->opt.size];
	len = id == d->batch_id ? d->batch_len : 0;
	*ret_skipped = id != d->batch_id;
	d->in_batch = *ret_skipped;
	driver_release(d, (uint16_t)id);
	*ret_len = len;
	return (int)id;
}

/* ---- notifications ---- */

static inline void packed_event_set(struct packed_event *event, unsigned flags, unsigned pos, bool wrap)
{
	uint16_t off_wrap = (uint16_t)(pos | (wrap ? PACKED_EVENT_WRAP_MASK : 0));

	__atomic_store_n(&event->off_wrap, le16(off_wrap), __ATOMIC_RELAXED);
	__atomic_store_n(&event->flags, le16((uint16_t)flags), __ATOMIC_RELEASE);
}

/* Asks to be signalled for the next used chain; returns whether there is one already. */
static inline bool driver_signals_on(struct test_driver *d)
{
	if (d->opt.packed)
		packed_event_set(d->driver_event, d->opt.event_idx ? PACKED_EVENT_DESC : PACKED_EVENT_ENABLE,
				 d->used_pos, d->used_wrap);
	else if (d->opt.event_idx)
		__atomic_store_n(&d->avail->ring[d->opt.size], le16(d->last_used), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&d->avail->flags, 0, __ATOMIC_RELAXED);
	ring_fence();
	return driver_peek(d);
}

static inline void driver_signals_off(struct test_driver *d)
{
	if (d->opt.packed)
		packed_event_set(d->driver_event, PACKED_EVENT_DISABLE, 0, 0);
	else if (!d->opt.event_idx)
		__atomic_store_n(&d->avail->flags, le16(SPLIT_AVAIL_F_NO_INTERRUPT), __ATOMIC_RELAXED);
}

/* Has the device asked for a kick for what was added since the last call? By the letter: each descriptor
 * compared. */
static inline bool driver_should_kick(struct test_driver *d)
{
	uint16_t was = d->kicked_idx, event, pos = d->pos;
	uint32_t span = d->kick_span, flags, off_wrap;
	bool wrap = d->wrap;

	d->kicked_idx = d->avail_idx;
	d->kick_span = 0;
	ring_fence();
	if (!d->opt.packed) {
		event = le16(__atomic_load_n(split_avail_event(d->used, d->opt.size), __ATOMIC_RELAXED));
		if (!d->opt.event_idx)
			return was != d->avail_idx &&
			       !(le16(__atomic_load_n(&d->used->flags, __ATOMIC_RELAXED)) & SPLIT_USED_F_NO_NOTIFY);
		for (; was != d->avail_idx; was++)
			if (was == event)
				return true;
		return false;
	}
	flags = le16(__atomic_load_n(&d->device_event->flags, __ATOMIC_ACQUIRE)) & PACKED_EVENT_FLAGS_MASK;
	off_wrap = le16(__atomic_load_n(&d->device_event->off_wrap, __ATOMIC_RELAXED));
	if (flags != PACKED_EVENT_DESC)
		return span && flags == PACKED_EVENT_ENABLE;
	while (span--) {
		if (pos-- == 0) {
			pos = (uint16_t)(d->opt.size - 1);
			wrap = !wrap;
		}
		if (off_wrap == ((uint32_t)pos | (wrap ? PACKED_EVENT_WRAP_MASK : 0)))
			return true;
	}
	return false;
}

#endif
