/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/place.h"
#include "ring/ring_test_driver.h"
#include <endian.h>

/* What a ring leaves to its successor, and addresses that are not in memory yet. */

#define ADDR (GUEST_BASE + 0x100)

static struct ring_record *record_new(uint32_t size)
{
	return test_alloc(ring_record_bytes(size));
}

static struct ring_setup setup_with(const struct test_driver *d, struct ring_record *record)
{
	struct ring_setup setup = driver_setup_in_order(d);

	setup.witness = ring_record_witness(record);
	setup.base = 0x80008000; /* as the driver set it up, long ago */
	return setup;
}

/* The ring is another one from now on. */
static void succeed(struct test_driver *d, struct ring_record *record)
{
	struct ring_setup setup = setup_with(d, record);
	const char *why;

	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

/* Where a successor would begin: the used half of its base. */
static uint32_t successors_place(const struct test_driver *d, struct ring_record *record)
{
	struct ring_setup setup = setup_with(d, record);
	struct ring *ring;
	const char *why;
	uint32_t base;

	assert_int_equal(ring_new(&setup, &ring, &why), 0);
	base = ring_base(ring);
	ring_free(ring);
	return base >> 16;
}

/* One chain of `descs` descriptors goes round. The successor is asked at each moment of it. */
static void one_round(struct test_driver *d, struct ring_record *record, unsigned descs)
{
	struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR + 8, 4, false }, { ADDR + 16, 4, false } };
	uint32_t place = ring_base(d->ring) >> 16, len;
	struct vireo_chain chain;
	bool skipped;

	assert_true(driver_add(d, pieces, descs, descs, 0) >= 0);
	assert_int_equal(successors_place(d, record), place);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(successors_place(d, record), place); /* popped again */
	test_push(d->ring, &chain, 0);
	assert_int_equal(successors_place(d, record), place); /* nothing of it is in the ring */
	ring_publish(d->ring);
	assert_int_equal(successors_place(d, record), ring_base(d->ring) >> 16);
	assert_int_not_equal(ring_base(d->ring) >> 16, place);
	assert_true(driver_used(d, &len, &skipped) >= 0);
	/* The driver has what was used, and gives nothing yet. */
	assert_int_equal(successors_place(d, record), ring_base(d->ring) >> 16);
}

static void a_successor_begins_where_the_last_burst_that_was_shown_ends(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 5, 8 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = sizes[i] });
		struct ring_record *record = record_new(sizes[i]);

		succeed(d, record);
		for (unsigned round = 0; round < 5 * sizes[i]; round++)
			one_round(d, record, 1 + round % (sizes[i] < 3 ? 1 : 3));
		free(record);
		driver_free(d);
	}
}

static void a_driver_that_has_gone_on_does_not_mislead_a_successor(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 4 });
	struct test_piece piece = { ADDR, 4, false };
	struct ring_record *record = record_new(4);
	struct vireo_chain chain;
	uint32_t len, place;
	bool skipped;

	succeed(d, record);
	for (unsigned lap = 0; lap < 3; lap++) {
		for (unsigned i = 0; i < 4; i++)
			driver_add(d, &piece, 1, 1, 0);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(driver_pop(d, &chain, 1), 1);
			test_push(d->ring, &chain, 0);
			ring_publish(d->ring);
		}
		while (driver_used(d, &len, &skipped) >= 0)
			;
		place = ring_base(d->ring) >> 16;
		for (unsigned i = 0; i < 4; i++) /* the record's begin is available in the next lap */
			driver_add(d, &piece, 1, 1, 0);
		assert_int_equal(successors_place(d, record), place);
		succeed(d, record);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(driver_pop(d, &chain, 1), 1);
			test_push(d->ring, &chain, 0);
		}
		ring_publish(d->ring);
		while (driver_used(d, &len, &skipped) >= 0)
			;
	}
	free(record);
	driver_free(d);
}

/* ---- killed in the middle of a burst ---- */

#define KILL_SIZE 8u
#define LAPS	  5u

/* A moment of the predecessor's life: the first `written` entries of the burst that it publishes are in the ring. */
struct moment {
	unsigned burst;
	int written; /* -1: pushed, and not published */
	bool in_order, writable;
};

/* The driver makes all that it can available. */
static void fill(struct test_driver *d, bool writable)
{
	struct test_piece piece = { ADDR, 64, writable };

	while (d->free_descs)
		driver_add(d, &piece, 1, 1, 0);
}

static unsigned used_count(struct test_driver *d, bool *seen)
{
	unsigned count = 0;
	bool skipped;
	uint32_t len;
	int id;

	for (; (id = driver_used(d, &len, &skipped)) >= 0; count++) {
		assert_false(seen[id]);
		seen[id] = true;
	}
	return count;
}

static void pop_and_push(struct test_driver *d, unsigned count)
{
	struct vireo_chain chains[KILL_SIZE];

	assert_int_equal(driver_pop(d, chains, count), count);
	ring_push(d->ring, chains, NULL, count);
}

/* The ring's memory as the kill leaves it: of the entries that publish writes, the driver's own are back. */
static void kill_at(struct test_driver *d, const struct moment *m, const struct packed_desc *before, uint32_t pos)
{
	for (unsigned i = 0; i < KILL_SIZE; i++) {
		unsigned place = (pos + i) % KILL_SIZE;

		if (i && (int)i < m->written)
			continue;
		if (!i && m->written)
			d->pdesc[place].flags = before[place].flags; /* id and length may be ours */
		else
			d->pdesc[place] = before[place];
	}
}

/* Every buffer comes back once, and the ring goes on, lap after lap. */
static void killed_at_moment(const struct moment *m, unsigned start)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = KILL_SIZE, .in_order = m->in_order });
	struct ring_record *record = record_new(KILL_SIZE);
	struct packed_desc before[KILL_SIZE];
	bool seen[KILL_SIZE] = { false };
	uint32_t pos;

	succeed(d, record);
	for (unsigned i = 0; i < start; i++) { /* bursts begin anywhere in the lap */
		struct test_piece piece = { ADDR, 64, m->writable };
		bool once[KILL_SIZE] = { false };

		driver_add(d, &piece, 1, 1, 0);
		pop_and_push(d, 1);
		ring_publish(d->ring);
		assert_int_equal(used_count(d, once), 1);
	}
	fill(d, m->writable);
	pos = ring_base(d->ring) >> 16 & 0x7fff;
	memcpy(before, d->pdesc, sizeof(before));
	pop_and_push(d, m->burst);
	if (m->written >= 0) {
		ring_publish(d->ring);
		kill_at(d, m, before, pos);
	}
	succeed(d, record);
	for (unsigned lap = 0; lap < LAPS; lap++) {
		unsigned got = 0;

		for (; got < KILL_SIZE && ring_available(d->ring); got++) {
			pop_and_push(d, 1);
			ring_publish(d->ring);
		}
		assert_int_equal(got, lap || m->written < 0 ? KILL_SIZE : KILL_SIZE - m->burst);
		assert_int_equal(used_count(d, seen), KILL_SIZE);
		memset(seen, 0, sizeof(seen));
		fill(d, m->writable);
	}
	assert_null(ring_error(d->ring));
	free(record);
	driver_free(d);
}

static void killed_at_any_moment_of_a_burst_every_buffer_comes_back_once(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned start = 0; start < KILL_SIZE; start++)
			for (unsigned burst = 1; burst <= KILL_SIZE; burst++)
				for (int written = -1; written <= (int)burst; written++) {
					struct moment m = { burst, written, kind & 1, kind & 2 };

					/* One entry stands for the burst: there are no others. */
					if (m.in_order && !m.writable && written > 1)
						continue;
					killed_at_moment(&m, start);
				}
}

static void a_record_that_is_no_place_is_not_believed(void **state)
{
	static const uint64_t lies[] = { 0x180048000, 0x180008004, UINT64_MAX, 0x100007fff, 0x580018000, 0x80018000 };
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 4 });
	struct ring_record *record = record_new(4);

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		memcpy(record, &lies[i], sizeof(lies[i])); /* its first word, see record.c */
		assert_int_equal(successors_place(d, record), 0x8000);
	}
	free(record);
	driver_free(d);
}

/* Completions that no ring of this size has, or that do not end where the burst does. */
static void a_lie_in_a_record_is_not_shown(void **state)
{
	static const struct ring_completion lies[][2] = {
		{ { .id = 4, .span = 1 }, { .id = 1, .span = 1 } },
		{ { .id = 0, .span = 1 }, { .id = 1, .span = 2 } },
		{ { .id = 0, .span = 0 }, { .id = 1, .span = 2 } },
		{ { .id = 0, .span = UINT16_MAX }, { .id = 1, .span = 3 } },
		{ { .id = 0, .span = 1, .written_bytes = 1 }, { .id = 1, .span = 1 } },
	};
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 4 });
	struct ring_record *record = record_new(4);
	struct test_piece piece = { ADDR, 4, false };
	const uint64_t burst = 0x280028000;

	driver_add(d, &piece, 1, 1, 0);
	driver_add(d, &piece, 1, 1, 0);
	memcpy(record, &burst, sizeof(burst)); /* its first words, see record.c */
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		memcpy((uint8_t *)record + 16, lies[i], sizeof(lies[i]));
		assert_int_equal(successors_place(d, record), 0x8000);
	}
	free(record);
	driver_free(d);
}

/* ---- killed without a record: the ring itself tells ---- */

#define LIFE_SIZE 7u
#define LIFE_KILLS 60u

enum death {
	BETWEEN_BURSTS,
	POPPED, /* and nothing pushed */
	HALF_PUSHED,
	PUSHED, /* and not published */
	SHOWN, /* and not marked yet */
	DEATHS
};

/* A driver that is at work, and what is done to its device: all from one seed. */
struct life {
	struct test_driver *d;
	uint64_t random;
	unsigned pieces_max;
	bool writable;
	bool kicks; /* asks for kicks when there is nothing left, as a worker that sleeps does */
	bool passed; /* while there is no device somebody else uses chains, from the place on that he knows, and tells */
	struct packed_place his;
	unsigned added, returned;
};

static unsigned life_random(struct life *l, unsigned below)
{
	l->random = l->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(l->random >> 33) % below;
}

static void life_takes(struct life *l)
{
	uint32_t len;
	bool skipped;

	while (driver_used(l->d, &len, &skipped) >= 0) /* it knows a buffer that comes back twice */
		l->returned++;
}

static void life_adds(struct life *l, unsigned chains)
{
	struct test_piece pieces[4];

	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct test_piece){ ADDR + 64 * i, 32, l->writable };
	for (unsigned i = 0; i < chains; i++) {
		unsigned count = 1 + life_random(l, l->pieces_max);
		bool direct = !l->d->opt.indirect || life_random(l, 2);

		l->added += driver_add(l->d, pieces, count, direct ? count : 0, GUEST_SEAM) >= 0;
	}
}

static void life_dies(struct life *l, enum death death)
{
	struct packed_event event = *l->d->device_event;
	struct vireo_chain chains[LIFE_SIZE];
	int count = driver_pop(l->d, chains, 1 + life_random(l, LIFE_SIZE));

	assert_true(count >= 0);
	if (death == POPPED || !count)
		return;
	ring_push(l->d->ring, chains, NULL, death == HALF_PUSHED ? 1 + life_random(l, (unsigned)count) : (unsigned)count);
	if (death != SHOWN)
		return;
	ring_publish(l->d->ring);
	*l->d->device_event = event;
}

static void life_serves(struct life *l)
{
	struct vireo_chain chains[LIFE_SIZE];
	int count = driver_pop(l->d, chains, 1 + life_random(l, LIFE_SIZE));

	assert_true(count >= 0);
	if (count) {
		ring_push(l->d->ring, chains, NULL, (unsigned)count);
		ring_publish(l->d->ring);
	} else if (l->kicks) {
		ring_kick_enable(l->d->ring, true);
		ring_kick_enable(l->d->ring, life_random(l, 2));
	}
}

static void life_goes_on(struct life *l)
{
	for (unsigned i = 0; i < 4 * LIFE_SIZE; i++) {
		life_adds(l, life_random(l, 4));
		if (life_random(l, 3))
			life_serves(l);
		if (life_random(l, 2))
			life_takes(l);
	}
}

/* All that is available is served: every buffer has come back. */
static void life_is_whole(struct life *l)
{
	for (unsigned i = 0; i < 3 * LIFE_SIZE; i++)
		life_serves(l);
	life_takes(l);
	assert_null(ring_error(l->d->ring));
	assert_int_equal(l->returned, l->added);
	assert_int_equal(l->d->free_descs, l->d->opt.size);
}

/* As QEMU 7.2 does with what a guest sends. Chains are single descriptors. */
static void life_is_passed_over(struct life *l)
{
	life_adds(l, life_random(l, LIFE_SIZE));
	for (unsigned count = life_random(l, LIFE_SIZE); count; count--) {
		struct packed_desc *desc = &l->d->pdesc[l->his.pos];

		if (!packed_is_available(le16toh(desc->flags), l->his.wrap))
			return;
		desc->flags = htole16((uint16_t)packed_used_flags(l->his.wrap, 0));
		l->his = place_forward(l->his, 1, l->d->opt.size);
	}
}

static void a_life_with_kills(struct test_options opt, uint64_t seed, bool exact, unsigned deaths)
{
	bool turned = seed & 64; /* somebody else turns kicks off before he looks, and leaves the offset */
	struct life l = { .d = driver_new(opt), .random = seed, .pieces_max = exact ? 1 : 4, .kicks = seed & 1 || turned,
			  .writable = seed & 16, .passed = exact && seed & 32, .his = place_decode(RING_BASE_PACKED_NEW) };
	const char *why;

	ring_kick_enable(l.d->ring, false);
	for (unsigned i = 0; i < LIFE_KILLS; i++) {
		struct ring_setup setup = driver_setup_in_order(l.d);

		life_goes_on(&l);
		life_adds(&l, life_random(&l, 4));
		if (life_random(&l, deaths))
			life_dies(&l, (enum death)(1 + life_random(&l, deaths - 1)));
		if (turned && life_random(&l, 2) && l.d->device_event->off_wrap) /* 0 is what is left by who polls: it says less */
			l.d->device_event->flags = htole16(PACKED_EVENT_DISABLE);
		if (l.passed) {
			life_is_passed_over(&l);
			setup.base = place_encode(l.his) * 0x10001u;
		}
		ring_free(l.d->ring);
		assert_int_equal(ring_new(&setup, &l.d->ring, &why), 0); /* with the base of the beginning, or his */
		if (life_random(&l, 2))
			life_takes(&l);
		ring_kick_enable(l.d->ring, life_random(&l, 2) && l.kicks);
		if (life_random(&l, 2))
			life_is_whole(&l);
	}
	life_is_whole(&l);
	driver_free(l.d);
}

/* One descriptor a chain: whatever the moment of the kill, it can be made out. */
static void killed_at_any_moment_a_ring_of_single_descriptors_goes_on(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		a_life_with_kills((struct test_options){ .packed = true, .size = LIFE_SIZE, .indirect = seed & 4,
							 .event_idx = seed & 2 }, seed, true, DEATHS);
}

/* Chains of several: at any moment but between a burst's last store and the mark, which is the next one. */
static void killed_before_the_mark_a_ring_of_long_chains_goes_on(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		a_life_with_kills((struct test_options){ .packed = true, .size = LIFE_SIZE, .indirect = seed & 4,
							 .event_idx = seed & 2, .in_order = seed & 8 }, seed & ~UINT64_C(1),
				  false, SHOWN);
}

/* The base that a front end which knows split rings alone tells, for a packed ring. Chains are served; later nobody knows which. */
static void a_new_packed_ring_is_served_whose_base_is_that_of_a_split_one(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 8 });
	struct test_piece piece = { ADDR, 64, true };
	struct vireo_chain chains[8];
	struct ring_setup setup = driver_setup(d);
	struct ring *next;
	const char *why;

	setup.base = 0;
	for (unsigned made = 0; made < 3; made++) {
		assert_int_equal(ring_new(&setup, &next, &why), 0);
		assert_int_equal(ring_pop(next, chains, 8, d->iov, TEST_PIECES_MAX), made);
		ring_free(next);
		driver_add(d, &piece, 1, 1, 0);
	}
	assert_int_equal(driver_pop(d, chains, 3), 3);
	test_push(d->ring, &chains[1], 64);
	ring_publish(d->ring);
	assert_int_equal(ring_new(&setup, &next, &why), -EINVAL);
	assert_non_null(strstr(why, "chains were in flight"));
	driver_free(d);
}

/* The case of a disk: 0, 1 and 2 are popped, 1 is done, and the process is killed. */
static void what_was_in_flight_out_of_order_is_not_guessed(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 8 });
		struct test_piece piece = { ADDR, 64, true };
		struct vireo_chain chains[3];
		struct ring_setup setup;
		struct ring *next;
		const char *why;

		for (unsigned i = 0; i < 3; i++)
			driver_add(d, &piece, 1, 1, 0);
		setup = driver_setup(d);
		assert_int_equal(ring_new(&setup, &next, &why), 0); /* nothing has been used in it */
		ring_free(next);
		assert_int_equal(driver_pop(d, chains, 3), 3);
		test_push(d->ring, &chains[1], 64);
		ring_publish(d->ring);
		setup.base = packed ? 0x80018001 : 1; /* as a front end would say it */
		assert_int_equal(ring_new(&setup, &next, &why), -EINVAL);
		assert_non_null(strstr(why, "chains were in flight"));
		test_push(d->ring, &chains[0], 64);
		test_push(d->ring, &chains[2], 64);
		ring_publish(d->ring);
		setup.base = ring_base(d->ring);
		assert_int_equal(ring_new(&setup, &next, &why), 0); /* all is done */
		ring_free(next);
		driver_add(d, &piece, 1, 1, 0);
		assert_int_equal(ring_new(&setup, &next, &why), -EINVAL);
		setup.sure = true; /* it was stopped there */
		assert_int_equal(ring_new(&setup, &next, &why), 0);
		ring_free(next);
		driver_free(d);
	}
}

static void a_ring_that_is_none_breaks_nobody(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 64 });
	uint64_t random = 1;

	for (unsigned round = 0; round < 20000; round++) {
		struct ring_setup setup = driver_setup_in_order(d);
		struct vireo_chain chains[8];
		struct ring *next;
		const char *why;

		setup.size = 1 + round % 64;
		setup.in_order = round & 64;
		for (unsigned i = 0; i < setup.size; i++) {
			random = random * UINT64_C(6364136223846793005) + 1;
			d->pdesc[i].flags = round & 128 ? (uint16_t)(random >> 40) : (random >> 40 & 0x8080) | (random >> 60 & 7);
			d->pdesc[i].id = random >> 33 & 7;
		}
		d->device_event->off_wrap = (uint16_t)(random >> 20);
		d->device_event->flags = random >> 50 & 3;
		assert_int_equal(ring_new(&setup, &next, &why), 0);
		ring_pop(next, chains, 8, d->iov, TEST_PIECES_MAX); /* whatever it says */
		ring_free(next);
	}
	driver_free(d);
}

/* The driver is in the middle of adding a chain of so many pieces: all but its head's flags are there. */
static void a_chain_is_just_being_added(unsigned start, unsigned count)
{
	struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR + 8, 4, false }, { ADDR + 16, 4, false } };
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = 8 });
	struct ring_setup setup = driver_setup_in_order(d);
	struct vireo_chain chain;
	struct ring *next;
	const char *why;
	uint16_t head;
	uint32_t len;
	bool skipped;

	for (unsigned i = 0; i < start; i++) {
		driver_add(d, pieces, 1, 1, 0);
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		test_push(d->ring, &chain, 0);
		ring_publish(d->ring);
		assert_true(driver_used(d, &len, &skipped) >= 0);
	}
	head = d->pos;
	setup.base = d->pos | (uint32_t)d->wrap << 15;
	setup.base |= setup.base << 16;
	driver_add(d, pieces, count, count, 0);
	d->pdesc[head].flags ^= le16(PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK);
	d->pdesc[head].flags = d->pdesc[head].flags & PACKED_DESC_AVAIL_MASK ? 0x8080 : 0; /* as it was used before */
	for (unsigned known = 0; known < 2; known++) {
		setup.sure = known;
		assert_int_equal(ring_new(&setup, &next, &why), 0);
		assert_int_equal(ring_base(next), setup.base);
		ring_free(next);
	}
	driver_free(d);
}

/* Of two pieces, too, the first of which is the ring's last descriptor. */
static void a_chain_that_is_just_being_added_does_not_mislead(void **state)
{
	for (unsigned start = 0; start < 16; start++)
		for (unsigned count = 2; count <= 3; count++)
			a_chain_is_just_being_added(start, count);
}

#define FOREIGN_SIZE 8u

/* `done` of the chains that fill the ring are used; then it is taken over with the right base, whatever the event area says. */
static void taken_over_from_another_program(unsigned start, unsigned done)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = FOREIGN_SIZE });
	bool seen[FOREIGN_SIZE];
	struct ring_setup setup;
	struct ring *next;
	const char *why;

	for (unsigned i = 0; i < start; i++) {
		struct test_piece piece = { ADDR, 64, true };

		driver_add(d, &piece, 1, 1, 0);
		pop_and_push(d, 1);
		ring_publish(d->ring);
		memset(seen, 0, sizeof(seen));
		assert_int_equal(used_count(d, seen), 1);
	}
	fill(d, true);
	pop_and_push(d, done);
	ring_publish(d->ring);
	setup = driver_setup_in_order(d);
	setup.base = ring_base(d->ring);
	for (unsigned left = 0; left < 4 * FOREIGN_SIZE; left++) {
		d->device_event->off_wrap = htole16((uint16_t)(left / 4 | (left & 1) << 15));
		d->device_event->flags = htole16(left & 2 ? 2 : 1); /* DESC: from long ago. DISABLE: never cleared */
		assert_int_equal(ring_new(&setup, &next, &why), 0);
		assert_int_equal(ring_base(next), setup.base);
		ring_free(next);
	}
	driver_free(d);
}

/* A program that polls may have asked for a kick laps ago, and a guest that is migrated brings that along. */
static void what_another_program_has_left_does_not_overrule_a_base_that_fits(void **state)
{
	for (unsigned start = 0; start < 2 * FOREIGN_SIZE; start++)
		for (unsigned done = 1; done <= FOREIGN_SIZE; done++)
			taken_over_from_another_program(start, done);
}

/* A chain of two goes round the ring's end; `done` chains are used, and the driver has not looked. Then it is taken over. */
static void taken_over_from_who_polls(unsigned done, bool based)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = FOREIGN_SIZE });
	struct test_piece pieces[2] = { { ADDR, 64, true }, { ADDR + 64, 64, true } };
	struct ring_setup setup = driver_setup_in_order(d);
	struct vireo_chain chains[FOREIGN_SIZE];
	bool seen[FOREIGN_SIZE] = { false }, skipped;
	uint32_t len, place;
	const char *why;

	for (unsigned i = 0; i < FOREIGN_SIZE - 1; i++)
		driver_add(d, pieces, 1, 1, 0);
	pop_and_push(d, FOREIGN_SIZE - 1);
	ring_publish(d->ring);
	assert_int_equal(used_count(d, seen), FOREIGN_SIZE - 1);
	driver_add(d, pieces, 2, 2, 0);
	fill(d, true);
	assert_int_equal(driver_pop(d, chains, done), done);
	for (unsigned i = 0; i < done; i++)
		test_push(d->ring, &chains[i], 60);
	ring_publish(d->ring);
	place = ring_base(d->ring);
	d->device_event->off_wrap = 0;
	d->device_event->flags = htole16(PACKED_EVENT_DISABLE);
	setup.base = based ? place : 0x80008000;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	assert_int_equal(ring_base(d->ring), place);
	for (unsigned i = 0; i < done; i++) {
		assert_true(driver_used(d, &len, &skipped) >= 0);
		assert_int_equal(len, 60);
	}
	driver_free(d);
}

/* DPDK, and QEMU's own device, turn kicks off and leave the offset 0: that is no word about descriptor 0. */
static void frames_of_who_polls_are_not_emptied(void **state)
{
	for (unsigned done = 1; done < FOREIGN_SIZE; done++)
		for (unsigned based = done == 1; based < 2; based++) /* which of the first two is used, the base alone says */
			taken_over_from_who_polls(done, based);
}

/* Somebody else has used a chain at a place of his own: `skipped` of them before it have been served by nobody. */
struct passing {
	unsigned start;	 /* the ring has gone so far round */
	unsigned served; /* by the one who was killed, and shown */
	unsigned burst;	 /* of which all but the first entry was in the ring when he was killed */
	unsigned skipped;
	unsigned pieces; /* a chain */
	bool in_order, writable;
	bool based; /* the base that is told is behind that chain; else it is behind what was shown */
};

#define PASSING_SIZE 16u

static void passing_fill(struct test_driver *d, const struct passing *p)
{
	struct test_piece pieces[3] = { { ADDR, 64, p->writable }, { ADDR + 64, 64, p->writable }, { ADDR + 128, 64, p->writable } };

	for (unsigned i = 0; i < p->start; i++) {
		bool once[PASSING_SIZE] = { false };

		driver_add(d, pieces, 1, 1, 0);
		pop_and_push(d, 1);
		ring_publish(d->ring);
		assert_int_equal(used_count(d, once), 1);
	}
	while (d->free_descs >= p->pieces)
		driver_add(d, pieces, p->pieces, p->pieces, 0);
}

/* He uses the chain that begins at `place`, as its buffer id says. */
static void passing_use(struct test_driver *d, const struct passing *p, struct packed_place place)
{
	struct packed_place last = place_forward(place, p->pieces - 1, PASSING_SIZE);

	d->pdesc[place.pos].id = d->pdesc[last.pos].id;
	d->pdesc[place.pos].len = 0;
	d->pdesc[place.pos].flags = htole16((uint16_t)packed_used_flags(place.wrap, 0));
}

/* A driver looks at heads alone; what it has written elsewhere stays. */
static void rests_are_untouched(const struct test_driver *d, const struct passing *p, const struct packed_desc *before)
{
	struct packed_place start = place_forward(place_decode(0x8000), p->start % PASSING_SIZE, PASSING_SIZE);

	for (unsigned i = 0; i < PASSING_SIZE / p->pieces * p->pieces; i++) {
		unsigned pos = place_forward(start, i, PASSING_SIZE).pos;

		if (i % p->pieces)
			assert_memory_equal(&d->pdesc[pos], &before[pos], sizeof(*before));
	}
}

/* Every buffer comes back once, and what was behind his is served, as so many chains. */
static void passed_over(const struct passing *p)
{
	struct test_driver *d =
		driver_new((struct test_options){ .packed = true, .size = PASSING_SIZE, .in_order = p->in_order });
	unsigned chains = PASSING_SIZE / p->pieces, got = 0;
	bool seen[PASSING_SIZE] = { false };
	struct packed_desc before[PASSING_SIZE];
	struct packed_place shown, place;
	struct ring_setup setup;
	const char *why;

	ring_kick_enable(d->ring, false); /* as a worker begins: a mark is there from the start */
	passing_fill(d, p);
	if (p->served) {
		pop_and_push(d, p->served);
		ring_publish(d->ring);
	}
	shown = place_decode(ring_base(d->ring) >> 16);
	place = place_forward(shown, (p->burst + p->skipped) * p->pieces, PASSING_SIZE);
	if (p->burst)
		pop_and_push(d, p->burst);
	passing_use(d, p, place);
	setup = driver_setup_in_order(d);
	setup.base = place_encode(p->based ? place_forward(place, p->pieces, PASSING_SIZE) : shown) * 0x10001u;
	ring_free(d->ring);
	memcpy(before, d->pdesc, sizeof(before));
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	rests_are_untouched(d, p, before);
	for (; ring_available(d->ring); got++) {
		pop_and_push(d, 1);
		ring_publish(d->ring);
	}
	assert_int_equal(got, chains - p->served - p->burst - p->skipped - 1);
	assert_int_equal(used_count(d, seen), chains);
	assert_null(ring_error(d->ring));
	driver_free(d);
}

/* So does QEMU 7.2 with what a guest sends while its back end is away. */
static void what_was_passed_over_by_somebody_else_comes_back(void **state)
{
	struct passing p;

	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned start = 0; start < 2 * PASSING_SIZE; start += 5)
			for (unsigned pieces = 1; pieces <= 3; pieces++)
				for (unsigned parts = 0; parts < 64; parts++) {
					p = (struct passing){ start, parts & 3, parts >> 2 & 3, parts >> 4 & 3, pieces, kind & 1, start & 1, kind & 2 };
					if (p.burst + p.skipped && p.served + p.burst + p.skipped < PASSING_SIZE / pieces)
						passed_over(&p);
				}
}

#define OVER_SIZE 8u

/* A driver that has a chain of two back, and stopped while it wrote another one over it; its device was killed, and somebody else came by. */
struct over {
	unsigned start;
	bool rest_done; /* the flags of all but the head are there */
	bool other_id;
};

static void over_fill(struct test_driver *d, const struct over *o)
{
	struct test_piece pieces[2] = { { ADDR, 64, false }, { ADDR + 64, 64, false } };
	struct packed_event event;
	bool seen[OVER_SIZE] = { false };

	ring_kick_enable(d->ring, false);
	for (unsigned i = 0; i < o->start; i++) {
		driver_add(d, pieces, 1, 1, 0);
		pop_and_push(d, 1);
		ring_publish(d->ring);
		memset(seen, 0, sizeof(seen));
		assert_int_equal(used_count(d, seen), 1);
	}
	driver_add(d, pieces, 2, 2, 0);
	fill(d, false);
	event = *d->device_event;
	pop_and_push(d, 1);
	ring_publish(d->ring);
	*d->device_event = event; /* killed */
	memset(seen, 0, sizeof(seen));
	assert_int_equal(used_count(d, seen), 1);
}

/* Its flags are not there yet. Returns those of head and rest that will be. */
static void over_begin(struct test_driver *d, const struct over *o, uint16_t *flags)
{
	struct test_piece pieces[2] = { { ADDR + 1024, 512, false }, { ADDR + 2048, 512, false } };
	unsigned at[2] = { d->pos, (d->pos + 1) % OVER_SIZE };
	uint16_t was[2] = { d->pdesc[at[0]].flags, d->pdesc[at[1]].flags }, *top = &d->free_ids[d->free_count - 1], id = *top;

	if (o->other_id) {
		*top = top[-1];
		top[-1] = id;
	}
	driver_add(d, pieces, 2, 2, 0);
	d->pdesc[at[0]].id = d->pdesc[at[1]].id; /* as Linux does */
	for (unsigned i = 0; i < 2; i++) {
		flags[i] = d->pdesc[at[i]].flags;
		if (!i || !o->rest_done)
			d->pdesc[at[i]].flags = was[i];
	}
}

static void written_over(const struct over *o)
{
	struct test_driver *d = driver_new((struct test_options){ .packed = true, .size = OVER_SIZE });
	const struct passing single = { .pieces = 1 };
	struct packed_place place, skipped;
	struct packed_desc before[2];
	struct vireo_chain chains[OVER_SIZE];
	bool seen[OVER_SIZE] = { false };
	struct ring_setup setup;
	uint16_t flags[2];
	const char *why;

	over_fill(d, o);
	place = (struct packed_place){ .pos = d->pos, .wrap = !d->wrap };
	over_begin(d, o, flags);
	skipped = place_forward(place, 4, OVER_SIZE);
	passing_use(d, &single, skipped);
	setup = driver_setup_in_order(d);
	setup.base = place_encode(place_forward(skipped, 1, OVER_SIZE)) * 0x10001u;
	for (unsigned i = 0; i < 2; i++)
		before[i] = d->pdesc[(place.pos + i) % OVER_SIZE];
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	for (unsigned i = 2; i--;) {
		struct packed_desc *desc = &d->pdesc[(place.pos + i) % OVER_SIZE];

		assert_memory_equal(desc, &before[i], sizeof(*desc));
		desc->flags = flags[i];
	}
	assert_int_equal(driver_pop(d, chains, OVER_SIZE), 4);
	assert_int_equal(chains[3].readable_bytes, 1024);
	ring_push(d->ring, chains, NULL, 4);
	ring_publish(d->ring);
	assert_int_equal(used_count(d, seen), 7); /* two that were passed over, his, and ours */
	driver_free(d);
}

static void a_chain_that_is_written_over_one_that_was_shown_is_left_alone(void **state)
{
	for (unsigned start = 0; start < 2 * OVER_SIZE; start++)
		for (unsigned parts = 0; parts < 4; parts++)
			written_over(&(struct over){ start, parts & 1, parts & 2 });
}

/* ---- addresses that are not there yet ---- */

static void lazily(struct test_driver *d)
{
	struct ring_setup setup = driver_setup_in_order(d);
	const char *why;

	setup.lazy = true;
	setup.base = d->opt.packed ? 0x80008000 : 0;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
}

static void a_chain_that_is_not_in_memory_yet_stays_where_it_is(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = 8 });
		struct test_piece good = { ADDR, 4, false };
		struct test_piece gone = { GUEST_END - 2, 8, false }, list[] = { { ADDR, 4, false }, gone };
		struct vireo_chain chains[4];

		lazily(d);
		driver_add(d, &good, 1, 1, 0);
		driver_add(d, list, 2, 2, 0);
		assert_int_equal(driver_pop(d, chains, 4), 1); /* what came before it is not held up */
		assert_int_equal(driver_pop(d, chains + 1, 3), -EFAULT);
		assert_true(ring_missed(d->ring) == GUEST_END);
		assert_null(ring_error(d->ring));
		test_push(d->ring, &chains[0], 0);
		ring_publish(d->ring);
		d->map->regions[2].size_bytes += 0x1000; /* as another map would have it */
		d->map->regions[2].host = realloc(d->map->regions[2].host, 0x31000);
		assert_int_equal(driver_pop(d, chains + 1, 3), 1);
		assert_int_equal(chains[1].readable_bytes, 12);
		d->map->regions[2].size_bytes -= 0x1000;
		driver_free(d);
	}
}

static void a_table_that_is_not_in_memory_yet_is_no_lie(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_driver *d =
			driver_new((struct test_options){ .packed = packed, .size = 8, .indirect = true });
		struct test_piece pieces[] = { { ADDR, 4, false }, { ADDR, 4, false } };
		struct vireo_chain chain;

		lazily(d);
		driver_add(d, pieces, 2, 0, GUEST_SEAM);
		d->map->regions[1].gpa += 0x100000; /* out of the way */
		assert_int_equal(driver_pop(d, &chain, 1), -EFAULT);
		assert_true(ring_missed(d->ring) == GUEST_SEAM);
		d->map->regions[1].gpa -= 0x100000;
		assert_int_equal(driver_pop(d, &chain, 1), 1);
		driver_free(d);
	}
}

static void too_little_room_is_not_taken_for_a_miss(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8 });
	struct test_piece gone = { GUEST_END, 8, false };
	struct test_piece list[] = { { ADDR, 4, false }, { ADDR + 64, 4, false } };
	struct vireo_chain chains[2];
	struct iovec iov[1];

	lazily(d);
	driver_add(d, list, 1, 1, 0);
	driver_add(d, &gone, 1, 1, 0);
	assert_int_equal(ring_pop(d->ring, chains, 2, d->iov, 8), 1); /* the miss is not told yet */
	ring_unpop(d->ring, chains, 1);
	d->desc[0].flags = htole16(1);
	d->desc[0].next = htole16(5);
	d->desc[5] = (struct split_desc){ .addr = htole64(ADDR), .len = htole32(4) };
	assert_int_equal(ring_pop(d->ring, chains, 1, iov, 1), -ENOBUFS);
	driver_free(d);
}

static void without_patience_it_is_a_lie(void **state)
{
	struct test_driver *d = driver_new((struct test_options){ .size = 8 });
	struct test_piece gone = { GUEST_END, 8, false };
	struct vireo_chain chain;

	driver_add(d, &gone, 1, 1, 0);
	assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
	assert_string_equal(ring_error(d->ring), "descriptor outside guest memory" RING_SHARE_HINT);
	driver_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_successor_begins_where_the_last_burst_that_was_shown_ends),
		cmocka_unit_test(a_driver_that_has_gone_on_does_not_mislead_a_successor),
		cmocka_unit_test(killed_at_any_moment_of_a_burst_every_buffer_comes_back_once),
		cmocka_unit_test(a_lie_in_a_record_is_not_shown),
		cmocka_unit_test(killed_at_any_moment_a_ring_of_single_descriptors_goes_on),
		cmocka_unit_test(killed_before_the_mark_a_ring_of_long_chains_goes_on),
		cmocka_unit_test(a_new_packed_ring_is_served_whose_base_is_that_of_a_split_one),
		cmocka_unit_test(what_was_in_flight_out_of_order_is_not_guessed),
		cmocka_unit_test(a_ring_that_is_none_breaks_nobody),
		cmocka_unit_test(a_chain_that_is_just_being_added_does_not_mislead),
		cmocka_unit_test(what_another_program_has_left_does_not_overrule_a_base_that_fits),
		cmocka_unit_test(frames_of_who_polls_are_not_emptied),
		cmocka_unit_test(what_was_passed_over_by_somebody_else_comes_back),
		cmocka_unit_test(a_chain_that_is_written_over_one_that_was_shown_is_left_alone),
		cmocka_unit_test(a_record_that_is_no_place_is_not_believed),
		cmocka_unit_test(a_chain_that_is_not_in_memory_yet_stays_where_it_is),
		cmocka_unit_test(a_table_that_is_not_in_memory_yet_is_no_lie),
		cmocka_unit_test(too_little_room_is_not_taken_for_a_miss),
		cmocka_unit_test(without_patience_it_is_a_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
