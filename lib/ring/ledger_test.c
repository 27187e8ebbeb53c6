/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/mortal_test.h"
#include "wire/inflight.h"

/* The ledger: what it owes, what it may not be made to say, and what costs it nothing. */

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
