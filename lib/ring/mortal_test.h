/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_MORTAL_TEST_H
#define RING_MORTAL_TEST_H

/*
 * A ring whose process is killed at any moment, with a tenant of witness.h: what the driver has added comes back, and nothing twice. For the
 * tests of such tenants.
 */

#include "base/util.h"
#include "ring/ring_internal.h"
#include "ring/ring_test_driver.h"

#define SIZE 8u
#define ADDR (GUEST_BASE + 0x100)

#define HEADER_WORDS 3u /* of a region: what changes in it */

/* The driver's ring is another one from now on, with this witness. */
static inline void succeed(struct test_driver *d, const struct ring_witness *witness)
{
	struct ring_setup setup = driver_setup(d);
	const char *why;

	setup.witness = *witness;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

static inline void add(struct test_driver *d, unsigned chains)
{
	struct test_piece piece = { ADDR, 64, true };

	while (chains--)
		assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
}

static inline unsigned used_count(struct test_driver *d)
{
	unsigned count = 0;
	bool skipped;
	uint32_t len;

	while (driver_used(d, &len, &skipped) >= 0)
		count++;
	return count;
}

/* ---- killed at any moment ---- */

enum death {
	POP_UNTOLD, /* the chains were never had */
	POP_HALF_TOLD,
	CHAINS_HAD,
	HELD_BACK, /* pushed, and not published */
	BURST_NAMED, /* and nothing of it written */
	HALF_WRITTEN, /* the ring has some of its entries, and shows none */
	ALL_SHOWN, /* and the witness has not been told */
	SHOWN_HALF_TOLD,
	BETWEEN_BURSTS,
	DEATHS
};

/* A witness that stops being told, as one of a killed process, with the memory that is left. */
struct mortal {
	struct ring_witness inner;
	enum death death;
	bool dead;
	uint64_t *header; /* a region's, of HEADER_WORDS */
	void *areas[3];
	size_t bytes[3];
	const struct test_driver *d;
};

static inline const char *mortal_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	struct mortal *m = self;

	return m->inner.ops->begin(m->inner.self, setup, stand);
}

static inline void mortal_stands(void *self, const struct ring *ring, uint32_t place)
{
	struct mortal *m = self;

	if (m->inner.ops->stands)
		m->inner.ops->stands(m->inner.self, ring, place);
}

static inline void mortal_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			  unsigned count)
{
	struct mortal *m = self;

	m->dead |= m->death == POP_UNTOLD;
	if (!m->dead)
		m->inner.ops->popped(m->inner.self, ring, place, chains, m->death == POP_HALF_TOLD ? (count + 1) / 2 : count);
	m->dead |= m->death == POP_HALF_TOLD;
}

static inline void mortal_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct mortal *m = self;

	if (!m->dead)
		m->inner.ops->unpopped(m->inner.self, ring, chains, count);
}

static inline void mortal_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct mortal *m = self;

	if (m->dead)
		return;
	m->inner.ops->showing(m->inner.self, ring, burst);
	m->dead = m->death == BURST_NAMED || m->death == HALF_WRITTEN;
	for (unsigned i = 0; m->dead && i < 3; i++)
		memcpy(m->areas[i], m->d->areas[i], m->bytes[i]);
}

static inline void mortal_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct mortal *m = self;
	struct ring_burst half = *burst;
	uint64_t header[HEADER_WORDS];

	m->dead |= m->death == ALL_SHOWN || (m->death == SHOWN_HALF_TOLD && !m->header);
	if (m->dead || m->death != SHOWN_HALF_TOLD) {
		if (!m->dead && m->inner.ops->shown)
			m->inner.ops->shown(m->inner.self, ring, burst);
		return;
	}
	half.count /= 2;
	memcpy(header, m->header, sizeof(header));
	m->inner.ops->shown(m->inner.self, ring, &half);
	memcpy(m->header, header, sizeof(header));
	m->dead = true;
}

static const struct ring_witness_ops mortal_ops = {
	.begin = mortal_begin,
	.stands = mortal_stands,
	.popped = mortal_popped,
	.unpopped = mortal_unpopped,
	.showing = mortal_showing,
	.shown = mortal_shown,
};

struct life {
	struct test_driver *d;
	struct mortal mortal;
	uint64_t random;
	struct vireo_chain out[SIZE]; /* popped, and not completed */
	const void *first_piece[SIZE]; /* of the chain with this id, while it is in flight */
	unsigned out_count, added, returned, handed_out_again;
	bool in_order;
};

static inline unsigned life_random(struct life *l, unsigned below)
{
	l->random = l->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(l->random >> 33) % below;
}

/* Each has memory of its own, and is known by it. */
static inline void life_adds(struct life *l)
{
	uint64_t at = ADDR + 0x400 * (l->added % 16);
	unsigned count = 1 + life_random(l, 3);
	struct test_piece pieces[3];
	bool direct = !l->d->opt.indirect || life_random(l, 2);

	for (unsigned i = 0; i < count; i++)
		pieces[i] = (struct test_piece){ at + 64 * i, 32, i == 2 || life_random(l, 2) };
	for (unsigned i = 1; i < count; i++)
		pieces[i].writable |= pieces[i - 1].writable;
	l->added += driver_add(l->d, pieces, count, direct ? count : 0, at + 0x200) >= 0;
}

static inline void life_takes(struct life *l)
{
	bool skipped;
	uint32_t len;
	int id;

	while ((id = driver_used(l->d, &len, &skipped)) >= 0) { /* it knows a buffer that comes back twice */
		l->first_piece[id] = NULL;
		l->returned++;
	}
}

static inline void life_pops(struct life *l)
{
	struct iovec iov[SIZE * 8];
	int count = ring_pop(l->d->ring, l->out + l->out_count, SIZE - l->out_count, iov, ARRAY_SIZE(iov));

	assert_true(count >= 0);
	for (int i = 0; i < count && !l->mortal.dead; i++) {
		struct vireo_chain *c = &l->out[l->out_count + (unsigned)i];

		if (l->first_piece[c->id]) { /* owed: it is the same one */
			assert_ptr_equal(c->iov[0].iov_base, l->first_piece[c->id]);
			l->handed_out_again++;
		}
		l->first_piece[c->id] = c->iov[0].iov_base;
	}
	l->out_count += (unsigned)count;
}

/* Some are done, in any order; the last that were popped may be given back instead. */
static inline void life_completes(struct life *l)
{
	unsigned count = l->out_count ? 1 + life_random(l, l->out_count) : 0;

	while (count--) {
		unsigned which = l->in_order ? 0 : life_random(l, l->out_count);
		uint32_t written = l->out[which].writable_bytes / 2;

		ring_push(l->d->ring, &l->out[which], &written, 1);
		l->out_count--;
		memmove(&l->out[which], &l->out[which + 1], (l->out_count - which) * sizeof(l->out[0]));
	}
}

static inline void life_unpops(struct life *l)
{
	unsigned before = l->out_count;

	life_pops(l); /* what has just been popped is sure to be the last */
	if (l->out_count == before)
		return;
	ring_unpop(l->d->ring, &l->out[before], l->out_count - before);
	l->out_count = before;
}

/* What a kill leaves of the burst: the entry that shows it is the driver's own again, and others may be. */
static inline void life_unwrites(struct life *l)
{
	struct test_driver *d = l->d;
	const struct packed_desc *was = l->mortal.areas[0];
	unsigned first = d->used_pos;

	if (!d->opt.packed) {
		d->used->idx = ((struct split_used *)l->mortal.areas[2])->idx;
		return;
	}
	for (unsigned i = 0; i < SIZE; i++)
		if (i != first && life_random(l, 2))
			d->pdesc[i] = was[i];
	d->pdesc[first] = was[first];
	*d->device_event = *(struct packed_event *)l->mortal.areas[2];
}

static inline void life_dies(struct life *l, enum death death)
{
	l->mortal.death = death;
	life_pops(l);
	if (death > CHAINS_HAD)
		life_completes(l);
	if (death > HELD_BACK)
		ring_publish(l->d->ring);
	if (!l->mortal.dead)
		return;
	if (death == HALF_WRITTEN)
		life_unwrites(l);
	for (unsigned i = 0; death == BURST_NAMED && i < 3; i++)
		memcpy(l->d->areas[i], l->mortal.areas[i], l->mortal.bytes[i]);
}

static inline void life_lives(struct life *l)
{
	for (unsigned i = 0; i < 2 * SIZE; i++) {
		if (life_random(l, 2))
			life_adds(l);
		if (life_random(l, 2))
			life_pops(l);
		if (!life_random(l, 4))
			life_unpops(l);
		if (life_random(l, 2))
			life_completes(l);
		if (life_random(l, 2))
			ring_publish(l->d->ring);
		if (life_random(l, 2))
			life_takes(l);
	}
	ring_publish(l->d->ring);
	life_takes(l);
}

static inline void life_is_whole(struct life *l)
{
	for (unsigned i = 0; i < 4 * SIZE; i++) {
		life_pops(l);
		life_completes(l);
		ring_publish(l->d->ring);
		life_takes(l);
	}
	assert_null(ring_error(l->d->ring));
	assert_int_equal(l->out_count, 0);
	assert_int_equal(l->returned, l->added);
	assert_int_equal(l->d->free_descs, SIZE);
}

static inline void a_life_with_kills(struct test_driver *d, struct ring_witness inner, uint64_t *header, uint64_t seed, bool in_order)
{
	struct ring_area area = ring_area_bytes(d->opt.packed, SIZE);
	struct life l = { .d = d, .random = seed, .in_order = in_order,
			  .mortal = { .inner = inner, .header = header, .d = d, .death = BETWEEN_BURSTS,
				      .bytes = { area.desc_bytes, area.driver_bytes, area.device_bytes } } };

	for (unsigned i = 0; i < 3; i++)
		l.mortal.areas[i] = test_alloc(l.mortal.bytes[i]);
	succeed(d, &(struct ring_witness){ &mortal_ops, &l.mortal });
	for (unsigned i = 0; i < 40; i++) {
		life_lives(&l);
		life_dies(&l, (enum death)life_random(&l, DEATHS));
		l.mortal.death = BETWEEN_BURSTS;
		l.mortal.dead = false;
		l.out_count = 0;
		succeed(d, &(struct ring_witness){ &mortal_ops, &l.mortal });
		if (life_random(&l, 2))
			life_takes(&l);
		if (!life_random(&l, 3))
			life_is_whole(&l);
	}
	life_is_whole(&l);
	assert_true(l.handed_out_again > 0);
	for (unsigned i = 0; i < 3; i++)
		free(l.mortal.areas[i]);
}

#endif
