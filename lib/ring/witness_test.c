/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ring_test_driver.h"
#include "ring/ring_internal.h"
#include "base/util.h"
#include "wire/inflight.h"

/*
 * What a tenant of witness.h may rely on. The tenant here notes all that it is told, and goes on from there in a successor's
 * place: it is the shape of an in-flight ledger.
 */

#define SIZE  8u
#define DESCS 4u /* a chain's, at most */
#define ADDR  (GUEST_BASE + 0x100)

#define HEADER_WORDS 3u /* of a region: what changes in it */

enum call { POPPED, UNPOPPED, PUSHED, SHOWING, SHOWN };

struct flight {
	uint16_t id, span;
	struct packed_desc descs[DESCS];
};

struct notes {
	struct test_driver *d;
	enum call calls[256];
	unsigned counts[256];
	unsigned call_count;
	struct flight flights[SIZE]; /* in the order of their pop */
	unsigned flight_count;
	struct ring_completion burst[SIZE]; /* named, and not known to be shown */
	unsigned burst_count;
	uint32_t place, place_after;
	bool placed;
	uint64_t bytes_pushed;
	const char *refuses;
};

static void note(struct notes *n, enum call call, unsigned count)
{
	n->calls[n->call_count % ARRAY_SIZE(n->calls)] = call;
	n->counts[n->call_count++ % ARRAY_SIZE(n->counts)] = count;
}

static void flight_drop(struct notes *n, uint16_t id)
{
	unsigned i = 0;

	while (i < n->flight_count && n->flights[i].id != id)
		i++;
	assert_true(i < n->flight_count);
	memmove(&n->flights[i], &n->flights[i + 1], (n->flight_count - i - 1) * sizeof(n->flights[0]));
	n->flight_count--;
}

static void notes_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			 unsigned count)
{
	struct packed_place at = place_decode(place);
	struct notes *n = self;

	note(n, POPPED, count);
	for (unsigned i = 0; i < count; i++) {
		struct flight *f = &n->flights[n->flight_count++];

		assert_true(n->flight_count <= SIZE);
		*f = (struct flight){ .id = chains[i].id, .span = chains[i].span };
		if (!ring->is_packed) {
			assert_int_equal(le16(n->d->avail->ring[(place + i) % SIZE]), f->id);
			continue;
		}
		for (unsigned j = 0; j < f->span; j++, at = place_forward(at, 1, ring->size))
			f->descs[j] = n->d->pdesc[at.pos];
		assert_int_equal(le16(f->descs[f->span - 1].id), f->id);
	}
}

static void notes_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct notes *n = self;

	note(n, UNPOPPED, count);
	while (count--) {
		assert_int_equal(n->flights[n->flight_count - 1].id, chains[count].id);
		n->flight_count--;
	}
}

static void notes_pushed(void *self, const struct ring *ring, const struct vireo_chain *chains, const uint32_t *written,
			 unsigned count)
{
	struct notes *n = self;

	note(n, PUSHED, count);
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < chains[i].readable_count + chains[i].writable_count; j++)
			n->bytes_pushed += chains[i].iov[j].iov_len;
}

static bool areas_show(const struct ring *ring, const struct test_driver *d, uint32_t place)
{
	uint16_t flags = le16(d->pdesc[(place & 0x7fff) % SIZE].flags);

	return ring->is_packed ? !packed_is_available(flags, place >> 15) : le16(d->used->idx) != place;
}

static void notes_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct notes *n = self;

	note(n, SHOWING, burst->count);
	assert_false(areas_show(ring, n->d, burst->place));
	if (n->placed)
		assert_int_equal(burst->place, n->place_after);
	memcpy(n->burst, burst->completions, burst->count * sizeof(n->burst[0]));
	n->burst_count = burst->count;
	n->place = burst->place;
	n->place_after = burst->place_after;
	n->placed = true;
}

static void notes_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct notes *n = self;

	note(n, SHOWN, burst->count);
	assert_true(areas_show(ring, n->d, burst->place));
	assert_int_equal(burst->count, n->burst_count);
	for (unsigned i = 0; i < burst->count; i++)
		flight_drop(n, burst->completions[i].id);
	n->burst_count = 0;
}

/* What is in flight, but for the burst that is shown again. */
static void notes_owe(const struct notes *n, struct ring_stand *stand)
{
	stand->owed = test_alloc(SIZE * sizeof(*stand->owed));
	stand->owed_descs = test_alloc((size_t)SIZE * DESCS * sizeof(*stand->owed_descs));
	for (unsigned i = 0; i < n->flight_count; i++) {
		const struct flight *f = &n->flights[i];
		bool again = false;

		for (unsigned j = 0; j < n->burst_count; j++)
			again |= n->burst[j].id == f->id;
		if (again)
			continue;
		memcpy(stand->owed_descs + (size_t)i * DESCS, f->descs, sizeof(f->descs));
		stand->owed[stand->owed_count++] = (struct ring_owed){ f->id, f->span, i * DESCS };
	}
}

static const char *notes_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	const struct ring as = { .is_packed = setup->packed };
	struct notes *n = self;

	if (n->refuses)
		return n->refuses;
	n->call_count = 0;
	if (n->burst_count && areas_show(&as, n->d, n->place)) {
		for (unsigned i = 0; i < n->burst_count; i++)
			flight_drop(n, n->burst[i].id);
		n->burst_count = 0;
	}
	stand->known = n->placed || n->flight_count;
	stand->place = n->placed && !n->burst_count ? n->place_after : n->place;
	stand->redo = n->burst;
	stand->redo_count = n->burst_count;
	notes_owe(n, stand);
	return NULL;
}

static const struct ring_witness_ops notes_ops = {
	.begin = notes_begin,
	.popped = notes_popped,
	.unpopped = notes_unpopped,
	.pushed = notes_pushed,
	.showing = notes_showing,
	.shown = notes_shown,
};

static struct notes *notes_new(const struct test_options *opt)
{
	struct notes *n = test_alloc(sizeof(*n));

	n->d = driver_new(*opt);
	n->place = opt->packed ? 0x8000 : 0;
	return n;
}

static void notes_free(struct notes *n)
{
	driver_free(n->d);
	free(n);
}

/* The driver's ring is another one from now on, with this witness. */
static void succeed(struct test_driver *d, const struct ring_witness *witness)
{
	struct ring_setup setup = driver_setup(d);
	const char *why;

	setup.witness = *witness;
	setup.out_of_order = true;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

static void notes_succeed(struct notes *n)
{
	succeed(n->d, &(struct ring_witness){ &notes_ops, n });
}

static void add(struct test_driver *d, unsigned chains)
{
	struct test_piece piece = { ADDR, 64, true };

	while (chains--)
		assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
}

static unsigned used_count(struct test_driver *d)
{
	unsigned count = 0;
	bool skipped;
	uint32_t len;

	while (driver_used(d, &len, &skipped) >= 0)
		count++;
	return count;
}

static void for_both(void (*check)(struct notes *n))
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct notes *n = notes_new(&(struct test_options){ .packed = packed, .size = SIZE });

		notes_succeed(n);
		check(n);
		notes_free(n);
	}
}

/* ---- the calls ---- */

static void calls_are(const struct notes *n, const enum call *calls, const unsigned *counts, unsigned count)
{
	assert_int_equal(n->call_count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(n->calls[i], calls[i]);
		assert_int_equal(n->counts[i], counts[i]);
	}
}

static void check_calls(struct notes *n)
{
	static const enum call calls[] = { POPPED, UNPOPPED, PUSHED, PUSHED, SHOWING, SHOWN };
	static const unsigned counts[] = { 4, 1, 1, 2, 3, 3 };
	struct vireo_chain c[4];

	add(n->d, 4);
	assert_int_equal(driver_pop(n->d, c, 4), 4);
	ring_unpop(n->d->ring, &c[3], 1);
	test_push(n->d->ring, &c[2], 5);
	ring_push(n->d->ring, c, NULL, 2);
	assert_int_equal(used_count(n->d), 0);
	assert_int_equal(n->bytes_pushed, 3 * 64);
	ring_publish(n->d->ring);
	assert_false(ring_publish(n->d->ring)); /* there is nothing to tell of */
	calls_are(n, calls, counts, ARRAY_SIZE(calls));
	assert_int_equal(n->burst[0].id, c[2].id);
	assert_int_equal(n->burst[0].written_bytes, 5);
	assert_true(n->burst[0].writable);
	assert_int_equal(used_count(n->d), 3);
	assert_int_equal(driver_pop(n->d, c, 4), 1); /* what was given back comes again, and is told of */
	assert_int_equal(n->calls[n->call_count - 1], POPPED);
}

static void a_witness_is_told_once_a_burst(void **state)
{
	for_both(check_calls);
}

static void check_broken(struct notes *n)
{
	struct vireo_chain c[2];
	unsigned told;

	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	told = n->call_count;
	ring_break(n->d->ring, "a test");
	test_push(n->d->ring, &c[0], 0);
	assert_false(ring_publish(n->d->ring));
	assert_int_equal(driver_pop(n->d, c, 2), -EPROTO);
	assert_int_equal(n->call_count, told);
	assert_int_equal(used_count(n->d), 0);
}

static void of_a_broken_ring_no_witness_is_told(void **state)
{
	for_both(check_broken);
}

static void check_refusal(struct notes *n)
{
	struct ring_setup setup = driver_setup(n->d);
	struct ring *ring;
	const char *why;

	n->refuses = "of no use";
	setup.witness = (struct ring_witness){ &notes_ops, n };
	assert_int_equal(ring_new(&setup, &ring, &why), -EINVAL);
	assert_string_equal(why, "of no use");
}

static void a_witness_may_refuse_the_ring(void **state)
{
	for_both(check_refusal);
}

/* A tenant that wants to know of one thing only; the ring has room of its own for what is held back. */
static void check_part(struct notes *n)
{
	const struct ring_witness_ops ops = { .pushed = notes_pushed };
	struct vireo_chain c[2];

	succeed(n->d, &(struct ring_witness){ &ops, n });
	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	ring_unpop(n->d->ring, &c[1], 1);
	test_push(n->d->ring, &c[0], 7);
	assert_int_equal(used_count(n->d), 0);
	ring_publish(n->d->ring);
	assert_int_equal(used_count(n->d), 1);
}

static void no_call_of_a_witness_is_a_must(void **state)
{
	for_both(check_part);
}

/* ---- what is owed ---- */

/* 0, 1 and 2 are popped, 1 is done, and the process is killed. */
static void check_owed(struct notes *n)
{
	struct vireo_chain c[8], was[3];
	struct test_driver *d = n->d;

	add(d, 3);
	assert_int_equal(driver_pop(d, was, 3), 3);
	test_push(d->ring, &was[1], 0x10);
	ring_publish(d->ring);
	add(d, 1);
	notes_succeed(n);
	assert_true(ring_available(d->ring));
	assert_true(ring_kick_enable(d->ring, true));
	assert_int_equal(driver_pop(d, c, 8), 2); /* what is owed comes alone */
	assert_int_equal(c[0].id, was[0].id);
	assert_int_equal(c[1].id, was[2].id);
	assert_ptr_equal(c[1].iov[0].iov_base, guest_at(d->map, ADDR));
	assert_int_equal(n->call_count, 0); /* it knows of them */
	ring_unpop(d->ring, &c[1], 1);
	assert_true(ring_kick_enable(d->ring, true));
	assert_int_equal(driver_pop(d, &c[1], 8), 1);
	assert_int_equal(c[1].id, was[2].id);
	assert_int_equal(driver_pop(d, &c[2], 8), 1);
	ring_unpop(d->ring, &c[1], 2); /* an owed one, and another */
	assert_int_equal(n->calls[n->call_count - 1], UNPOPPED);
	assert_int_equal(n->counts[n->call_count - 1], 1);
	assert_int_equal(driver_pop(d, &c[1], 8), 1);
	assert_int_equal(c[1].id, was[2].id);
	assert_int_equal(driver_pop(d, &c[2], 8), 1);
	assert_int_equal(driver_pop(d, &c[3], 8), 0);
	assert_false(ring_kick_enable(d->ring, true));
	for (unsigned i = 3; i--;)
		test_push(d->ring, &c[i], 0);
	ring_publish(d->ring);
	assert_int_equal(used_count(d), 4);
	assert_int_equal(d->free_descs, SIZE);
	assert_int_equal(n->flight_count, 0);
}

static void what_is_owed_is_popped_first(void **state)
{
	for_both(check_owed);
}

static void check_room(struct notes *n)
{
	struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR + 64, 4, false }, { ADDR + 128, 4, true } };
	struct vireo_chain c[2];
	struct iovec iov[4];

	for (unsigned i = 0; i < 2; i++)
		driver_add(n->d, pieces, 3, 3, 0);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	notes_succeed(n);
	assert_int_equal(ring_pop(n->d->ring, c, 2, iov, 2), -ENOBUFS);
	assert_int_equal(ring_pop(n->d->ring, c, 2, iov, 4), 1);
	assert_int_equal(ring_pop(n->d->ring, &c[1], 1, iov, 4), 1);
	assert_int_equal(c[1].readable_count, 2);
	assert_int_equal(c[1].writable_bytes, 4);
	ring_push(n->d->ring, c, NULL, 2);
	ring_publish(n->d->ring);
	assert_int_equal(used_count(n->d), 2);
}

static void what_is_owed_waits_for_room(void **state)
{
	for_both(check_room);
}

/* The memory of an owed chain is not mapped yet: it stays, as any other would. */
static void check_miss(struct notes *n)
{
	struct ring_setup setup = driver_setup(n->d);
	struct map *map = n->d->map;
	struct vireo_chain c[2];
	unsigned regions = map->count;
	const char *why;

	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	setup.witness = (struct ring_witness){ &notes_ops, n };
	setup.lazy = true;
	ring_free(n->d->ring);
	assert_int_equal(ring_new(&setup, &n->d->ring, &why), 0);
	map->count = 0;
	assert_int_equal(driver_pop(n->d, c, 2), -EFAULT);
	assert_int_equal(ring_missed(n->d->ring), ADDR);
	map->count = regions;
	assert_int_equal(driver_pop(n->d, c, 2), 2);
}

static void what_is_owed_waits_for_memory(void **state)
{
	for_both(check_miss);
}

/* A copy of descriptors comes from somebody's memory, too. */
static void a_lie_in_what_is_owed_breaks_the_ring(void **state)
{
	static const struct packed_desc lies[][2] = {
		{ { .addr = 0, .len = 4 }, { .addr = ADDR, .len = 4 } },
		{ { .addr = ADDR, .len = 4, .flags = DESC_F_WRITE }, { .addr = ADDR, .len = 4 } },
		{ { .addr = ADDR, .len = 16, .flags = DESC_F_INDIRECT }, { .addr = ADDR, .len = 4 } },
		{ { .addr = UINT64_MAX, .len = 4 }, { .addr = ADDR, .len = 4 } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct notes *n = notes_new(&(struct test_options){ .packed = true, .size = SIZE, .indirect = true });
		struct vireo_chain c;

		n->flight_count = 1;
		n->flights[0] = (struct flight){ .span = 2, .descs = { lies[i][0], lies[i][1] } };
		notes_succeed(n);
		assert_int_equal(driver_pop(n->d, &c, 1), -EPROTO);
		assert_non_null(ring_error(n->d->ring));
		notes_free(n);
	}
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

static const char *mortal_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	struct mortal *m = self;

	return m->inner.ops->begin(m->inner.self, setup, stand);
}

static void mortal_stands(void *self, const struct ring *ring, uint32_t place)
{
	struct mortal *m = self;

	if (m->inner.ops->stands)
		m->inner.ops->stands(m->inner.self, ring, place);
}

static void mortal_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			  unsigned count)
{
	struct mortal *m = self;

	m->dead |= m->death == POP_UNTOLD;
	if (!m->dead)
		m->inner.ops->popped(m->inner.self, ring, place, chains, m->death == POP_HALF_TOLD ? (count + 1) / 2 : count);
	m->dead |= m->death == POP_HALF_TOLD;
}

static void mortal_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct mortal *m = self;

	if (!m->dead)
		m->inner.ops->unpopped(m->inner.self, ring, chains, count);
}

static void mortal_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct mortal *m = self;

	if (m->dead)
		return;
	m->inner.ops->showing(m->inner.self, ring, burst);
	m->dead = m->death == BURST_NAMED || m->death == HALF_WRITTEN;
	for (unsigned i = 0; m->dead && i < 3; i++)
		memcpy(m->areas[i], m->d->areas[i], m->bytes[i]);
}

static void mortal_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
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

static unsigned life_random(struct life *l, unsigned below)
{
	l->random = l->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(l->random >> 33) % below;
}

/* Each has memory of its own, and is known by it. */
static void life_adds(struct life *l)
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

static void life_takes(struct life *l)
{
	bool skipped;
	uint32_t len;
	int id;

	while ((id = driver_used(l->d, &len, &skipped)) >= 0) { /* it knows a buffer that comes back twice */
		l->first_piece[id] = NULL;
		l->returned++;
	}
}

static void life_pops(struct life *l)
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
static void life_completes(struct life *l)
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

static void life_unpops(struct life *l)
{
	unsigned before = l->out_count;

	life_pops(l); /* what has just been popped is sure to be the last */
	if (l->out_count == before)
		return;
	ring_unpop(l->d->ring, &l->out[before], l->out_count - before);
	l->out_count = before;
}

/* What a kill leaves of the burst: the entry that shows it is the driver's own again, and others may be. */
static void life_unwrites(struct life *l)
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

static void life_dies(struct life *l, enum death death)
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

static void life_lives(struct life *l)
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

static void life_is_whole(struct life *l)
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

static void a_life_with_kills(struct test_driver *d, struct ring_witness inner, uint64_t *header, uint64_t seed, bool in_order)
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

static void killed_at_any_moment_none_is_lost_and_none_completed_twice(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct test_options opt = { .packed = seed & 1, .size = SIZE, .indirect = seed & 2, .event_idx = seed & 4,
					    .in_order = seed & 8 };
		struct notes *n = notes_new(&opt);

		a_life_with_kills(n->d, (struct ring_witness){ &notes_ops, n }, NULL, seed, opt.in_order || seed & 16);
		assert_int_equal(n->flight_count, 0);
		notes_free(n);
	}
}

/* ---- the ledger ---- */

struct ledger_lab {
	void *region;
	struct ring_ledger *ledger;
};

static struct ledger_lab ledger_new(bool packed, uint32_t entries)
{
	struct ledger_lab l = { .region = test_alloc(ring_ledger_bytes(packed, entries)) };

	assert_int_equal(ring_ledger_new(l.region, packed, entries, &l.ledger), 0);
	return l;
}

static void ledger_free(struct ledger_lab *l)
{
	ring_ledger_free(l->ledger);
	free(l->region);
}

static void a_ledger_owes_what_was_in_flight_when_its_process_was_killed(void **state)
{
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct test_options opt = { .packed = seed & 1, .size = SIZE, .indirect = seed & 2, .event_idx = seed & 4,
					    .in_order = !(seed % 8) };
		unsigned entries = seed & 16 ? SIZE : SIZE + 3; /* a region may be for longer rings */
		struct ledger_lab l = ledger_new(opt.packed, entries);
		struct test_driver *d = driver_new(opt);

		a_life_with_kills(d, ring_ledger_witness(l.ledger), l.region, seed, opt.in_order);
		driver_free(d);
		ledger_free(&l);
	}
}

/* Three in flight; of another two, a burst is named, or shown. The bytes are from a peer: whatever is in them. */
static void a_lie_in_a_ledger_breaks_nobody(void **state)
{
	uint64_t random = 1;
	unsigned refused = 0;

	for (unsigned round = 0; round < 4000; round++) {
		bool packed = round & 1;
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });
		struct ledger_lab l = ledger_new(packed, SIZE);
		size_t bytes = ring_ledger_bytes(packed, SIZE);
		struct ring_setup setup = driver_setup(d);
		uint64_t header[HEADER_WORDS];
		struct vireo_chain c[SIZE];
		uint8_t *region = l.region;
		const char *why;

		setup.witness = ring_ledger_witness(l.ledger);
		succeed(d, &setup.witness);
		add(d, 5);
		assert_int_equal(driver_pop(d, c, 5), 5);
		ring_push(d->ring, &c[3], NULL, 2);
		if (round & 2)
			ring_publish(d->ring);
		memcpy(header, region, sizeof(header));
		if (round & 4)
			ring_publish(d->ring);
		memcpy(region, header, sizeof(header));
		for (unsigned lies = 1 + round % 3; lies--;) {
			random = random * UINT64_C(6364136223846793005) + 1;
			region[(random >> 40) % bytes] = (uint8_t)(random >> 33 & (round & 8 ? 0x0f : 0xff));
		}
		setup.out_of_order = true;
		ring_free(d->ring);
		d->ring = NULL;
		if (ring_new(&setup, &d->ring, &why))
			refused++;
		else
			driver_pop(d, c, SIZE); /* whatever it says */
		driver_free(d);
		ledger_free(&l);
	}
	assert_in_range(refused, 100, 3900);
}

/* A region that its peer writes to all the time costs nobody anything but that peer. */
static void a_region_that_changes_under_the_ledger_breaks_nobody(void **state)
{
	uint64_t random = 7;

	for (unsigned round = 0; round < 400; round++) {
		bool packed = round & 1;
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });
		struct ledger_lab l = ledger_new(packed, SIZE);
		struct ring_witness witness = ring_ledger_witness(l.ledger);
		uint8_t *region = l.region;
		struct vireo_chain c[SIZE];

		succeed(d, &witness);
		for (unsigned lap = 0; lap < 40; lap++) {
			unsigned count = 1 + lap % SIZE;

			for (unsigned i = 0; i < 40; i++) {
				random = random * UINT64_C(6364136223846793005) + 1;
				region[(random >> 40) % ring_ledger_bytes(packed, SIZE)] = (uint8_t)(random >> 33);
			}
			add(d, count);
			assert_int_equal(driver_pop(d, c, SIZE), count);
			for (unsigned i = count; i--;)
				test_push(d->ring, &c[i], 0);
			ring_publish(d->ring);
			assert_int_equal(used_count(d), count);
		}
		driver_free(d);
		ledger_free(&l);
	}
}

/* The first pop of all may be the last, and before that, nothing was in flight. */
static void what_was_in_flight_before_anything_was_shown_is_owed(void **state)
{
	static const uint32_t bases[] = { 0, 6, 0x80068006, 0x00070007 };

	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = i > 1, .size = SIZE, .base = bases[i] });
		struct ledger_lab l = ledger_new(i > 1, SIZE);
		struct vireo_chain c[SIZE];

		for (unsigned life = 0; life < 4; life++) {
			struct ring_setup setup = driver_setup(d);
			const char *why;

			ring_free(d->ring);
			setup.witness = ring_ledger_witness(l.ledger);
			setup.sure = !life; /* the driver begins there; after that the ledger says so */
			setup.out_of_order = true;
			assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
			assert_int_equal(ring_owes(d->ring), life > 1 ? 4 : 0);
			if (!life)
				add(d, 4); /* and killed before they were popped */
			else
				assert_int_equal(driver_pop(d, c, SIZE), 4);
		}
		test_push(d->ring, &c[2], 0);
		test_push(d->ring, &c[0], 0);
		ring_publish(d->ring);
		assert_int_equal(used_count(d), 2);
		driver_free(d);
		ledger_free(&l);
	}
}

/* Of four chains the first two are done, one after the other. */
static struct ledger_lab ledger_to_lie(struct test_driver *d)
{
	struct ledger_lab l = ledger_new(d->opt.packed, SIZE);
	struct ring_witness witness = ring_ledger_witness(l.ledger);
	struct vireo_chain c[SIZE];

	succeed(d, &witness);
	add(d, 4);
	assert_int_equal(driver_pop(d, c, SIZE), 4);
	for (unsigned i = 0; i < 2; i++) {
		test_push(d->ring, &c[i], 0);
		ring_publish(d->ring);
	}
	return l;
}

static void refused(struct test_driver *d, struct ledger_lab *l, const char *says)
{
	struct ring_setup setup = driver_setup(d);
	struct ring *next;
	const char *why = "";

	setup.witness = ring_ledger_witness(l->ledger);
	assert_int_equal(ring_new(&setup, &next, &why), strstr(says, "smaller") ? -EINVAL : -EPROTO);
	if (!strstr(why, says))
		fail_msg("%s", why);
	driver_free(d);
	ledger_free(l);
}

static void lie_is_refused(bool packed, size_t offset, unsigned bytes, uint64_t lie, const char *says)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });
	struct ledger_lab l = ledger_to_lie(d);

	memcpy((uint8_t *)l.region + offset, &lie, bytes);
	refused(d, &l, says);
}

#define SPLIT_AT(id, field)  (offsetof(struct inflight_split, desc) + (id) * sizeof(struct inflight_split_desc) + \
			      offsetof(struct inflight_split_desc, field))
#define PACKED_AT(id, field) (offsetof(struct inflight_packed, desc) + (id) * sizeof(struct inflight_packed_desc) + \
			      offsetof(struct inflight_packed_desc, field))

/* Ids come from a stack, 0 first; so do entries. 2 and 3 are in flight. */
static void what_a_ledger_cannot_say_is_refused(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		lie_is_refused(packed, 0, 8, 1, "features");
		lie_is_refused(packed, 8, 2, 2, "version");
		lie_is_refused(packed, 10, 2, SIZE + 1, "another size");
		lie_is_refused(packed, 10, 2, SIZE - 1, "another size");
		lie_is_refused(packed, packed ? PACKED_AT(2, inflight) : SPLIT_AT(2, inflight), 1, 2, "cannot be");
	}
	lie_is_refused(false, offsetof(struct inflight_split, used_idx), 2, 9, "cannot be"); /* further than the ring is long */
	lie_is_refused(false, SPLIT_AT(3, counter), 8, 3, "cannot be"); /* the other's */
	lie_is_refused(true, offsetof(struct inflight_packed, used_idx), 2, SIZE, "cannot be");
	lie_is_refused(true, offsetof(struct inflight_packed, old_used_idx), 2, SIZE, "cannot be");
	lie_is_refused(true, offsetof(struct inflight_packed, used_wrap_counter), 1, 2, "cannot be");
	lie_is_refused(true, offsetof(struct inflight_packed, old_used_wrap_counter), 1, 2, "cannot be");
	lie_is_refused(true, PACKED_AT(2, num), 2, 0, "cannot be");
	lie_is_refused(true, PACKED_AT(2, num), 2, SIZE + 1, "cannot be");
	lie_is_refused(true, PACKED_AT(2, num), 2, 2, "cannot be"); /* one more than there are: the other's, or a free one */
	lie_is_refused(true, PACKED_AT(2, last), 2, 3, "cannot be");
	lie_is_refused(true, PACKED_AT(2, id), 2, SIZE, "cannot be");
	lie_is_refused(true, PACKED_AT(2, id), 2, 3, "cannot be"); /* the other's */
	lie_is_refused(true, PACKED_AT(3, counter), 8, 3, "cannot be");
}

/* The list of the last burst: as long as the ring's used index says, and each head once. */
static void a_list_of_the_last_burst_that_cannot_be_is_refused(void **state)
{
	static const uint16_t lies[][2] = { { 1, 1 }, { SIZE, 0 }, { 1, SIZE }, { 1, UINT16_MAX } }; /* its head, and what follows 1 */

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct test_driver *d = driver_new((struct test_options){ .size = SIZE });
		struct ledger_lab l = ledger_to_lie(d);
		struct inflight_split *region = l.region;

		region->used_idx = 0; /* two are shown since */
		region->last_batch_head = lies[i][0];
		region->desc[1].next = lies[i][1];
		refused(d, &l, "cannot be");
	}
}

/* Of a chain with a list in a ring: a loop, an entry of another one, one that is free, one that is none. */
static void a_chain_that_is_none_is_refused(void **state)
{
	static const uint16_t lies[] = { 0, 3, 6, SIZE, UINT16_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = SIZE });
		struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR, 4, false }, { ADDR, 4, false } };
		struct ledger_lab l = ledger_new(true, SIZE);
		struct ring_witness witness = ring_ledger_witness(l.ledger);
		struct inflight_packed *region = l.region;
		struct vireo_chain c[SIZE];

		succeed(d, &witness);
		for (unsigned chain = 0; chain < 2; chain++)
			assert_true(driver_add(d, pieces, 3, 3, 0) >= 0);
		assert_int_equal(driver_pop(d, c, SIZE), 2);
		region->desc[1].next = lies[i];
		refused(d, &l, "cannot be");
	}
}

/* Spoken of in the region, and not of this ring. */
static void a_region_for_shorter_rings_is_refused(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });
		struct ledger_lab l = ledger_new(packed, SIZE - 1);

		refused(d, &l, "smaller ring");
	}
}

/*
 * Three used entries were written and not shown. What is shown next is one: the driver must not take those behind it for used,
 * which is what they look like.
 */
static void entries_of_a_burst_that_was_not_shown_are_taken_back(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = SIZE });
	struct ledger_lab l = ledger_new(true, SIZE);
	struct ring_witness witness = ring_ledger_witness(l.ledger);
	struct packed_desc before[SIZE];
	struct vireo_chain c[SIZE];
	uint8_t region[3 * 8];

	succeed(d, &witness);
	add(d, 5);
	assert_int_equal(driver_pop(d, c, 5), 5);
	memcpy(before, d->pdesc, sizeof(before));
	memcpy(region, l.region, sizeof(region));
	ring_push(d->ring, c, NULL, 3);
	ring_publish(d->ring);
	memcpy(l.region, region, sizeof(region)); /* killed before the first entry was written */
	for (unsigned i = 0; i < 3; i++)
		((struct inflight_packed *)l.region)->desc[i].inflight = 1;
	d->pdesc[0] = before[0];
	succeed(d, &witness);
	assert_int_equal(driver_pop(d, c, SIZE), 5);
	test_push(d->ring, &c[4], 0);
	ring_publish(d->ring);
	assert_int_equal(used_count(d), 1);
	for (unsigned i = 0; i < 4; i++)
		test_push(d->ring, &c[i], 0);
	ring_publish(d->ring);
	assert_int_equal(used_count(d), 4);
	driver_free(d);
	ledger_free(&l);
}

/* A driver that has two chains in flight under one name has lost one, and nobody else anything. */
static void a_name_that_is_used_twice_costs_no_entries(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = SIZE });
	struct ledger_lab l = ledger_new(true, SIZE);
	struct ring_witness witness = ring_ledger_witness(l.ledger);
	struct vireo_chain c[SIZE];

	succeed(d, &witness);
	for (unsigned i = 0; i < SIZE; i++)
		packed_set(d, ADDR, 64, DESC_F_WRITE, 3);
	for (unsigned lap = 0; lap < 3; lap++) {
		assert_int_equal(driver_pop(d, c, SIZE), SIZE);
		ring_push(d->ring, c, NULL, SIZE / 2);
		ring_publish(d->ring);
		ring_push(d->ring, c, NULL, SIZE / 2);
		ring_publish(d->ring);
		for (unsigned i = 0; i < SIZE; i++)
			packed_set(d, ADDR, 64, DESC_F_WRITE, 3);
	}
	assert_int_equal(driver_pop(d, c, SIZE), SIZE);
	succeed(d, &witness);
	assert_int_equal(driver_pop(d, c, SIZE), 1); /* the last of them */
	driver_free(d);
	ledger_free(&l);
}

/* Where nothing is owed, the ring's memory counts: the driver may have set it up anew. */
static void a_ledger_that_owes_nothing_contradicts_nobody(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });
		struct ledger_lab l = ledger_new(packed, SIZE);
		struct ring_witness witness = ring_ledger_witness(l.ledger);
		struct vireo_chain c[SIZE];

		succeed(d, &witness);
		add(d, 3);
		assert_int_equal(driver_pop(d, c, SIZE), 3);
		ring_push(d->ring, c, NULL, 3);
		ring_publish(d->ring);
		succeed(d, &witness);
		assert_int_equal(ring_base(d->ring), packed ? 0x80038003 : 3);
		d->used->idx = d->avail->idx = 0;
		if (!packed) {
			succeed(d, &witness);
			assert_int_equal(ring_base(d->ring), 0);
		}
		driver_free(d);
		ledger_free(&l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_witness_is_told_once_a_burst),
		cmocka_unit_test(of_a_broken_ring_no_witness_is_told),
		cmocka_unit_test(a_witness_may_refuse_the_ring),
		cmocka_unit_test(no_call_of_a_witness_is_a_must),
		cmocka_unit_test(what_is_owed_is_popped_first),
		cmocka_unit_test(what_is_owed_waits_for_room),
		cmocka_unit_test(what_is_owed_waits_for_memory),
		cmocka_unit_test(a_lie_in_what_is_owed_breaks_the_ring),
		cmocka_unit_test(killed_at_any_moment_none_is_lost_and_none_completed_twice),
		cmocka_unit_test(a_ledger_owes_what_was_in_flight_when_its_process_was_killed),
		cmocka_unit_test(what_was_in_flight_before_anything_was_shown_is_owed),
		cmocka_unit_test(what_a_ledger_cannot_say_is_refused),
		cmocka_unit_test(a_lie_in_a_ledger_breaks_nobody),
		cmocka_unit_test(a_region_that_changes_under_the_ledger_breaks_nobody),
		cmocka_unit_test(a_list_of_the_last_burst_that_cannot_be_is_refused),
		cmocka_unit_test(a_chain_that_is_none_is_refused),
		cmocka_unit_test(a_region_for_shorter_rings_is_refused),
		cmocka_unit_test(entries_of_a_burst_that_was_not_shown_are_taken_back),
		cmocka_unit_test(a_name_that_is_used_twice_costs_no_entries),
		cmocka_unit_test(a_ledger_that_owes_nothing_contradicts_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
