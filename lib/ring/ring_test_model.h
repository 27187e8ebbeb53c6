/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_TEST_MODEL_H
#define RING_RING_TEST_MODEL_H

/*
 * A model of the whole queue, for random walks: the driver adds chains of random shape, the device pops,
 * unpops, pushes and publishes in random order, and every step is compared with what the specification says.
 * Single-threaded, reproducible by seed.
 */

#include "ring_test_driver.h"

#define MODEL_SIZE_MAX 64u
#define MODEL_PIECES_MAX 6u
#define MODEL_SLOT_BYTES 4033u /* odd: payload and tables of some slots cross the seams of guest memory */
#define MODEL_TABLE_OFFSET 3001u

#define MODEL_STEPS 2000u
#ifdef __SANITIZE_THREAD__
#define MODEL_SEEDS 8u /* a walk has one thread, and is very slow there */
#else
#define MODEL_SEEDS 112u
#endif

struct model_chain {
	struct test_piece pieces[MODEL_PIECES_MAX];
	unsigned count, slot;
	uint32_t readable, writable, written;
	uint8_t key;
};

struct model_taken { /* in the device's hands */
	struct vireo_chain chain;
	uint64_t seq; /* which pop it was */
};

struct model {
	struct test_driver *d;
	uint64_t random, shift;
	struct model_chain chains[MODEL_SIZE_MAX]; /* by id */
	unsigned free_slots[MODEL_SIZE_MAX], free_slot_count;
	uint16_t added[MODEL_SIZE_MAX]; /* ids in the order of adding: added[seq % size] */
	uint64_t add_seq, pop_seq;
	struct model_taken taken[MODEL_SIZE_MAX]; /* by seq */
	unsigned taken_count;
	uint32_t staged_chains, staged_span;
	uint16_t used_pos; /* where the device's published entries end, kept apart from the driver */
	bool used_wrap;
	uint16_t used_idx;
	bool published_once, kicks_on, armed;
};

static inline uint32_t model_random(struct model *m, uint32_t below)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return (uint32_t)((m->random >> 20) % below);
}

static inline uint8_t model_byte(uint8_t key, uint32_t at, bool writable)
{
	return (uint8_t)(key + at * 31 + (writable ? 0x55 : 0));
}

/* ---- driver ---- */

static inline void model_shape(struct model *m, struct model_chain *c)
{
	uint64_t gpa = GUEST_BASE + m->shift + (uint64_t)c->slot * MODEL_SLOT_BYTES;
	uint32_t most = min_u32(m->d->opt.size, MODEL_PIECES_MAX), cut;

	c->count = 1 + model_random(m, most);
	cut = model_random(m, c->count + 1);
	c->key = (uint8_t)model_random(m, 256);
	c->readable = c->writable = c->written = 0;
	for (unsigned i = 0; i < c->count; i++) {
		uint32_t len = model_random(m, 8) ? 1 + model_random(m, 490) : 0;
		uint32_t *sum = i >= cut ? &c->writable : &c->readable;

		c->pieces[i] = (struct test_piece){ .gpa = gpa, .len = len, .writable = i >= cut };
		for (uint32_t j = 0; j < len; j++)
			*guest_at(m->d->map, gpa + j) = i >= cut ? 0xcc : model_byte(c->key, *sum + j, false);
		*sum += len;
		gpa += len;
	}
}

static inline void model_add(struct model *m)
{
	struct test_driver *d = m->d;
	struct model_chain c = { .count = 0 };
	unsigned direct;
	bool kick;
	int id;

	if (!m->free_slot_count)
		return;
	c.slot = m->free_slots[m->free_slot_count - 1];
	model_shape(m, &c);
	direct = c.count;
	if (d->opt.indirect && model_random(m, 2))
		direct = d->opt.packed ? 0 : model_random(m, c.count);
	id = driver_add(d, c.pieces, c.count, direct,
			GUEST_BASE + m->shift + (uint64_t)c.slot * MODEL_SLOT_BYTES + MODEL_TABLE_OFFSET);
	if (id < 0)
		return;
	m->free_slot_count--;
	m->chains[id] = c;
	m->added[m->add_seq++ % d->opt.size] = (uint16_t)id;
	kick = driver_should_kick(d);
	if (m->armed)
		assert_true(kick);
	if (!m->kicks_on && (d->opt.packed || !d->opt.event_idx))
		assert_false(kick);
	m->armed = false;
}

static inline bool model_take_used(struct model *m)
{
	struct test_driver *d = m->d;
	struct model_chain *c;
	uint32_t len, at = 0;
	bool skipped;
	int id = driver_used(d, &len, &skipped);

	if (id < 0)
		return false;
	c = &m->chains[id];
	if (skipped)
		assert_int_equal(c->writable, 0);
	else
		assert_int_equal(len, c->written);
	for (unsigned i = 0; i < c->count; i++)
		for (uint32_t j = 0; c->pieces[i].writable && j < c->pieces[i].len; j++, at++)
			assert_int_equal(*guest_at(d->map, c->pieces[i].gpa + j),
					 at < c->written ? model_byte(c->key, at, true) : 0xcc);
	m->free_slots[m->free_slot_count++] = c->slot;
	return true;
}

static inline void model_driver_event(struct model *m)
{
	struct test_driver *d = m->d;
	uint32_t how = model_random(m, 3);

	if (how == 0)
		driver_signals_on(d);
	else if (how == 1)
		driver_signals_off(d);
	else if (d->opt.packed && d->opt.event_idx)
		packed_event_set(d->driver_event, PACKED_EVENT_DESC, model_random(m, d->opt.size),
				 model_random(m, 2));
	else if (d->opt.event_idx)
		d->avail->ring[d->opt.size] =
			le16((uint16_t)(d->last_used + model_random(m, d->opt.size) - 2));
}

/* ---- device ---- */

static inline void model_check_popped(struct model *m, const struct vireo_chain *chain)
{
	const struct model_chain *c = &m->chains[chain->id];
	uint32_t readable = 0, writable = 0;

	assert_int_equal(chain->id, m->added[m->pop_seq % m->d->opt.size]);
	for (uint32_t i = 0; i < chain->readable_count; i++)
		for (size_t j = 0; j < chain->iov[i].iov_len; j++)
			assert_int_equal(((uint8_t *)chain->iov[i].iov_base)[j],
					 model_byte(c->key, readable++, false));
	for (uint32_t i = 0; i < chain->writable_count; i++)
		writable += (uint32_t)chain->iov[chain->readable_count + i].iov_len;
	assert_int_equal(readable, c->readable);
	assert_int_equal(writable, c->writable);
	assert_int_equal(chain->readable_bytes, readable);
	assert_int_equal(chain->writable_bytes, writable);
}

static inline void model_keep(struct model *m, const struct vireo_chain *chain)
{
	struct model_taken *t = &m->taken[m->taken_count++];
	size_t bytes = (chain->readable_count + chain->writable_count) * sizeof(struct iovec);

	t->chain = *chain;
	t->chain.iov = test_alloc(bytes + 1);
	memcpy(t->chain.iov, chain->iov, bytes);
	t->seq = m->pop_seq++;
}

static inline void model_pop(struct model *m, unsigned max)
{
	struct vireo_chain chains[MODEL_SIZE_MAX];
	unsigned room = model_random(m, 4) ? TEST_PIECES_MAX : 1 + model_random(m, 8);
	int count;

	count = ring_pop(m->d->ring, chains, max, m->d->iov, room);
	if (count == -ENOBUFS)
		assert_true(room < TEST_PIECES_MAX);
	else
		assert_true(count >= 0 && (unsigned)count <= max);
	if (count == 0) {
		assert_int_equal(m->pop_seq, m->add_seq);
		m->armed = m->kicks_on;
	}
	for (int i = 0; i < count; i++) {
		model_check_popped(m, &chains[i]);
		model_keep(m, &chains[i]);
	}
}

static inline void model_unpop(struct model *m)
{
	struct vireo_chain chains[4] = { { .iov = NULL } };
	unsigned many = 0, most = model_random(m, 4);

	while (many < most && many < m->taken_count &&
	       m->taken[m->taken_count - 1 - many].seq == m->pop_seq - 1 - many)
		many++;
	for (unsigned i = 0; i < many; i++)
		chains[i] = m->taken[m->taken_count - many + i].chain;
	ring_unpop(m->d->ring, chains, many);
	for (unsigned i = 0; i < many; i++)
		free(m->taken[--m->taken_count].chain.iov);
	m->pop_seq -= many;
}

static inline void model_push(struct model *m)
{
	unsigned which = m->d->opt.in_order ? 0 : model_random(m, m->taken_count);
	struct model_taken t = m->taken[which];
	struct model_chain *c = &m->chains[t.chain.id];
	uint32_t at = 0;

	c->written = model_random(m, 3) ? model_random(m, c->writable + 1) : c->writable;
	for (uint32_t i = 0; i < t.chain.writable_count; i++) {
		struct iovec *piece = &t.chain.iov[t.chain.readable_count + i];

		for (size_t j = 0; j < piece->iov_len && at < c->written; j++, at++)
			((uint8_t *)piece->iov_base)[j] = model_byte(c->key, at, true);
	}
	m->staged_chains++;
	m->staged_span += m->d->span[t.chain.id];
	test_push(m->d->ring, &t.chain, c->written);
	free(t.chain.iov);
	m->taken_count--;
	memmove(&m->taken[which], &m->taken[which + 1], (m->taken_count - which) * sizeof(t));
}

/* By the letter: is the event among the entries (split) or descriptors (packed) that become used now? */
static inline bool model_expect_signal(struct model *m)
{
	struct test_driver *d = m->d;
	uint16_t flags = le16(d->opt.packed ? d->driver_event->flags : d->avail->flags), pos = m->used_pos;
	bool wrap = m->used_wrap, hit = false;

	if (!m->staged_chains)
		return false;
	if (!d->opt.packed && d->opt.event_idx) {
		for (uint32_t i = 0; i < m->staged_chains; i++)
			hit |= (uint16_t)(m->used_idx + i) == le16(d->avail->ring[d->opt.size]);
	} else if (flags != PACKED_EVENT_DESC) {
		hit = !flags; /* both formats: 0 is yes, 1 is no */
	}
	for (uint32_t i = 0; i < m->staged_span; i++) {
		if (d->opt.packed && flags == PACKED_EVENT_DESC)
			hit |= le16(d->driver_event->off_wrap) == (pos | (wrap ? PACKED_EVENT_WRAP_MASK : 0));
		if (++pos == d->opt.size) {
			pos = 0;
			wrap = !wrap;
		}
	}
	m->used_pos = pos;
	m->used_wrap = wrap;
	return hit || (d->opt.event_idx && !m->published_once);
}

static inline void model_publish(struct model *m)
{
	bool expected = model_expect_signal(m);

	assert_int_equal(ring_publish(m->d->ring), expected);
	if (m->staged_chains)
		m->published_once = true;
	m->used_idx = (uint16_t)(m->used_idx + m->staged_chains);
	m->staged_chains = m->staged_span = 0;
}

static inline void model_kicks(struct model *m)
{
	bool there;

	m->kicks_on = model_random(m, 2);
	there = ring_kick_enable(m->d->ring, m->kicks_on);
	if (m->kicks_on)
		assert_int_equal(there, m->pop_seq != m->add_seq);
	m->armed = m->kicks_on && !there;
}

/* ---- the walk ---- */

static inline void model_step(struct model *m)
{
	switch (model_random(m, 12)) {
	case 0:
	case 1:
	case 2:
		model_add(m);
		break;
	case 3:
	case 4:
		model_pop(m, 1 + model_random(m, m->d->opt.size));
		break;
	case 5:
		model_unpop(m);
		break;
	case 6:
	case 7:
		if (m->taken_count)
			model_push(m);
		break;
	case 8:
		model_publish(m);
		break;
	case 9:
		model_take_used(m);
		break;
	case 10:
		model_driver_event(m);
		break;
	default:
		model_kicks(m);
	}
}

/* Everything comes back, and the ring can be stopped and started again where it stood. */
static inline void model_drain_and_restart(struct model *m)
{
	struct test_driver *d = m->d;
	struct ring_setup setup;
	const char *why;
	uint32_t half;

	while (m->pop_seq != m->add_seq)
		model_pop(m, 1 + model_random(m, d->opt.size));
	while (m->taken_count)
		model_push(m);
	model_publish(m);
	while (model_take_used(m))
		;
	assert_int_equal(m->free_slot_count, d->opt.size);
	assert_int_equal(d->free_descs, d->opt.size);
	half = d->pos | (uint32_t)d->wrap << 15;
	assert_int_equal(ring_base(d->ring), d->opt.packed ? half | half << 16 : d->avail_idx);
	d->opt.base = ring_base(d->ring);
	setup = driver_setup(d);
	setup.sure = true; /* no device that completes out of order can be looked for */
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	m->published_once = false;
	m->kicks_on = m->armed = true;
}

static inline void model_walk(struct test_options opt, uint64_t seed, unsigned steps)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	m->shift = model_random(m, 8000);
	m->d = driver_new(opt);
	m->free_slot_count = opt.size;
	for (unsigned i = 0; i < opt.size; i++)
		m->free_slots[i] = i;
	m->used_pos = m->d->used_pos;
	m->used_wrap = m->d->used_wrap;
	m->used_idx = m->d->last_used;
	m->kicks_on = m->armed = true;
	for (unsigned i = 0; i < steps; i++) {
		model_step(m);
		assert_null(ring_error(m->d->ring));
		if (model_random(m, 400) == 0)
			model_drain_and_restart(m);
	}
	model_drain_and_restart(m);
	driver_free(m->d);
	free(m);
}

static inline void model_walks(bool packed)
{
	for (uint64_t seed = 1; seed <= MODEL_SEEDS; seed++) {
		struct test_options opt = { .packed = packed };

		opt.indirect = seed & 1;
		opt.event_idx = seed & 2;
		opt.in_order = seed & 4;
		opt.size = packed ? 1 + (uint32_t)(seed * 7 % MODEL_SIZE_MAX) : 1u << (seed / 8 % 7);
		opt.base = packed ? 0 : (uint32_t)(65536 - seed);
		model_walk(opt, seed, MODEL_STEPS);
	}
}

#endif
